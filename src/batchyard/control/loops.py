"""Starts and stops the control layer: index rebuilt, attempts recovered, loops running.

The numbered order of a start: 1 executor opened; 2 index loaded from the open jobs; 3 loops;
4 live attempts adopted and the outbox handed in; 5 deadlines of running attempts; 6 the first pass.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

import structlog

from batchyard.control.bus import Bus
from batchyard.control.dispatch import Dispatcher
from batchyard.control.injection import Surroundings
from batchyard.control.janitors import flush_acknowledgements, purge_ended, sweep_dangling
from batchyard.control.observe import Observer
from batchyard.control.port import Clock, Failpoint, no_failpoint
from batchyard.control.reconcile import Reconciler
from batchyard.control.scheduling import Scheduling
from batchyard.control.supervise import supervise
from batchyard.control.time_limits import TimeLimits
from batchyard.control.timers import Timers
from batchyard.executors.port import Executor, Probe
from batchyard.kernel import events as ev
from batchyard.kernel.faults import EngineUnavailable, StoreUnavailable
from batchyard.kernel.ids import attempt_id
from batchyard.scheduler.index import LiveIndex
from batchyard.scheduler.snapshot import Instance
from batchyard.store.port import Reader, Store

log = structlog.get_logger(__name__)


class Control:
    """The running yard behind its API. `serve` runs until it is cancelled."""

    def __init__(
        self,
        *,
        store: Store,
        executor: Executor,
        instances: Sequence[Instance],
        around: Surroundings,
        clock: Clock,
        keep_days: int = 7,
        failpoint: Failpoint = no_failpoint,
    ) -> None:
        self._store = store
        self._executor = executor
        self._clock = clock
        self._keep_days = keep_days
        self.index = LiveIndex()
        for instance in instances:
            self.index.add_instance(instance)
        self.bus = Bus(store, clock=clock, failpoint=failpoint)
        self._observer = Observer(self.bus, failpoint=failpoint)
        self._dispatcher = Dispatcher(
            bus=self.bus,
            store=store,
            executor=executor,
            around=around,
            clock=clock,
            report=self._observer.observe,
            once_recorded=self._observer.once_recorded,
            failpoint=failpoint,
        )
        self.scheduling = Scheduling(
            bus=self.bus,
            store=store,
            index=self.index,
            clock=clock,
            timer=time.perf_counter,
            failpoint=failpoint,
        )
        self._timers = Timers(self.bus, clock=clock)
        self._time_limits = TimeLimits(bus=self.bus, store=store, clock=clock)
        self._reconciler = Reconciler(
            store=store, executor=executor, dispatcher=self._dispatcher, failpoint=failpoint
        )
        self.bus.listen(self.scheduling.listen)
        self.bus.listen(self._time_limits.listen)
        self.bus.connect(dispatch=self._dispatcher.submit, deadline=self._timers.add)
        self.probe: Probe | None = None

    async def open(self) -> Probe:
        """Open the executor and load the index.

        Raises:
            EngineUnavailable: the configured engine does not answer.
        """
        self.probe = await self._executor.open(self._observer.observe)
        await self._store.read(self._load)
        return self.probe

    def trouble(self, attempt: str | None = None) -> EngineUnavailable | None:
        """Why the engine does not answer, or does not do what is due for an attempt; or None."""
        held_up = self._dispatcher.held_up.get(attempt) if attempt else None
        return held_up or self._executor.trouble()

    def doing(self, attempt: str) -> tuple[str, int] | None:
        """What the engine does to start an attempt, and for how many seconds; None if nothing."""
        found = self._executor.doing(attempt)
        return (found.what, max(0, self._clock() - found.since_ms) // 1000) if found else None

    def _load(self, reader: Reader) -> None:
        for environment in reader.compute_environments():
            self.index.apply(ev.ComputeEnvironmentSaved(compute_environment=environment), None)
        for queue in reader.queues():
            self.index.apply(ev.QueueSaved(queue=queue), None)
        for job in reader.open_jobs():
            self.index.load(job)
            self._time_limits.load(job)
            self.scheduling.load(job)

    async def serve(self, ready: asyncio.Event) -> None:
        """Run all loops; sets `ready` once recovery is done. Ends by cancellation.

        Raises:
            EngineUnavailable: the engine went away before it was compared with the record.
        """
        try:
            async with asyncio.TaskGroup() as group:
                self._dispatcher.open(group)
                loops: dict[str, Callable[[], Awaitable[None]]] = {
                    "observe": self._observer.serve,
                    "timers": self._timers.serve,
                    "acknowledge": lambda: flush_acknowledgements(self.bus),
                }
                for name, loop in loops.items():
                    group.create_task(supervise(name, loop))
                recovered = await self._reconciler.recover()
                log.info("control.recovered", adopted=recovered.adopted)
                # ORDER: after the look at the engine. An attempt that ended while nobody watched is
                # about to be reported, and must not be timed out for the yard's own absence.
                for job_id, attempt, deadline_ms in await self._store.read(_deadlines):
                    if attempt_id(job_id, attempt) not in recovered.ended:
                        self._timers.add(job_id, attempt, deadline_ms)
                loops = {
                    "scheduling": self.scheduling.serve,
                    "time_limits": self._time_limits.serve,
                    "sweep": lambda: sweep_dangling(self._reconciler),
                    "purge": lambda: purge_ended(
                        self._store, clock=self._clock, keep_days=self._keep_days
                    ),
                }
                for name, loop in loops.items():
                    group.create_task(supervise(name, loop))
                self.scheduling.wake()
                ready.set()
        except BaseExceptionGroup as group:
            # Who starts the yard is to be told what happened, not how the loops are built.
            if (away := group.subgroup(EngineUnavailable)) is not None:
                raise away.exceptions[0] from None
            raise
        finally:
            try:
                await self.bus.drain()
            except StoreUnavailable as fault:
                # What was not acknowledged is done once more at the next start.
                log.warning("acknowledgements.not_written", reason=fault.message)
            finally:
                await self._executor.close()


def _deadlines(reader: Reader) -> list[tuple[str, int, int]]:
    """Deadlines of the attempts that were running when the yard last stopped."""
    live = [j for j in reader.live_attempts() if j.current and j.current.started_at_ms is not None]
    specs = reader.specs({job.root_id for job in live})
    out = []
    for job in live:
        spec = specs.get(job.root_id)
        if spec is None or spec.timeout_s is None or job.current is None:
            continue
        if job.current.started_at_ms is not None:
            deadline_ms = job.current.started_at_ms + spec.timeout_s * 1000
            out.append((job.job_id, job.current.number, deadline_ms))
    return out

"""Carries effects out of the outbox into the world: at least once, in order per attempt.

Every effect is idempotent under its attempt id, so an effect that was done but not acknowledged
before a crash is simply done again.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence

import structlog

from batchyard.control.attempt_spec import attempt_spec
from batchyard.control.bus import Bus, Due, Start, start_of
from batchyard.control.injection import Surroundings
from batchyard.control.port import Clock, Failpoint, no_failpoint
from batchyard.executors.port import AttemptSpec, Executor, StartFailed
from batchyard.kernel.effects import FollowUp, RemoveAttempt, StartAttempt, StopAttempt
from batchyard.kernel.faults import (
    ClientFault,
    EngineUnavailable,
    SpecRejected,
    StoreUnavailable,
)
from batchyard.kernel.ids import attempt_id
from batchyard.store.port import Store

log = structlog.get_logger(__name__)

AT_ONCE = 16
"""Starts under way together: engines gain nothing from more, and memory is bounded."""
PATIENCE_S = (0.1, 0.5, 2.0, 5.0, 10.0)
"""Waits between tries while an engine does not answer; the last one repeats."""
HURRY_S = (1.0, 2.0, 5.0, 10.0)
"""Waits before a start that takes long is told of the stop behind it; the last one repeats."""


class Dispatcher:
    """Runs effects. `submit` never blocks; a chain per attempt keeps start before stop."""

    def __init__(
        self,
        *,
        bus: Bus,
        store: Store,
        executor: Executor,
        around: Surroundings,
        clock: Clock,
        report: Callable[[StartFailed], None],
        once_recorded: Callable[[Callable[[], None]], None],
        failpoint: Failpoint = no_failpoint,
    ) -> None:
        self._bus = bus
        self._store = store
        self._executor = executor
        self._around = around
        self._clock = clock
        self._report = report
        self._once_recorded = once_recorded
        self._failpoint = failpoint
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._chains: dict[str, asyncio.Task[None]] = {}
        self.held_up: dict[str, EngineUnavailable] = {}
        """By attempt id: why the last try came to nothing, until the next one begins."""
        self._group: asyncio.TaskGroup | None = None

    def open(self, group: asyncio.TaskGroup) -> None:
        self._group = group

    def submit(self, dues: Sequence[Due]) -> None:
        """Take effects over. Those of one attempt run one after the other, others side by side."""
        for due in dues:
            match due.effect:
                case FollowUp():
                    self._spawn(self._persist(due))
                case StartAttempt() | StopAttempt() | RemoveAttempt() as effect:
                    self._chain(attempt_id(effect.job_id, effect.attempt), due)

    def _spawn(self, work: Coroutine[object, object, None]) -> asyncio.Task[None] | None:
        if self._group is not None:
            try:
                return self._group.create_task(work)
            except RuntimeError:
                # The group is ending: the yard stops while a last command commits.
                log.info("effect.left", hint="The next start takes it from the outbox.")
        # Not open (any more): the outbox holds it, and the next start hands it in again.
        work.close()
        return None

    def _chain(self, name: str, due: Due) -> None:
        task = self._spawn(self._after(self._chains.get(name), due))
        if task is None:
            return
        self._chains[name] = task
        task.add_done_callback(lambda done: self._unchain(name, done))

    def _unchain(self, name: str, task: asyncio.Task[None]) -> None:
        if self._chains.get(name) is task:
            del self._chains[name]

    async def _after(self, before: asyncio.Task[None] | None, due: Due) -> None:
        if before is not None:
            if isinstance(due.effect, StopAttempt):
                await self._hurry(before, due.effect)
            await asyncio.wait([before])
        await self._persist(due)

    async def _hurry(self, start: asyncio.Task[None], stop: StopAttempt) -> None:
        """Tell a start that takes long, such as the pull of an image, that nobody wants it now.

        Only to hurry it: a start the engine has not heard of yet stays deaf to this, and the stop
        is done in its turn whatever comes of it here.
        """
        tries = 0
        while True:
            await asyncio.wait([start], timeout=HURRY_S[min(tries, len(HURRY_S) - 1)])
            if start.done():
                return
            tries += 1
            try:
                await self._executor.stop(attempt_id(stop.job_id, stop.attempt))
            except EngineUnavailable as fault:
                log.info("stop.not_heard", effect=repr(stop), reason=fault.message)
            except Exception:
                log.exception("effect.failed", effect=repr(stop))

    async def _persist(self, due: Due) -> None:
        """Try until the engine answers: an engine that is away is no reason to fail a job."""
        tries = 0
        while not await self._try(due):
            await asyncio.sleep(PATIENCE_S[min(tries, len(PATIENCE_S) - 1)])
            tries += 1
            # What was read with the commit may be over by now, and must not start once more.
            due = Due(outbox_id=due.outbox_id, effect=due.effect)
        if isinstance(due.effect, StartAttempt):
            # ORDER: a start that failed for good may have left nothing in the engine to tell of it.
            # Until its report is on disk the start stays due, and would fail again.
            self._once_recorded(lambda: self._acknowledge(due))
        else:
            self._acknowledge(due)

    def _acknowledge(self, due: Due) -> None:
        if due.outbox_id is not None:
            self._failpoint("dispatch.before_acknowledge")
            self._bus.acknowledge(due.outbox_id)

    async def _try(self, due: Due) -> bool:
        try:
            if isinstance(due.effect, FollowUp):
                # It needs no engine, and must not wait behind those that do.
                await self._do(due)
            else:
                async with self._slots:
                    self.held_up.pop(attempt_id(due.effect.job_id, due.effect.attempt), None)
                    await self._do(due)
        except EngineUnavailable as fault:
            log.warning("engine.unavailable", effect=repr(due.effect), reason=fault.message)
            if not isinstance(due.effect, FollowUp):
                self.held_up[attempt_id(due.effect.job_id, due.effect.attempt)] = fault
            return False
        except StoreUnavailable as fault:
            log.error("effect.not_recorded", effect=repr(due.effect), reason=fault.message)
            return False
        except Exception:
            log.exception("effect.failed", effect=repr(due.effect))
            return False
        return True

    async def _do(self, due: Due) -> None:
        match due.effect:
            case StartAttempt() as effect:
                await self._start(due, effect)
            case StopAttempt(job_id=job_id, attempt=attempt):
                self._failpoint("dispatch.before_stop")
                await self._executor.stop(attempt_id(job_id, attempt))
                self._failpoint("dispatch.after_stop")
            case RemoveAttempt(job_id=job_id, attempt=attempt):
                self._failpoint("dispatch.before_remove")
                await self._executor.remove(attempt_id(job_id, attempt))
                self._failpoint("dispatch.after_remove")
            case FollowUp() as effect:
                await self._follow(effect)

    async def _start(self, due: Due, effect: StartAttempt) -> None:
        start = due.start or await self._store.write(lambda tx: start_of(tx, effect.job_id))
        spec = self.spec_of(start, effect.attempt)
        if spec is None:
            return  # Stale: the attempt is over.
        self._failpoint("dispatch.before_start")
        try:
            await self._executor.start(spec)
        except SpecRejected as fault:
            self._report(
                StartFailed(
                    attempt_id=spec.attempt_id,
                    at_ms=self._clock(),
                    reason=f"CannotStartContainerError: {fault.message}",
                )
            )
        self._failpoint("dispatch.after_start")

    def spec_of(self, start: Start | None, attempt: int) -> AttemptSpec | None:
        """What to run for a live attempt; None when it is not the live attempt any more."""
        if start is None or start.job.current is None or start.job.current.number != attempt:
            return None
        return attempt_spec(
            start.job,
            start.job.current,
            start.spec,
            array_size=start.array_size,
            around=self._around,
        )

    async def _follow(self, effect: FollowUp) -> None:
        self._failpoint("dispatch.before_follow_up")
        try:
            await self._bus.execute(effect.command)
        except ClientFault as fault:
            # A refused follow-up would be refused for ever: say so and let it go.
            log.error("follow_up.refused", command=repr(effect), reason=fault.message)
        self._failpoint("dispatch.after_follow_up")

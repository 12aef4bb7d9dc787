"""Brings the yard's record and the engine's reality together: at start, and from time to time.

An attempt the record says is live and the engine holds is adopted; one the engine never heard of
is started if its start is still due, and lost otherwise; whatever else the engine holds under our
label is dangling and removed.
"""

from collections.abc import Sequence

import msgspec
import structlog

from batchyard.control.bus import Due, start_of
from batchyard.control.dispatch import Dispatcher
from batchyard.control.port import Failpoint, no_failpoint
from batchyard.executors.port import Executor, Sighting
from batchyard.kernel.effects import StartAttempt, StopAttempt
from batchyard.kernel.ids import attempt_id
from batchyard.kernel.job import Job
from batchyard.store.port import Store

log = structlog.get_logger(__name__)


class Recovered(msgspec.Struct, frozen=True, kw_only=True):
    """What a start found. `ended`: ids of attempts whose end is about to be reported."""

    adopted: int
    ended: frozenset[str]


class Reconciler:
    def __init__(
        self,
        *,
        store: Store,
        executor: Executor,
        dispatcher: Dispatcher,
        failpoint: Failpoint = no_failpoint,
    ) -> None:
        self._store = store
        self._executor = executor
        self._dispatcher = dispatcher
        self._failpoint = failpoint

    async def recover(self) -> Recovered:
        """At start: adopt what lives, then hand in every effect still in the outbox."""
        live = await self._store.read(lambda r: r.live_attempts())
        effects = await self._store.read(lambda r: r.pending_effects())
        starting = {
            (effect.job_id, effect.attempt)
            for _, effect in effects
            if isinstance(effect, StartAttempt)
        }
        stopping = {
            (effect.job_id, effect.attempt)
            for _, effect in effects
            if isinstance(effect, StopAttempt)
        }
        due = [Due(outbox_id=i, effect=effect) for i, effect in effects]
        adopted = 0
        for job in live:
            if job.current is None:
                continue
            if job.stop is not None and (job.job_id, job.current.number) not in stopping:
                # A driver's stop returns before the engine has heard of it: say it once more.
                again = StopAttempt(job_id=job.job_id, attempt=job.current.number)
                due.append(Due(outbox_id=None, effect=again))
            if (job.job_id, job.current.number) in starting:
                continue
            self._failpoint("reconcile.before_adopt")
            await self._adopt(job)
            adopted += 1
        sightings = await self._executor.list()
        self._dispatcher.submit(due)
        await self._remove_dangling(sightings)
        ended = frozenset(one.attempt_id for one in sightings if one.state == "ended")
        return Recovered(adopted=adopted, ended=ended)

    async def _adopt(self, job: Job) -> None:
        # ORDER: the spec is rebuilt before adopting, for its log stream and its limits.
        start = await self._store.write(lambda tx: start_of(tx, job.job_id))
        spec = None
        if job.current is not None:
            spec = self._dispatcher.spec_of(start, job.current.number)
        if spec is not None:
            await self._executor.adopt(spec)

    async def sweep(self) -> int:
        """Remove what the engine holds under our label and nobody knows as live any more.

        Returns:
            How many were removed.
        """
        # ORDER: the engine first, then the record: an attempt placed in between is in the record.
        return await self._remove_dangling(await self._executor.list())

    async def _remove_dangling(self, sightings: Sequence[Sighting]) -> int:
        if not sightings:
            return 0
        live = await self._store.read(
            lambda r: {
                attempt_id(job.job_id, job.current.number)
                for job in r.live_attempts()
                if job.current is not None
            }
        )
        removed = 0
        for sighting in sightings:
            if sighting.attempt_id not in live:
                log.info("attempt.dangling", attempt_id=sighting.attempt_id, state=sighting.state)
                await self._executor.remove(sighting.attempt_id)
                removed += 1
        return removed

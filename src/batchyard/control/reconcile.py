"""Brings the yard's record and the engine's reality together: at start, and from time to time.

An attempt the record says is live and the engine holds is adopted; one the engine never heard of
is started if its start is still due, and lost otherwise; whatever else the engine holds under our
label is dangling and removed.
"""

import structlog

from batchyard.control.bus import Due, start_of
from batchyard.control.dispatch import Dispatcher
from batchyard.control.port import Failpoint, no_failpoint
from batchyard.executors.port import Executor
from batchyard.kernel.effects import StartAttempt
from batchyard.kernel.ids import attempt_id
from batchyard.kernel.job import Job
from batchyard.store.port import Store

log = structlog.get_logger(__name__)


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

    async def recover(self) -> int:
        """At start: adopt what lives, then hand in every effect still in the outbox.

        Returns:
            How many attempts were adopted.
        """
        live = await self._store.read(lambda r: r.live_attempts())
        effects = await self._store.read(lambda r: r.pending_effects())
        starting = {
            (effect.job_id, effect.attempt)
            for _, effect in effects
            if isinstance(effect, StartAttempt)
        }
        adopted = 0
        for job in live:
            if job.current is None or (job.job_id, job.current.number) in starting:
                continue
            self._failpoint("reconcile.before_adopt")
            await self._adopt(job)
            adopted += 1
        self._dispatcher.submit([Due(outbox_id=i, effect=effect) for i, effect in effects])
        await self.sweep()
        return adopted

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
        sightings = await self._executor.list()
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

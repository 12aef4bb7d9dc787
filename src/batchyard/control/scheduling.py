"""Runs passes: wake, snapshot, plan, place, record.

Placing is compare-and-set: each placement is a command that applies only if its job is still where
the snapshot saw it. Room is reserved in the index between plan and commit, so that passes never
hand it out twice.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

import msgspec
import structlog

from batchyard.control.bus import Bus
from batchyard.control.port import Change, Clock, Failpoint, no_failpoint
from batchyard.kernel import events as ev
from batchyard.kernel.commands import Explain, PlaceAttempt
from batchyard.kernel.faults import StoreUnavailable
from batchyard.kernel.ids import split_child
from batchyard.kernel.job import Job
from batchyard.scheduler.index import LiveIndex
from batchyard.scheduler.plan import Placement, Plan, Refusal, plan
from batchyard.store.port import Store

log = structlog.get_logger(__name__)

WINDOW = 16
"""Heads of each queue that a pass looks at; another pass follows at once where that was too few."""
SMALL = 128
"""A plan over so few queues is made on the event loop: cheaper than a trip to a thread."""

# Events after which a pass may place something that the last one could not.
_OPENING = (
    ev.JobRunnable,
    ev.ChildrenReady,
    ev.AttemptEnded,
    ev.QueueSaved,
    ev.ComputeEnvironmentSaved,
    ev.JobEnded,
    ev.ChildrenDropped,
)


class PassRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What one pass did. `duration_us` is planning alone, without the commits."""

    at_ms: int
    duration_us: int
    placed: int
    stale: int
    refusals: tuple[Refusal, ...]


class Scheduling:
    """Owns the live index, feeds it from commits, and runs passes when something changed."""

    def __init__(
        self,
        *,
        bus: Bus,
        store: Store,
        index: LiveIndex,
        clock: Clock,
        timer: Callable[[], float],
        failpoint: Failpoint = no_failpoint,
    ) -> None:
        self._bus = bus
        self._store = store
        self.index = index
        self._clock = clock
        self._timer = timer
        self._failpoint = failpoint
        self._wake = asyncio.Event()
        self._blocked: dict[str, tuple[str, str]] = {}
        self.passes: deque[PassRecord] = deque(maxlen=100)

    def listen(self, changes: Sequence[Change]) -> None:
        """Keep the index true; wake the loop when a pass could place something new."""
        for event, row in changes:
            self.index.apply(event, row)
            if isinstance(event, _OPENING):
                self._wake.set()

    def load(self, job: Job) -> None:
        """Take in an open job at start: who said then why the queue was blocked."""
        waits = job.status == ("RUNNABLE" if job.array is None else "PENDING")
        if waits and job.status_reason is not None:
            self._blocked[job.queue] = (job.job_id, job.status_reason)

    def wake(self) -> None:
        self._wake.set()

    async def serve(self) -> None:
        """Run passes for ever, each after whatever woke it; a burst of events is one pass."""
        # The pass that ended this loop, if one did, left something undone.
        self._wake.set()
        while True:
            await self._wake.wait()
            self._wake.clear()
            await self.run_pass()

    async def run_pass(self) -> PassRecord:
        """One pass, up to the commits of its placements."""
        snapshot = self.index.snapshot(window=WINDOW)
        small = len(snapshot.lines) <= SMALL
        began = self._timer()
        planned = plan(snapshot) if small else await asyncio.to_thread(plan, snapshot)
        duration_us = int((self._timer() - began) * 1e6)
        self._failpoint("scheduling.after_plan")
        stale = await self._place(planned)
        await self._explain(planned)
        record = PassRecord(
            at_ms=self._clock(),
            duration_us=duration_us,
            placed=len(planned.placements) - stale,
            stale=stale,
            refusals=planned.refusals,
        )
        if planned.placements or planned.refusals:
            self.passes.append(record)
        if planned.unfinished:
            self._wake.set()
        return record

    async def _place(self, planned: Plan) -> int:
        if not planned.placements:
            return 0
        for placement in planned.placements:
            self.index.reserve(placement)
        commands = [
            PlaceAttempt(
                job_id=p.job_id,
                attempt=p.attempt,
                compute_environment=p.compute_environment,
                instance_id=p.instance_id,
                gpu_ids=p.gpu_ids,
            )
            for p in planned.placements
        ]
        try:
            outcomes = await self._bus.execute_all(commands)
        except StoreUnavailable:
            for placement in planned.placements:
                await self._undo(placement, False)
            raise
        stale = 0
        for placement, outcome in zip(planned.placements, outcomes, strict=True):
            if outcome is not True:
                stale += 1
                await self._undo(placement, outcome)
        return stale

    async def _undo(self, placement: Placement, outcome: object) -> None:
        """Put a placement that did not apply back where the store says it belongs."""
        if isinstance(outcome, Exception):
            log.error("place.refused", job_id=placement.job_id, reason=str(outcome))
        row = await self._store.read(lambda r: r.job(placement.job_id))
        if row is None:
            root = split_child(placement.job_id)[0]
            row = await self._store.read(lambda r: r.job(root))
        self.index.release(placement, row)

    async def _explain(self, planned: Plan) -> None:
        """Let the head of each blocked queue say why, and clear what is no longer so."""
        now: dict[str, tuple[str, str]] = {}
        for refusal in planned.refusals:
            reason = refusal.explanation.status_reason
            if reason is not None:
                now[refusal.queue] = (await self._speaker(refusal.job_id), reason)
        if planned.unfinished:
            # Queues of lower priority were not looked at: what they said still stands.
            judged = {refusal.queue for refusal in planned.refusals}
            now |= {queue: said for queue, said in self._blocked.items() if queue not in judged}
        commands = [
            Explain(job_id=job_id, status_reason=None)
            for queue, (job_id, _) in self._blocked.items()
            if now.get(queue, ("", ""))[0] != job_id
        ]
        commands += [
            Explain(job_id=job_id, status_reason=reason)
            for queue, (job_id, reason) in now.items()
            if self._blocked.get(queue) != (job_id, reason)
        ]
        if commands:
            await self._bus.execute_all(commands)
        self._blocked = now

    async def _speaker(self, job_id: str) -> str:
        """An array's waiting child has no row: its parent speaks for it."""
        root, index = split_child(job_id)
        if index is None:
            return job_id
        row = await self._store.read(lambda r: r.job(job_id))
        return root if row is None else job_id

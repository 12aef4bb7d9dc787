"""`jobStateTimeLimitActions` of job queues: cancels a head job that has been blocked for too long.

AWS: the clock runs while the job at the head of a queue shows the action's reason. It is not
durable here: after a restart it begins again, so an action comes late rather than early.
"""

import asyncio
from collections.abc import Mapping, Sequence

import structlog

from batchyard.control.bus import Bus
from batchyard.control.port import Change, Clock
from batchyard.kernel.commands import CancelJob
from batchyard.kernel.environment import JobQueue
from batchyard.kernel.events import Explained
from batchyard.kernel.job import Job
from batchyard.store.port import Store

log = structlog.get_logger(__name__)

LOOK_S = 5.0


class TimeLimits:
    """Follows which head jobs say why they are blocked, and since when."""

    def __init__(self, *, bus: Bus, store: Store, clock: Clock) -> None:
        self._bus = bus
        self._store = store
        self._clock = clock
        self._blocked: dict[str, tuple[str, str, int]] = {}

    def load(self, job: Job) -> None:
        """Take in an open job at start."""
        if job.status_reason is not None and job.current is None:
            self._blocked[job.job_id] = (job.queue, job.status_reason, self._clock())

    def listen(self, changes: Sequence[Change]) -> None:
        """Start a clock when a job says why it is blocked; drop it when anything else happens."""
        for event, row in changes:
            if not isinstance(row, Job):
                continue
            if row.status_reason is None or row.stopped_at_ms is not None or row.current:
                self._blocked.pop(row.job_id, None)
            elif isinstance(event, Explained):
                self._blocked[row.job_id] = (row.queue, row.status_reason, self._clock())

    async def serve(self) -> None:
        """Look for ever; looking costs nothing while no head job is blocked."""
        while True:
            await asyncio.sleep(LOOK_S)
            if self._blocked:
                await self.look()

    async def look(self) -> int:
        """Cancel what is over its limit.

        Returns:
            How many jobs were cancelled.
        """
        queues = {queue.name: queue for queue in await self._store.read(lambda r: r.queues())}
        due: list[CancelJob] = []
        for job_id, (name, said, since_ms) in self._blocked.items():
            queue = queues.get(name)
            reason = over_limit(queue, said, waited_ms=self._clock() - since_ms) if queue else None
            if reason is not None:
                text = f"Canceled by JobStateTimeLimit action due to reason: {reason}"
                due.append(CancelJob(job_id=job_id, reason=text))
        for command in due:
            log.info("job.over_time_limit", job_id=command.job_id, reason=command.reason)
            await self._bus.execute(command)
        return len(due)


def over_limit(queue: JobQueue, said: str, *, waited_ms: int) -> str | None:
    """The reason of the action that is due for a job which has said `said` for so long."""
    actions = queue.extra.get("jobStateTimeLimitActions")
    for action in actions if isinstance(actions, list) else ():
        if not isinstance(action, Mapping):
            continue
        reason, limit_s = action.get("reason"), action.get("maxTimeSeconds")
        if isinstance(reason, str) and isinstance(limit_s, int):
            # AWS: an action names the code, the part of the text before " - ".
            matches = said.partition(" - ")[0] == reason.partition(" - ")[0]
            if matches and waited_ms >= limit_s * 1000:
                return reason
    return None

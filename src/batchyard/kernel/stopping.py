"""CancelJob, TerminateJob, and the end of a queue's jobs.

AWS: cancel ends what has not started and leaves STARTING and RUNNING alone; terminate also stops
those (SIGTERM, 30 s, SIGKILL). On an array both go to all children. A job that is unknown or has
ended is no error: reapers race with completion. Neither is ever retried.
"""

from msgspec.structs import replace

from batchyard.kernel import events as ev
from batchyard.kernel import ranges as rg
from batchyard.kernel.commands import (
    CancelJob,
    SettleJobQueue,
    StopChildren,
    StopQueue,
    TerminateJob,
)
from batchyard.kernel.decision import Draft
from batchyard.kernel.effects import FollowUp, StopAttempt
from batchyard.kernel.ending import drop, end
from batchyard.kernel.ids import split_child
from batchyard.kernel.job import ArrayState, Job, StopKind
from batchyard.kernel.states import TERMINAL

PORTION = 200
QUEUE_DELETED = "JobQueue deleted"


def cancel_job(draft: Draft, command: CancelJob) -> None:
    _stop(draft, command.job_id, kind="cancel", reason=command.reason)


def terminate_job(draft: Draft, command: TerminateJob) -> None:
    _stop(draft, command.job_id, kind="terminate", reason=command.reason)


def _stop(draft: Draft, job_id: str, *, kind: StopKind, reason: str) -> None:
    job = draft.job(job_id)
    if job is None:
        root, index = split_child(job_id)
        parent = draft.job(root)
        if index is not None and parent is not None and parent.array is not None:
            # CHOSEN: a child that waits for its array's dependencies ends at once (ADR 11).
            drop(draft, root, ranges=rg.span(index, index + 1), reason=reason, stop=kind)
    elif job.status in TERMINAL:
        return
    elif job.array is not None:
        _stop_array(draft, job, job.array, kind=kind, reason=reason)
    else:
        _stop_one(draft, job, kind=kind, reason=reason)


def _stop_one(draft: Draft, job: Job, *, kind: StopKind, reason: str) -> None:
    """A single job or the row of a child."""
    if job.current is not None:
        if kind != "cancel":
            _request(draft, job, kind=kind, reason=reason)
            draft.effect(StopAttempt(job_id=job.job_id, attempt=job.current.number))
        return
    _request(draft, job, kind=kind, reason=reason)
    # AWS: a cancelled PENDING job is finalised only after its dependencies completed.
    # CHOSEN: a terminated one ends at once; whoever terminates waits for the end (ADR 11).
    if not (kind == "cancel" and job.status == "PENDING"):
        end(draft, job, status="FAILED", reason=job.stop.reason if job.stop else reason)


def _stop_array(draft: Draft, job: Job, array: ArrayState, *, kind: StopKind, reason: str) -> None:
    _request(draft, job, kind=kind, reason=reason)
    if kind == "cancel" and job.unmet:
        return
    if array.rows:
        draft.effect(FollowUp(command=StopChildren(job_id=job.job_id, kind=kind, reason=reason)))
    waiting = rg.union(array.held, array.ready)
    drop(draft, job.job_id, ranges=waiting, reason=reason, stop=kind)


def _request(draft: Draft, job: Job, *, kind: StopKind, reason: str) -> None:
    """Record the wish once: a repeated request of the same kind says nothing new."""
    known = {"cancel": job.cancelled, "terminate": job.terminated}
    if job.stop is None or not known.get(kind, True):
        draft.emit(
            ev.StopRequested(job_id=job.job_id, kind=kind, reason=reason, at_ms=draft.now_ms)
        )


def stop_children(draft: Draft, command: StopChildren) -> None:
    """Apply an array's cancel or terminate to a portion of its rows."""
    children = draft.view.open_children(command.job_id, command.after, PORTION)
    for child in children:
        _stop_one(draft, child, kind=command.kind, reason=command.reason)
    if len(children) == PORTION:
        following = replace(command, after=children[-1].index or 0)
        draft.effect(FollowUp(command=following))


def stop_queue(draft: Draft, command: StopQueue) -> None:
    """End a portion of the jobs of a queue that is being deleted."""
    queue = draft.queue(command.queue)
    if queue is None or queue.status != "DELETING":
        return
    jobs = draft.view.open_jobs(command.queue, command.after, PORTION)
    for job in jobs:
        _stop(draft, job.job_id, kind="queue", reason=QUEUE_DELETED)
    if len(jobs) == PORTION:
        draft.effect(FollowUp(command=StopQueue(queue=command.queue, after=jobs[-1].seq)))
    else:
        draft.effect(FollowUp(command=SettleJobQueue(name=queue.name, generation=queue.generation)))

"""What follows when a job has reached SUCCEEDED or FAILED: its array, its dependents, its queue."""

from batchyard.kernel import events as ev
from batchyard.kernel import ranges as rg
from batchyard.kernel.commands import ReleaseChildren, ReleaseDependents, SettleJobQueue
from batchyard.kernel.decision import Draft
from batchyard.kernel.effects import FollowUp
from batchyard.kernel.faults import InvariantBroken
from batchyard.kernel.ids import child_id
from batchyard.kernel.job import ArrayState, Job, Stop, StopKind
from batchyard.kernel.ranges import Ranges
from batchyard.kernel.states import Status

DEPENDENT_FAILED = "Dependent Job failed"
CHILD_FAILED = "Array Child Job failed"
FEW = 64
"""Up to so many children that fail together become rows; more become one `Dropped` range."""


def array_of(draft: Draft, job_id: str) -> tuple[Job, ArrayState]:
    """The parent and its children.

    Raises:
        InvariantBroken: there is no such array.
    """
    parent = draft.job(job_id)
    if parent is None or parent.array is None:
        raise InvariantBroken(f"{job_id} is no array")
    return parent, parent.array


def move_child(draft: Draft, job: Job, *, source: Status | None, target: Status) -> None:
    """Let the parent's tally follow a child's row; does nothing for other jobs."""
    if job.index is not None:
        draft.emit(
            ev.ChildMoved(
                job_id=job.root_id,
                index=job.index,
                source=source,
                target=target,
                at_ms=draft.now_ms,
            )
        )


def end(draft: Draft, job: Job, *, status: Status, reason: str | None) -> None:
    """End a job that has no live attempt, and everything that follows from it."""
    draft.emit(
        ev.JobEnded(job_id=job.job_id, status=status, status_reason=reason, at_ms=draft.now_ms)
    )
    move_child(draft, job, source=job.status, target=status)
    ended(draft, job, status=status)


def ended(draft: Draft, job: Job, *, status: Status) -> None:
    """Consequences of an end that is already in the draft."""
    if job.index is not None:
        one = rg.span(job.index, job.index + 1)
        children_ended(draft, job.root_id, ranges=one, succeeded=status == "SUCCEEDED")
        return
    if job.watched:
        draft.effect(FollowUp(command=ReleaseDependents(upstream=job.job_id)))
    queue = draft.queue(job.queue)
    if queue is not None and queue.status == "DELETING":
        draft.effect(FollowUp(command=SettleJobQueue(name=queue.name, generation=queue.generation)))


def children_ended(draft: Draft, parent_id: str, *, ranges: Ranges, succeeded: bool) -> None:
    """Children of an array have ended: open the SEQUENTIAL gate, tell dependents, maybe finish."""
    parent, array = array_of(draft, parent_id)
    if parent.watched:
        draft.effect(
            FollowUp(
                command=ReleaseChildren(upstream=parent_id, ranges=ranges, succeeded=succeeded)
            )
        )
    if any(gate.upstream == "" for gate in array.gates):
        if succeeded:
            # Child i lets i + 1 through; an index past the end meets no held child.
            after = tuple((a + 1, b + 1) for a, b in ranges)
            draft.emit(ev.GatePassed(job_id=parent_id, upstream="", ranges=after))
            open_children(draft, parent_id)
        else:
            # Nothing behind the first failed child can run any more.
            behind = rg.span(ranges[0][0] + 1, array.size)
            drop(draft, parent_id, ranges=behind, reason=DEPENDENT_FAILED)
            return
    finish_array(draft, parent_id)


def open_children(draft: Draft, parent_id: str) -> None:
    """Make those held children RUNNABLE that every gate has let through."""
    parent, array = array_of(draft, parent_id)
    if parent.unmet:
        return
    ready = array.held
    for gate in array.gates:
        ready = rg.intersection(ready, gate.passed)
    if ready:
        draft.emit(ev.ChildrenReady(job_id=parent_id, ranges=ready, at_ms=draft.now_ms))


def drop(
    draft: Draft, parent_id: str, *, ranges: Ranges, reason: str, stop: StopKind | None = None
) -> None:
    """Fail children that are still held or ready, all with one reason."""
    parent, array = array_of(draft, parent_id)
    ranges = rg.intersection(ranges, rg.union(array.held, array.ready))
    if not ranges:
        finish_array(draft, parent_id)
        return
    if rg.count(ranges) <= FEW:
        # A trickle of failures (one N_TO_N child or one cancel at a time) kept as ranges would make
        # the parent's row grow with each; as rows it does not.
        for index in rg.indexes(ranges):
            child = failed_child(draft, parent, index=index, reason=reason, stop=stop)
            draft.emit(ev.ChildSpawned(job=child))
            draft.emit(
                ev.ChildMoved(
                    job_id=parent_id, index=index, source=None, target="FAILED", at_ms=draft.now_ms
                )
            )
    else:
        draft.emit(
            ev.ChildrenDropped(
                job_id=parent_id, ranges=ranges, reason=reason, at_ms=draft.now_ms, stop=stop
            )
        )
    children_ended(draft, parent_id, ranges=ranges, succeeded=False)


def failed_child(
    draft: Draft, parent: Job, *, index: int, reason: str, stop: StopKind | None
) -> Job:
    """The row of a child that ends before it ever left its initial state."""
    return Job(
        job_id=child_id(parent.job_id, index),
        kind="child",
        name=parent.name,
        queue=parent.queue,
        definition=parent.definition,
        status="FAILED",
        status_reason=reason,
        seq=parent.seq,
        shape=parent.shape,
        created_at_ms=parent.created_at_ms,
        stopped_at_ms=draft.now_ms,
        index=index,
        stop=Stop(kind=stop, reason=reason, at_ms=draft.now_ms) if stop else None,
        cancelled=stop == "cancel",
        terminated=stop == "terminate",
        tags=parent.tags,
    )


def finish_array(draft: Draft, parent_id: str) -> None:
    """AWS: the parent ends once all children are terminal; FAILED if any of them failed."""
    parent, array = array_of(draft, parent_id)
    if parent.stopped_at_ms is not None:
        return
    tally = array.tally()
    if tally["SUCCEEDED"] + tally["FAILED"] < array.size:
        return
    if tally["FAILED"]:
        reason = parent.stop.reason if parent.stop else CHILD_FAILED
        end(draft, parent, status="FAILED", reason=reason)
    else:
        end(draft, parent, status="SUCCEEDED", reason=None)

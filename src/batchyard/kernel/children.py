"""Array children that have no row yet, as if they had one.

A child is a range of indexes in its parent until it leaves its initial state. What is made here is
for reading only; `decide` makes the real rows.
"""

from typing import Literal

from msgspec.structs import replace

from batchyard.kernel import ranges
from batchyard.kernel.faults import InvariantBroken
from batchyard.kernel.ids import child_id
from batchyard.kernel.job import ArrayState, Dropped, Job, Stop
from batchyard.kernel.ranges import Ranges
from batchyard.kernel.states import Status


def synthesise_child(parent: Job, index: int) -> Job:
    """The child at `index`, which must not have a row.

    Raises:
        InvariantBroken: the parent says that the child has a row, or has no such child.
    """
    array = _array(parent)
    if ranges.contains(array.ready, index):
        return _child(parent, index, status="RUNNABLE")
    if ranges.contains(array.held, index):
        return _child(parent, index, status="PENDING")
    for dropped in array.dropped:
        if ranges.contains(dropped.ranges, index):
            return _dropped(parent, index, dropped)
    raise InvariantBroken(f"child {index} of {parent.job_id} is not without a row")


def without_rows(parent: Job, status: Status) -> Ranges:
    """Indexes of the children that have no row and are in that state."""
    array = _array(parent)
    if status == "RUNNABLE":
        return array.ready
    if status == "PENDING":
        return array.held
    out = ranges.EMPTY
    if status == "FAILED":
        for dropped in array.dropped:
            out = ranges.union(out, dropped.ranges)
    return out


def _array(parent: Job) -> ArrayState:
    if parent.array is None:
        raise InvariantBroken(f"{parent.job_id} is no array")
    return parent.array


def _child(parent: Job, index: int, *, status: Literal["PENDING", "RUNNABLE", "FAILED"]) -> Job:
    return Job(
        job_id=child_id(parent.job_id, index),
        kind="child",
        name=parent.name,
        queue=parent.queue,
        definition=parent.definition,
        status=status,
        seq=parent.seq,
        shape=parent.shape,
        created_at_ms=parent.created_at_ms,
        index=index,
        tags=parent.tags,
    )


def _dropped(parent: Job, index: int, dropped: Dropped) -> Job:
    stop = None
    if dropped.stop is not None:
        stop = Stop(kind=dropped.stop, reason=dropped.reason, at_ms=dropped.at_ms)
    return replace(
        _child(parent, index, status="FAILED"),
        status_reason=dropped.reason,
        stopped_at_ms=dropped.at_ms,
        stop=stop,
        cancelled=dropped.stop == "cancel",
        terminated=dropped.stop == "terminate",
    )

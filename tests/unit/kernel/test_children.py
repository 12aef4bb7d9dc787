"""Array children that are ranges of their parent, read as jobs."""

import pytest

from batchyard.kernel.children import synthesise_child, without_rows
from batchyard.kernel.faults import InvariantBroken
from batchyard.kernel.job import ArrayState, Dropped, Job, Stop
from batchyard.kernel.resources import Shape

ARRAY = ArrayState(
    size=10,
    held=((0, 2),),
    ready=((2, 4),),
    dropped=(
        Dropped(ranges=((4, 5),), reason="Dependent Job failed", at_ms=7),
        Dropped(ranges=((6, 8),), reason="enough", at_ms=8, stop="cancel"),
        Dropped(ranges=((8, 9),), reason="stop", at_ms=9, stop="terminate"),
    ),
    rows={"RUNNING": 2},
)


def parent(array: ArrayState | None = ARRAY) -> Job:
    return Job(
        job_id="p",
        kind="array",
        name="name",
        queue="q",
        definition="d:1",
        status="PENDING",
        seq=3,
        shape=Shape(vcpu_milli=1000, memory_mib=4),
        created_at_ms=1,
        tags={"k": "v"},
        array=array,
    )


def test_held_and_ready_children_wait() -> None:
    held, ready = synthesise_child(parent(), 1), synthesise_child(parent(), 2)
    assert (held.job_id, held.status, held.index) == ("p:1", "PENDING", 1)
    assert (ready.job_id, ready.status, ready.index) == ("p:2", "RUNNABLE", 2)
    assert (held.kind, held.root_id, held.name, held.queue) == ("child", "p", "name", "q")
    assert (held.tags, held.created_at_ms, held.seq) == ({"k": "v"}, 1, 3)
    assert held.stopped_at_ms is None
    assert held.array is None


def test_dropped_children_failed_each_for_its_reason() -> None:
    plain, cancelled, terminated = (synthesise_child(parent(), i) for i in (4, 7, 8))
    assert (plain.status, plain.status_reason, plain.stopped_at_ms, plain.stop) == (
        "FAILED",
        "Dependent Job failed",
        7,
        None,
    )
    assert (plain.cancelled, plain.terminated) == (False, False)
    assert cancelled.stop == Stop(kind="cancel", reason="enough", at_ms=8)
    assert (cancelled.cancelled, cancelled.terminated) == (True, False)
    assert (terminated.cancelled, terminated.terminated) == (False, True)


@pytest.mark.parametrize("index", [5, 9, 10])
def test_a_child_with_a_row_is_not_made_up(index: int) -> None:
    with pytest.raises(InvariantBroken, match=f"child {index} of p"):
        synthesise_child(parent(), index)


def test_a_single_job_has_no_children() -> None:
    with pytest.raises(InvariantBroken, match="p is no array"):
        synthesise_child(parent(None), 0)


def test_children_without_rows_by_state() -> None:
    assert without_rows(parent(), "PENDING") == ((0, 2),)
    assert without_rows(parent(), "RUNNABLE") == ((2, 4),)
    assert without_rows(parent(), "FAILED") == ((4, 5), (6, 9))
    assert without_rows(parent(), "RUNNING") == ()

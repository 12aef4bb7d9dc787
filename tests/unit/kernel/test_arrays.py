"""Arrays: their children as ranges and rows, and the parent that follows them."""

import pytest
from msgspec.structs import replace

from batchyard.kernel import events as ev
from batchyard.kernel.children import synthesise_child
from batchyard.kernel.decision import Draft
from batchyard.kernel.effects import FollowUp
from batchyard.kernel.ending import FEW, array_of
from batchyard.kernel.faults import InvariantBroken
from batchyard.kernel.ids import child_id
from batchyard.kernel.invariants import check
from batchyard.kernel.job import ArrayState, Dropped, Gate, Job, Stop
from batchyard.kernel.states import Status
from batchyard.testing.world import SEQUENTIAL, World


@pytest.fixture
def world() -> World:
    world = World()
    world.queue()
    return world


def state(world: World, job_id: str) -> ArrayState:
    array = world.job(job_id).array
    assert array is not None
    return array


def lawful(world: World) -> bool:
    return check(world.view.jobs(), world.view.specs, at_rest=not world.follow_ups) == []


def test_the_parent_waits_for_all_its_children(world: World) -> None:
    array = world.submit(array=3)
    for index in (2, 0):
        world.execute(child_id(array, index))
        assert world.job(array).status == "PENDING"
    world.execute(child_id(array, 1))
    row = world.job(array)
    assert (row.status, row.status_reason) == ("SUCCEEDED", None)
    assert row.stopped_at_ms == world.now_ms
    assert world.tally(array) == {"SUCCEEDED": 3}


def test_one_failed_child_fails_the_parent_at_the_end(world: World) -> None:
    array = world.submit(array=3)
    world.execute(child_id(array, 0), exit_code=1)
    world.execute(child_id(array, 1))
    assert world.job(array).status == "PENDING"
    world.execute(child_id(array, 2))
    row = world.job(array)
    assert (row.status, row.status_reason) == ("FAILED", "Array Child Job failed")


def test_an_end_of_an_array_nobody_watches_has_no_follow_up(world: World) -> None:
    array = world.submit(array=2)
    world.drain()
    assert world.job(array).status == "SUCCEEDED"
    assert not any(isinstance(e, FollowUp) for e in world.last.effects)


def test_a_sequence_opens_one_child_after_the_other(world: World) -> None:
    array = world.submit(array=3, depends_on=[SEQUENTIAL])
    assert state(world, array).gates == (Gate(upstream="", passed=((0, 1),)),)
    for index in range(3):
        assert world.runnable_ids() == [child_id(array, index)]
        assert lawful(world)
        world.execute(child_id(array, index))
    assert world.job(array).status == "SUCCEEDED"


def test_a_retry_within_a_sequence_opens_nothing(world: World) -> None:
    array = world.submit(array=2, depends_on=[SEQUENTIAL], attempts=2)
    world.execute(child_id(array, 0), exit_code=1)
    assert world.runnable_ids() == [child_id(array, 0)]
    world.execute(child_id(array, 0))
    assert world.runnable_ids() == [child_id(array, 1)]


@pytest.mark.parametrize("size", [4, 100])
def test_a_failure_within_a_sequence_fails_all_behind_it(world: World, size: int) -> None:
    array = world.submit(array=size, depends_on=[SEQUENTIAL])
    world.execute(child_id(array, 0))
    world.execute(child_id(array, 1), exit_code=1)
    row = world.job(array)
    assert (row.status, row.status_reason) == ("FAILED", "Array Child Job failed")
    assert world.tally(array) == {"SUCCEEDED": 1, "FAILED": size - 1}
    if size == 4:
        reasons = [world.job(child_id(array, i)).status_reason for i in range(4)]
        assert reasons[1:] == [
            "Essential container in task exited",
            "Dependent Job failed",
            "Dependent Job failed",
        ]
    else:
        (dropped,) = state(world, array).dropped
        assert dropped.ranges == ((2, size),)
        assert dropped.reason == "Dependent Job failed"
    assert lawful(world)


def test_a_cancelled_child_of_a_sequence_takes_those_behind_it_along(world: World) -> None:
    array = world.submit(array=5, depends_on=[SEQUENTIAL])
    world.place(child_id(array, 0))
    world.cancel(child_id(array, 2), reason="mine")
    assert [world.status(child_id(array, i)) for i in range(5)] == [
        "STARTING",
        "PENDING",
        "FAILED",
        "FAILED",
        "FAILED",
    ]
    assert world.job(child_id(array, 2)).status_reason == "mine"
    assert world.job(child_id(array, 3)).status_reason == "Dependent Job failed"
    assert not world.job(child_id(array, 3)).cancelled
    world.drain()
    assert world.tally(array) == {"SUCCEEDED": 2, "FAILED": 3}
    assert world.job(array).status == "FAILED"
    assert lawful(world)


def test_a_few_children_that_fail_together_become_rows(world: World) -> None:
    array = world.submit(array=FEW, members={"tags": {"a": "b"}})
    world.terminate(array, reason="why")
    parent, child = world.job(array), world.job(child_id(array, 9))
    assert child == Job(
        job_id=child_id(array, 9),
        kind="child",
        name=parent.name,
        queue=parent.queue,
        definition=parent.definition,
        status="FAILED",
        status_reason="why",
        seq=parent.seq,
        shape=parent.shape,
        created_at_ms=parent.created_at_ms,
        stopped_at_ms=world.now_ms,
        index=9,
        stop=Stop(kind="terminate", reason="why", at_ms=world.now_ms),
        terminated=True,
        tags={"a": "b"},
    )
    assert state(world, array).dropped == ()
    assert world.tally(array) == {"FAILED": FEW}


def test_many_children_that_fail_together_stay_one_range(world: World) -> None:
    array = world.submit(array=FEW + 1)
    world.cancel(array, reason="why")
    assert list(world.view.jobs()) == [array]
    assert state(world, array).dropped == (
        Dropped(ranges=((0, FEW + 1),), reason="why", at_ms=world.now_ms, stop="cancel"),
    )
    assert lawful(world)


def test_children_that_fail_for_another_reason_than_a_stop_bear_no_stop(world: World) -> None:
    first = world.submit()
    few = world.submit(array=2, depends_on=[first])
    many = world.submit(array=99, depends_on=[first])
    world.execute(first, exit_code=1)
    world.settle()
    assert world.job(child_id(few, 1)).stop is None
    assert state(world, many).dropped[0].stop is None
    assert world.job(few).status_reason == "Array Child Job failed"


def test_the_summary_says_when_it_last_changed(world: World) -> None:
    waiting = world.submit(array=2, depends_on=[world.submit()])
    assert state(world, waiting).updated_at_ms == world.now_ms
    array = world.submit(array=2)
    before = state(world, array).updated_at_ms
    world.place(child_id(array, 0))
    assert state(world, array).updated_at_ms == world.now_ms > before
    world.cancel(child_id(array, 1))
    assert state(world, array).updated_at_ms == world.now_ms


def test_a_gate_of_a_sequence_lets_the_next_one_through_and_no_other(world: World) -> None:
    array = world.submit(array=4, depends_on=[SEQUENTIAL])
    world.execute(child_id(array, 0))
    assert state(world, array).gates == (Gate(upstream="", passed=((0, 2),)),)


def test_a_child_without_a_row_reads_as_the_row_it_would_be(world: World) -> None:
    """Whether children fail as rows or as a range makes no difference to who looks."""
    few, many = world.submit(array=2), world.submit(array=99)
    unplaced = synthesise_child(world.job(few), 1)
    world.place(child_id(few, 1))
    assert replace(world.job(child_id(few, 1)), status="RUNNABLE", current=None) == unplaced
    for reason, verb in (("a", "cancel"), ("b", "terminate")):
        rows = world.submit(array=2)
        ranged = world.submit(array=99)
        getattr(world, verb)(rows, reason=reason)
        getattr(world, verb)(ranged, reason=reason)
        made = synthesise_child(world.job(ranged), 1)
        row = world.job(child_id(rows, 1))
        assert made.stop is not None
        assert made == replace(
            row,
            job_id=child_id(ranged, 1),
            seq=made.seq,
            created_at_ms=made.created_at_ms,
            stopped_at_ms=world.now_ms,
            stop=Stop(kind=made.stop.kind, reason=reason, at_ms=world.now_ms),
        )
        assert made.stop.kind == verb
    assert synthesise_child(world.job(many), 1).status == "RUNNABLE"


def test_the_tally_adds_rows_to_ranges() -> None:
    counted: dict[Status, int] = {"PENDING": 1, "RUNNABLE": 2, "FAILED": 3}
    array = ArrayState(size=9, held=((0, 1),), ready=((1, 3),), rows=counted)
    tally = array.tally()
    assert (tally["PENDING"], tally["RUNNABLE"], tally["FAILED"]) == (2, 4, 3)


def test_a_parent_ends_once(world: World) -> None:
    array = world.submit(array=2)
    world.terminate(array)
    world.settle()
    ends = [e for e in world.events if isinstance(e, ev.JobEnded) and e.job_id == array]
    world.terminate(child_id(array, 0))
    world.terminate(child_id(array, 7))
    world.terminate(array)
    world.settle()
    assert len(ends) == 1
    assert [e for e in world.events if isinstance(e, ev.JobEnded) and e.job_id == array] == ends


@pytest.mark.parametrize("job_id", ["unknown", "single"])
def test_a_job_that_is_no_array_has_no_children(world: World, job_id: str) -> None:
    if job_id == "single":
        job_id = world.submit()
    with pytest.raises(InvariantBroken, match=f"^{job_id} is no array$"):
        array_of(Draft(world.view, 0), job_id)

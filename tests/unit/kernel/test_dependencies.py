"""Who waits for whom, and what they are told."""

import pytest

from batchyard.kernel import commands as cmd
from batchyard.kernel import events as ev
from batchyard.kernel.decision import Draft
from batchyard.kernel.dependency import PORTION, Waits, waits_for
from batchyard.kernel.effects import FollowUp
from batchyard.kernel.faults import InvalidRequest
from batchyard.kernel.ids import child_id
from batchyard.kernel.invariants import check
from batchyard.kernel.job import ArrayState, Gate
from batchyard.testing.world import SEQUENTIAL, Need, World, n_to_n


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


# --- at submission --------------------------------------------------------------------------------


@pytest.mark.parametrize("job_id", ["unknown", "unknown:0"])
def test_an_unknown_job_cannot_be_waited_for(world: World, job_id: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        world.submit(depends_on=[job_id])
    assert str(caught.value) == f"Job {job_id} in dependsOn does not exist"
    assert caught.value.field == "dependsOn"
    assert caught.value.hint == (
        "List the jobs of the queue; ended jobs are forgotten after some days."
    )


def test_a_child_beyond_the_end_of_its_array_is_unknown(world: World) -> None:
    array, single = world.submit(array=2), world.submit()
    for job_id in (child_id(array, 2), child_id(single, 0)):
        with pytest.raises(InvalidRequest):
            world.submit(depends_on=[job_id])
    world.submit(depends_on=[child_id(array, 1)])


def test_a_dependency_that_has_succeeded_is_met(world: World) -> None:
    first, array = world.submit(), world.submit(array=2)
    world.drain()
    second = world.submit(depends_on=[first, array, child_id(array, 1)])
    assert world.job(second).status == "RUNNABLE"
    assert not world.job(first).watched


@pytest.mark.parametrize("array", [None, 2, 100])
def test_a_dependency_that_has_failed_fails_the_job_at_once(
    world: World, array: int | None
) -> None:
    first, other = world.submit(), world.submit()
    world.execute(first, exit_code=1)
    second = world.submit(array=array, depends_on=[first, other])
    row = world.job(second)
    assert row.status == "FAILED"
    assert row.status_reason == (
        "Dependent Job failed" if array is None else "Array Child Job failed"
    )
    assert not world.job(other).watched
    assert lawful(world)


def test_the_state_of_a_child_counts_wherever_it_is_kept(world: World) -> None:
    """As a row, held, ready, or dropped with many others."""
    array = world.submit(array=100, depends_on=[world.submit()])
    held = world.submit(depends_on=[child_id(array, 3)])
    assert world.job(held).status == "PENDING"
    world.drain()
    assert world.job(held).status == "SUCCEEDED"
    ready = world.submit(array=100)
    waiting = world.submit(depends_on=[child_id(ready, 3)])
    assert world.job(waiting).status == "PENDING"
    world.cancel(ready)
    dropped = world.submit(depends_on=[child_id(ready, 4)])
    assert world.job(dropped).status == "FAILED"


def test_only_what_is_still_open_is_watched(world: World) -> None:
    first, array = world.submit(), world.submit(array=2)
    world.submit(depends_on=[first])
    assert world.job(first).watched
    world.submit(depends_on=[child_id(array, 0), first])
    assert world.job(array).watched
    watched = [e.job_id for e in world.events if isinstance(e, ev.Watched)]
    assert watched == [first, array]


def test_a_sequence_watches_nobody(world: World) -> None:
    world.submit(array=2, depends_on=[SEQUENTIAL])
    assert not [e for e in world.events if isinstance(e, ev.Watched)]


def test_the_order_of_dependencies_does_not_matter(world: World) -> None:
    first, partner = world.submit(), world.submit(array=2)
    needs = [first, n_to_n(partner), SEQUENTIAL]
    for turn in range(3):
        array = world.submit(array=2, depends_on=needs[turn:] + needs[:turn])
        assert world.job(array).unmet == (first,)
        gates = {gate.upstream for gate in state(world, array).gates}
        assert gates == {"", partner}
    assert world.job(first).watched
    assert world.job(partner).watched


def test_a_sequence_that_waits_for_others_watches_them(world: World) -> None:
    first = world.submit()
    world.submit(array=2, depends_on=[SEQUENTIAL, first])
    assert world.job(first).watched


def test_without_dependencies_there_is_nothing_to_wait_for(world: World) -> None:
    assert waits_for(Draft(world.view, 0), (), size=None) == Waits()


def test_partners_must_be_arrays_of_one_size(world: World) -> None:
    single, three = world.submit(), world.submit(array=3)
    for upstream, words in (
        (single, "it is not an array job"),
        (child_id(three, 0), "it is not an array job"),
        (three, "it has 3 children and this array has 2"),
    ):
        with pytest.raises(InvalidRequest) as caught:
            world.submit(array=2, depends_on=[n_to_n(upstream)])
        assert str(caught.value) == f"N_TO_N dependency on {upstream}: {words}"
        assert caught.value.field == "dependsOn"
        assert caught.value.hint == "N_TO_N needs two arrays of the same size."
    with pytest.raises(InvalidRequest, match="does not exist"):
        world.submit(array=2, depends_on=[n_to_n("unknown")])


def test_a_gate_begins_with_what_has_already_ended(world: World) -> None:
    first = world.submit(array=4)
    world.execute(child_id(first, 1))
    world.execute(child_id(first, 2), exit_code=1)
    second = world.submit(array=4, depends_on=[n_to_n(first)])
    assert state(world, second).gates == (Gate(upstream=first, passed=((1, 2),)),)
    assert world.tally(second) == {"PENDING": 2, "RUNNABLE": 1, "FAILED": 1}
    assert world.job(child_id(second, 2)).status_reason == "Dependent Job failed"


def test_a_gate_on_dropped_partners_fails_theirs(world: World) -> None:
    first = world.submit(array=100)
    world.execute(child_id(first, 0))
    world.cancel(first)
    second = world.submit(array=100, depends_on=[n_to_n(first)])
    assert world.tally(second) == {"RUNNABLE": 1, "FAILED": 99}
    third = world.submit(array=100, depends_on=[n_to_n(first), SEQUENTIAL])
    assert world.tally(third) == {"RUNNABLE": 1, "FAILED": 99}
    world.drain()
    assert world.tally(third) == {"SUCCEEDED": 1, "FAILED": 99}


# --- when the other ends --------------------------------------------------------------------------


def test_an_end_is_told_to_those_who_wait_and_only_when_somebody_does(world: World) -> None:
    lonely, first = world.submit(), world.submit()
    second = world.submit(depends_on=[first])
    world.execute(lonely)
    assert world.follow_ups == []
    world.execute(first)
    assert world.follow_ups == [cmd.ReleaseDependents(upstream=first)]
    world.settle()
    assert world.job(second).status == "RUNNABLE"
    assert world.job(second).unmet == ()


@pytest.mark.parametrize("array", [None, 3])
def test_the_last_of_several_dependencies_opens_the_job(world: World, array: int | None) -> None:
    first, second = world.submit(), world.submit()
    job = world.submit(array=array, depends_on=[first, second])
    world.execute(second)
    world.settle()
    assert world.job(job).status == "PENDING"
    assert world.job(job).unmet == (first,)
    world.execute(first)
    world.settle()
    assert world.status(job if array is None else child_id(job, 0)) == "RUNNABLE"


def test_a_failure_runs_down_the_line(world: World) -> None:
    first = world.submit()
    second = world.submit(depends_on=[first])
    third = world.submit(array=2, depends_on=[second])
    fourth = world.submit(depends_on=[child_id(third, 1)])
    world.execute(first, exit_code=1)
    world.settle()
    for job_id in (second, child_id(third, 0), fourth):
        assert world.job(job_id).status_reason == "Dependent Job failed"
    for job_id in (second, third, fourth):
        assert world.job(job_id).status == "FAILED"


def test_a_job_that_ended_early_is_left_alone_when_its_dependency_ends(world: World) -> None:
    for exit_code in (0, 1):
        first = world.submit()
        single = world.submit(depends_on=[first])
        array = world.submit(array=2, depends_on=[first])
        world.terminate(single, reason="mine")
        world.terminate(array, reason="mine")
        rows = world.job(single), world.job(array)
        world.execute(first, exit_code=exit_code)
        world.settle()
        assert (world.job(single), world.job(array)) == rows


def test_a_job_that_ended_early_does_not_keep_the_others_from_being_told(world: World) -> None:
    first = world.submit()
    gone, waiting = world.submit(depends_on=[first]), world.submit(depends_on=[first])
    world.terminate(gone)
    world.execute(first)
    world.settle()
    assert world.status(waiting) == "RUNNABLE"


def test_telling_twice_or_too_early_changes_nothing(world: World) -> None:
    first = world.submit()
    second = world.submit(depends_on=[first])
    early = cmd.ReleaseDependents(upstream=first)
    world.do(early)
    assert world.last.events == ()
    world.do(cmd.ReleaseDependents(upstream="unknown"))
    assert world.last.events == ()
    third = world.submit(depends_on=[first, world.submit()])
    world.execute(first)
    world.settle()
    row = world.job(third)
    world.do(early)
    assert world.last.events == ()
    assert world.job(third) == row
    world.drain()
    row = world.job(second)
    world.do(early)
    assert world.last.events == ()
    assert world.job(second) == row


def test_an_array_counts_as_a_whole(world: World) -> None:
    array = world.submit(array=2)
    job = world.submit(depends_on=[array])
    world.execute(child_id(array, 0))
    world.settle()
    assert world.job(job).status == "PENDING"
    world.execute(child_id(array, 1))
    world.settle()
    assert world.job(job).status == "RUNNABLE"


def test_a_single_child_can_be_waited_for(world: World) -> None:
    array = world.submit(array=3)
    good = world.submit(depends_on=[child_id(array, 1)])
    bad = world.submit(depends_on=[child_id(array, 2)])
    world.execute(child_id(array, 0))
    world.settle()
    assert world.job(good).status == "PENDING"
    world.execute(child_id(array, 1))
    world.cancel(child_id(array, 2))
    world.settle()
    assert world.job(good).status == "RUNNABLE"
    assert world.job(bad).status == "FAILED"


def test_each_child_waits_for_its_partner(world: World) -> None:
    first = world.submit(array=4)
    second = world.submit(array=4, depends_on=[n_to_n(first)])
    world.execute(child_id(first, 2))
    world.execute(child_id(first, 0), exit_code=1)
    world.settle()
    assert [world.status(child_id(second, i)) for i in range(4)] == [
        "FAILED",
        "PENDING",
        "RUNNABLE",
        "PENDING",
    ]
    assert state(world, second).gates[0].passed == ((2, 3),)
    assert world.job(child_id(second, 0)).status_reason == "Dependent Job failed"
    world.drain()
    assert world.tally(second) == {"SUCCEEDED": 3, "FAILED": 1}


def test_every_gate_must_let_a_child_through(world: World) -> None:
    one, two = world.submit(array=3), world.submit(array=3)
    job = world.submit(array=3, depends_on=[n_to_n(one), n_to_n(two), SEQUENTIAL])
    for array, index in ((one, 0), (one, 1), (two, 1)):
        world.execute(child_id(array, index))
        world.settle()
        assert world.tally(job) == {"PENDING": 3}
    world.execute(child_id(two, 0))
    world.settle()
    assert world.tally(job) == {"PENDING": 2, "RUNNABLE": 1}
    world.execute(child_id(job, 0))
    assert world.tally(job) == {"PENDING": 1, "RUNNABLE": 1, "SUCCEEDED": 1}
    assert lawful(world)


def test_a_gate_that_passed_opens_nothing_while_a_whole_job_is_missing(world: World) -> None:
    one, two = world.submit(array=2), world.submit()
    job = world.submit(array=2, depends_on=[n_to_n(one), two])
    world.execute(child_id(one, 0))
    world.settle()
    assert world.tally(job) == {"PENDING": 2}
    world.execute(two)
    world.settle()
    assert world.tally(job) == {"PENDING": 1, "RUNNABLE": 1}


def test_a_job_may_wait_for_an_array_as_a_whole_and_child_by_child(world: World) -> None:
    one = world.submit(array=2)
    job = world.submit(array=2, depends_on=[one, n_to_n(one)])
    world.execute(child_id(one, 0))
    world.settle()
    assert world.tally(job) == {"PENDING": 2}
    world.execute(child_id(one, 1))
    world.settle()
    assert world.tally(job) == {"RUNNABLE": 2}


def test_partners_of_an_array_that_has_ended_are_left_alone(world: World) -> None:
    one = world.submit(array=2)
    job = world.submit(array=2, depends_on=[n_to_n(one)])
    world.terminate(job)
    row = world.job(job)
    world.drain()
    assert world.job(job) == row


def test_dependencies_may_cross_queues(world: World) -> None:
    world.queue("other")
    first = world.submit()
    second = world.submit(queue="other", depends_on=[first])
    world.execute(first)
    world.settle()
    assert world.job(second).status == "RUNNABLE"


# --- portions -------------------------------------------------------------------------------------


def test_many_dependents_are_told_a_portion_at_a_time(world: World) -> None:
    first = world.submit()
    waiting = [world.submit(depends_on=[first]) for _ in range(2 * PORTION + 1)]
    world.execute(first)
    world.do(world.follow_ups.pop())
    assert [world.job(j).status for j in waiting].count("RUNNABLE") == PORTION
    assert world.follow_ups == [cmd.ReleaseDependents(upstream=first, after=waiting[PORTION - 1])]
    world.settle()
    assert {world.job(j).status for j in waiting} == {"RUNNABLE"}


def test_no_dependent_is_lost_where_one_portion_ends_and_the_next_begins(world: World) -> None:
    """Whoever depends on an array in two ways stands there twice, also across that border."""
    first = world.submit(array=2)
    before = [world.submit(array=2, depends_on=[first]) for _ in range(PORTION - 1)]
    twice = world.submit(array=2, depends_on=[first, n_to_n(first)])
    after = [world.submit(array=2, depends_on=[n_to_n(first), first]) for _ in range(3)]
    world.execute(child_id(first, 0))
    world.execute(child_id(first, 1))
    world.settle()
    for job_id in (*before, twice, *after):
        assert world.tally(job_id) == {"RUNNABLE": 2}, job_id


def test_many_children_are_told_a_portion_at_a_time(world: World) -> None:
    size = 2 * PORTION + 10
    first = world.submit(array=size)
    second = world.submit(array=size, depends_on=[n_to_n(first)])
    single = world.submit(depends_on=[child_id(first, size - 1)])
    world.cancel(first)
    told = [
        e.command.ranges
        for e in world.last.effects
        if isinstance(e, FollowUp) and isinstance(e.command, cmd.ReleaseChildren)
    ]
    assert told == [((0, size),)]
    release = next(c for c in world.follow_ups if isinstance(c, cmd.ReleaseChildren))
    world.follow_ups.remove(release)
    world.do(release)
    assert world.tally(second) == {"PENDING": size - PORTION, "FAILED": PORTION}
    (rest,) = [
        e.command
        for e in world.last.effects
        if isinstance(e, FollowUp)
        and isinstance(e.command, cmd.ReleaseChildren)
        and e.command.upstream == first
    ]
    assert rest == cmd.ReleaseChildren(upstream=first, ranges=((PORTION, size),), succeeded=False)
    world.settle()
    assert world.tally(second) == {"FAILED": size}
    assert world.job(single).status == "FAILED"
    assert lawful(world)


def test_all_arrays_that_wait_for_a_child_are_told(world: World) -> None:
    first = world.submit(array=2)
    waiting = [world.submit(array=2, depends_on=[n_to_n(first)]) for _ in range(PORTION + 5)]
    world.execute(child_id(first, 1))
    world.settle()
    assert {world.status(child_id(job_id, 1)) for job_id in waiting} == {"RUNNABLE"}


def test_a_need_goes_over_the_wire_as_aws_has_it() -> None:
    assert SEQUENTIAL.wire() == {"type": "SEQUENTIAL"}
    assert n_to_n("x").wire() == {"jobId": "x", "type": "N_TO_N"}
    assert Need(job_id="x").wire() == {"jobId": "x"}

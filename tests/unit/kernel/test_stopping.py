"""Cancel and terminate, of jobs in every state, of children and arrays, and the end of a queue."""

import pytest

from batchyard.kernel import commands as cmd
from batchyard.kernel.effects import StopAttempt
from batchyard.kernel.ids import child_id
from batchyard.kernel.invariants import check
from batchyard.kernel.job import Stop
from batchyard.kernel.stopping import PORTION
from batchyard.testing.world import SEQUENTIAL, World, n_to_n


@pytest.fixture
def world() -> World:
    world = World()
    world.queue()
    return world


def lawful(world: World) -> bool:
    return check(world.view.jobs(), world.view.specs, at_rest=not world.follow_ups) == []


def nothing_happened(world: World) -> bool:
    return world.last.events == () and world.last.effects == ()


# --- one job --------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["cancel", "terminate"])
def test_a_runnable_job_ends_with_the_callers_words(world: World, verb: str) -> None:
    job = world.submit()
    getattr(world, verb)(job, reason="  my words ")
    row = world.job(job)
    assert (row.status, row.status_reason) == ("FAILED", "  my words ")
    assert row.stopped_at_ms == world.now_ms
    assert row.attempts == ()
    assert (row.cancelled, row.terminated) == (verb == "cancel", verb == "terminate")
    assert row.stop is not None
    assert row.stop.kind == verb


@pytest.mark.parametrize("started", [False, True])
def test_cancel_leaves_a_live_job_alone(world: World, started: bool) -> None:
    job = world.submit(attempts=2)
    world.place(job)
    if started:
        world.start(job)
    row = world.job(job)
    world.cancel(job)
    assert nothing_happened(world)
    assert world.job(job) == row
    world.end(job, exit_code=1)
    assert world.job(job).status == "RUNNABLE"


@pytest.mark.parametrize("started", [False, True])
@pytest.mark.parametrize("exit_code", [0, 143])
def test_terminate_stops_a_live_job_and_its_end_is_told_by_the_attempt(
    world: World, started: bool, exit_code: int
) -> None:
    job = world.submit(attempts=5)
    world.place(job)
    if started:
        world.start(job)
    world.terminate(job, reason="why")
    asked_at_ms = world.now_ms
    row = world.job(job)
    assert row.status == ("RUNNING" if started else "STARTING")
    assert row.terminated
    assert row.stop == Stop(kind="terminate", reason="why", at_ms=asked_at_ms)
    assert world.effects[-1] == StopAttempt(job_id=job, attempt=1)
    world.end(job, exit_code=exit_code)
    row = world.job(job)
    assert (row.status, row.status_reason) == ("FAILED", "why")
    assert row.attempts[0].exit_code == exit_code
    assert row.attempts[0].status_reason == "why"


def test_a_terminated_job_that_never_started_or_was_lost_is_not_tried_again(world: World) -> None:
    for report in ("fail_to_start", "lose"):
        job = world.submit(attempts=5)
        world.place(job)
        world.terminate(job, reason="why")
        getattr(world, report)(job)
        assert (world.job(job).status, world.job(job).status_reason) == ("FAILED", "why")


def test_asking_twice_stops_twice_and_says_nothing_new(world: World) -> None:
    job = world.submit()
    world.place(job)
    world.terminate(job, reason="first")
    world.terminate(job, reason="second")
    assert world.last.events == ()
    assert world.last.effects == (StopAttempt(job_id=job, attempt=1),)
    assert world.stops() == [job, job]
    world.end(job, exit_code=1)
    assert world.job(job).status_reason == "first"


def test_terminate_after_a_time_out_marks_the_job(world: World) -> None:
    job = world.submit()
    world.place(job)
    world.start(job)
    world.time_out(job)
    world.terminate(job, reason="late")
    row = world.job(job)
    assert row.terminated
    assert row.stop is not None
    assert row.stop.kind == "timeout"


@pytest.mark.parametrize("verb", ["cancel", "terminate"])
@pytest.mark.parametrize("job_id", ["unknown", "unknown:1", ""])
def test_an_unknown_job_is_no_error(world: World, verb: str, job_id: str) -> None:
    getattr(world, verb)(job_id)
    assert nothing_happened(world)


@pytest.mark.parametrize("verb", ["cancel", "terminate"])
def test_an_ended_job_is_left_alone(world: World, verb: str) -> None:
    job, array = world.submit(), world.submit(array=2)
    world.drain()
    for job_id in (job, array, child_id(array, 1), child_id(array, 2), child_id(job, 0)):
        getattr(world, verb)(job_id)
        assert nothing_happened(world)


@pytest.mark.parametrize("exit_code", [0, 1])
@pytest.mark.parametrize("array", [None, 2, 100])
def test_a_cancelled_pending_job_ends_when_its_dependencies_have(
    world: World, exit_code: int, array: int | None
) -> None:
    first = world.submit()
    job = world.submit(array=array, depends_on=[first])
    world.cancel(job, reason="why")
    row = world.job(job)
    assert (row.status, row.cancelled, row.stopped_at_ms) == ("PENDING", True, None)
    assert lawful(world)
    world.execute(first, exit_code=exit_code)
    world.settle()
    row = world.job(job)
    assert (row.status, row.status_reason) == ("FAILED", "why")
    assert lawful(world)


def test_a_terminated_pending_job_ends_at_once(world: World) -> None:
    first = world.submit()
    for array in (None, 2):
        job = world.submit(array=array, depends_on=[first])
        world.terminate(job, reason="why")
        assert (world.job(job).status, world.job(job).status_reason) == ("FAILED", "why")


def test_the_first_reason_counts(world: World) -> None:
    job = world.submit(depends_on=[world.submit()])
    world.cancel(job, reason="first")
    world.terminate(job, reason="second")
    row = world.job(job)
    assert (row.status, row.status_reason) == ("FAILED", "first")
    assert row.cancelled
    assert row.terminated


# --- children and arrays --------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["cancel", "terminate"])
def test_one_child_ends_and_the_others_go_on(world: World, verb: str) -> None:
    array = world.submit(array=3)
    getattr(world, verb)(child_id(array, 1), reason="why")
    child = world.job(child_id(array, 1))
    assert (child.status, child.status_reason) == ("FAILED", "why")
    assert (child.cancelled, child.terminated) == (verb == "cancel", verb == "terminate")
    assert world.tally(array) == {"RUNNABLE": 2, "FAILED": 1}
    assert world.job(array).stop is None
    world.drain()
    assert world.job(array).status_reason == "Array Child Job failed"


def test_a_held_child_ends_at_once(world: World) -> None:
    array = world.submit(array=3, depends_on=[world.submit()])
    world.cancel(child_id(array, 1))
    assert world.tally(array) == {"PENDING": 2, "FAILED": 1}


def test_a_live_child_is_stopped_alone(world: World) -> None:
    array = world.submit(array=2)
    for index in range(2):
        world.place(child_id(array, index))
    world.terminate(child_id(array, 1), reason="why")
    assert world.stops() == [child_id(array, 1)]
    world.end(child_id(array, 1), exit_code=143)
    assert world.job(child_id(array, 1)).status_reason == "why"


def test_a_retrying_child_can_be_cancelled(world: World) -> None:
    array = world.submit(array=2, attempts=2)
    world.execute(child_id(array, 0), exit_code=1)
    world.cancel(child_id(array, 0), reason="why")
    assert world.job(child_id(array, 0)).status == "FAILED"
    assert world.tally(array) == {"RUNNABLE": 1, "FAILED": 1}


def mixed(world: World) -> str:
    """An array with a child RUNNING, one STARTING, one to be tried again, and two waiting."""
    array = world.submit(array=5, attempts=3)
    world.place(child_id(array, 0))
    world.start(child_id(array, 0))
    world.place(child_id(array, 1))
    world.execute(child_id(array, 2), exit_code=1)
    return array


def test_cancelling_an_array_ends_what_has_not_started(world: World) -> None:
    array = mixed(world)
    world.cancel(array, reason="why")
    assert world.follow_ups == [cmd.StopChildren(job_id=array, kind="cancel", reason="why")]
    assert world.tally(array) == {"RUNNABLE": 1, "STARTING": 1, "RUNNING": 1, "FAILED": 2}
    world.settle()
    assert world.tally(array) == {"STARTING": 1, "RUNNING": 1, "FAILED": 3}
    assert world.stops() == []
    assert world.job(array).status == "PENDING"
    world.end(child_id(array, 0))
    world.end(child_id(array, 1), exit_code=1)
    assert world.job(child_id(array, 1)).status == "FAILED"
    row = world.job(array)
    assert (row.status, row.status_reason, row.cancelled) == ("FAILED", "why", True)
    assert lawful(world)


def test_a_child_to_be_tried_again_does_not_start_once_its_array_is_cancelled(
    world: World,
) -> None:
    array = mixed(world)
    world.cancel(array)
    assert not world.place(child_id(array, 2))
    assert nothing_happened(world)


def test_an_array_whose_live_children_all_succeed_survives_a_cancel(world: World) -> None:
    array = world.submit(array=2)
    for index in range(2):
        world.place(child_id(array, index))
    world.cancel(array)
    world.drain()
    assert world.job(array).status == "SUCCEEDED"


def test_terminating_an_array_stops_its_live_children_too(world: World) -> None:
    array = mixed(world)
    world.terminate(array, reason="why")
    world.settle()
    assert world.stops() == [child_id(array, 0), child_id(array, 1)]
    assert world.tally(array) == {"STARTING": 1, "RUNNING": 1, "FAILED": 3}
    world.end(child_id(array, 0), exit_code=0)
    world.end(child_id(array, 1), exit_code=137)
    row = world.job(array)
    assert (row.status, row.status_reason, row.terminated) == ("FAILED", "why", True)
    assert {world.job(child_id(array, i)).status_reason for i in range(5)} == {"why"}


def test_an_array_without_rows_ends_with_its_stop(world: World) -> None:
    array = world.submit(array=500)
    world.terminate(array, reason="why")
    assert world.follow_ups == []
    assert (world.job(array).status, world.job(array).status_reason) == ("FAILED", "why")


def test_a_child_that_fails_in_a_cancelled_array_is_not_tried_again(world: World) -> None:
    array = mixed(world)
    world.cancel(array)
    world.end(child_id(array, 0), exit_code=1)
    row = world.job(child_id(array, 0))
    assert (row.status, row.status_reason) == ("FAILED", "Essential container in task exited")


def test_many_children_are_stopped_a_portion_at_a_time(world: World) -> None:
    size = 2 * PORTION + 10
    array = world.submit(array=size)
    for index in range(size):
        world.place(child_id(array, index))
    world.terminate(array, reason="why")
    world.do(world.follow_ups.pop())
    assert len(world.stops()) == PORTION
    assert world.follow_ups == [
        cmd.StopChildren(job_id=array, kind="terminate", reason="why", after=PORTION - 1)
    ]
    world.settle()
    assert world.stops() == [child_id(array, i) for i in range(size)]
    assert world.job(child_id(array, 0)).stop is not None


def test_exactly_one_portion_is_followed_by_an_empty_one(world: World) -> None:
    array = world.submit(array=PORTION)
    for index in range(PORTION):
        world.place(child_id(array, index))
    world.terminate(array)
    world.do(world.follow_ups.pop())
    world.do(world.follow_ups.pop())
    assert nothing_happened(world)
    assert len(world.stops()) == PORTION


def test_a_cancelled_array_that_waits_for_a_whole_job_and_for_partners(world: World) -> None:
    whole, partner = world.submit(), world.submit(array=3)
    array = world.submit(array=3, depends_on=[whole, n_to_n(partner), SEQUENTIAL])
    world.cancel(array, reason="why")
    world.execute(child_id(partner, 0))
    world.settle()
    assert world.tally(array) == {"PENDING": 3}
    world.execute(child_id(partner, 1), exit_code=1)
    world.settle()
    assert world.tally(array) == {"PENDING": 1, "FAILED": 2}
    world.execute(whole)
    world.settle()
    assert world.tally(array) == {"FAILED": 3}
    assert (world.job(array).status, world.job(array).status_reason) == ("FAILED", "why")
    assert world.job(child_id(array, 0)).status_reason == "why"
    assert world.job(child_id(array, 0)).cancelled


# --- a queue that is being deleted ----------------------------------------------------------------


def test_a_deleted_queue_ends_its_jobs_and_goes(world: World) -> None:
    world.queue("other")
    elsewhere = world.submit(queue="other")
    live, runnable = world.submit(attempts=3), world.submit()
    pending = world.submit(depends_on=[elsewhere])
    array = world.submit(array=3)
    world.place(live)
    world.delete_queue("q")
    world.settle()
    for job_id in (runnable, pending, array, child_id(array, 0)):
        assert world.job(job_id).status == "FAILED"
        assert world.job(job_id).status_reason == "JobQueue deleted"
        assert not world.job(job_id).cancelled
        assert not world.job(job_id).terminated
    assert world.stops() == [live]
    assert world.view.queue("q") is not None
    world.end(live, exit_code=137)
    assert world.job(live).status_reason == "JobQueue deleted"
    world.settle()
    assert world.view.queue("q") is None
    assert world.job(elsewhere).status == "RUNNABLE"


def test_a_queue_waits_for_the_live_children_of_its_arrays(world: World) -> None:
    array = world.submit(array=2)
    world.place(child_id(array, 0))
    world.delete_queue("q")
    world.settle()
    assert world.stops() == [child_id(array, 0)]
    assert world.view.queue("q") is not None
    world.end(child_id(array, 0), exit_code=137)
    world.settle()
    assert world.view.queue("q") is None
    assert world.job(array).status_reason == "JobQueue deleted"


def test_a_live_job_of_a_deleted_queue_is_stopped_and_told_so_once(world: World) -> None:
    job = world.submit()
    world.place(job)
    world.delete_queue("q")
    world.settle()
    stop = world.job(job).stop
    assert stop is not None
    assert (stop.kind, stop.reason) == ("queue", "JobQueue deleted")
    world.do(cmd.StopQueue(queue="q"))
    assert world.last.events == ()
    assert world.stops() == [job, job]


def test_a_wish_that_is_already_known_says_nothing_new(world: World) -> None:
    first = world.submit()
    job, array = world.submit(depends_on=[first]), world.submit(array=2, depends_on=[first])
    for job_id in (job, array):
        world.cancel(job_id)
        assert len(world.last.events) == 1
        world.cancel(job_id)
        assert nothing_happened(world)


def test_a_cancel_after_a_terminate_marks_the_array(world: World) -> None:
    array = world.submit(array=2)
    world.place(child_id(array, 0))
    world.terminate(array)
    assert not world.job(array).cancelled
    world.cancel(array)
    assert world.job(array).cancelled


def test_a_stop_that_was_asked_for_earlier_keeps_its_reason(world: World) -> None:
    job = world.submit()
    world.place(job)
    world.terminate(job, reason="mine")
    world.delete_queue("q")
    world.settle()
    world.end(job, exit_code=1)
    assert world.job(job).status_reason == "mine"


def test_a_queue_with_many_jobs_ends_them_a_portion_at_a_time(world: World) -> None:
    jobs = [world.submit() for _ in range(2 * PORTION + 1)]
    world.delete_queue("q")
    stop = next(c for c in world.follow_ups if isinstance(c, cmd.StopQueue))
    world.follow_ups.clear()
    world.do(stop)
    assert [world.job(j).status for j in jobs].count("FAILED") == PORTION
    seq = world.job(jobs[PORTION - 1]).seq
    assert cmd.StopQueue(queue="q", after=seq) in world.follow_ups
    world.settle()
    assert {world.job(j).status for j in jobs} == {"FAILED"}
    assert world.view.queue("q") is None


def test_only_a_queue_that_is_being_deleted_is_stopped(world: World) -> None:
    job = world.submit()
    for name in ("q", "unknown"):
        world.do(cmd.StopQueue(queue=name))
        assert nothing_happened(world)
    assert world.job(job).status == "RUNNABLE"

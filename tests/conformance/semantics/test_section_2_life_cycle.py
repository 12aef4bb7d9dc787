"""The life of a job as the user guide tells it: states, fields, reasons, cancel and terminate.

One test per rule, named after its section: 2.1 states, 2.2 fields, 2.3 reasons,
2.4 cancel and terminate. Rules that are about the wire's form are tested beside the API.
"""

import pytest

from batchyard.kernel import commands as cmd
from batchyard.kernel.ids import child_id
from batchyard.kernel.states import Status
from batchyard.testing.world import World


@pytest.fixture
def world() -> World:
    world = World()
    world.queue()
    return world


def history(world: World, job_id: str, *steps: str) -> list[Status]:
    """The states after each step."""
    out = []
    for step in steps:
        assert getattr(world, step)(job_id), step
        out.append(world.status(job_id))
    return out


# --- 2.1 ------------------------------------------------------------------------------------------


def test_2_1_a_job_passes_runnable_starting_running_succeeded(world: World) -> None:
    job = world.submit()
    assert world.status(job) == "RUNNABLE"
    assert history(world, job, "place", "start", "end") == ["STARTING", "RUNNING", "SUCCEEDED"]


def test_2_1_pending_only_with_unmet_dependencies(world: World) -> None:
    first = world.submit()
    waiting = world.submit(depends_on=[first])
    assert (world.status(first), world.status(waiting)) == ("RUNNABLE", "PENDING")
    world.drain()
    assert world.status(world.submit(depends_on=[first])) == "RUNNABLE"


def test_2_1_a_failed_attempt_with_tries_left_goes_back_to_runnable(world: World) -> None:
    job = world.submit(attempts=3)
    assert history(world, job, "place", "fail_to_start") == ["STARTING", "RUNNABLE"]
    assert history(world, job, "place", "start", "lose") == ["STARTING", "RUNNING", "RUNNABLE"]


# --- 2.2 ------------------------------------------------------------------------------------------


def test_2_2_created_at_is_the_time_of_the_submission(world: World) -> None:
    job = world.submit()
    assert world.job(job).created_at_ms == world.now_ms
    world.execute(job)
    assert world.job(job).created_at_ms < world.now_ms


def test_2_2_started_at_appears_with_running_and_is_of_the_latest_attempt(world: World) -> None:
    job = world.submit(attempts=2)
    world.place(job)
    assert world.job(job).started_at_ms is None
    world.start(job)
    first = world.job(job).started_at_ms
    assert first is not None
    world.end(job, exit_code=1)
    world.place(job)
    world.start(job)
    second = world.job(job).started_at_ms
    assert second is not None
    assert second > first


def test_2_2_stopped_at_appears_only_at_the_end_and_never_between_retries(world: World) -> None:
    job = world.submit(attempts=2)
    for step in ("place", "start"):
        assert getattr(world, step)(job)
        assert world.job(job).stopped_at_ms is None
    world.end(job, exit_code=1)
    assert world.job(job).stopped_at_ms is None
    world.execute(job, exit_code=1)
    assert world.job(job).stopped_at_ms is not None


def test_2_2_attempts_has_one_entry_per_finished_attempt(world: World) -> None:
    job = world.submit(attempts=2)
    world.place(job)
    world.start(job)
    assert world.job(job).attempts == ()
    world.end(job, exit_code=1)
    assert len(world.job(job).attempts) == 1
    world.execute(job)
    assert [a.exit_code for a in world.job(job).attempts] == [1, 0]


def test_2_2_a_job_cancelled_before_it_started_has_no_attempts(world: World) -> None:
    job = world.submit()
    world.cancel(job)
    assert world.job(job).attempts == ()
    assert world.job(job).started_at_ms is None
    assert world.job(job).stopped_at_ms is not None


def test_2_2_is_cancelled_and_is_terminated_tell_what_was_asked_for(world: World) -> None:
    cancelled, terminated, live = world.submit(), world.submit(), world.submit()
    world.place(live)
    world.cancel(cancelled)
    world.terminate(terminated)
    world.terminate(live)
    flags = [
        (world.job(j).cancelled, world.job(j).terminated) for j in (cancelled, terminated, live)
    ]
    assert flags == [(True, False), (False, True), (False, True)]


# --- 2.3 ------------------------------------------------------------------------------------------

EXITED = "Essential container in task exited"


def reasons(world: World, job_id: str) -> tuple[str | None, str | None, str | None, int | None]:
    """statusReason of the job; statusReason, container reason and exit code of its attempt."""
    row = world.job(job_id)
    (attempt,) = row.attempts
    return row.status_reason, attempt.status_reason, attempt.reason, attempt.exit_code


@pytest.mark.parametrize("exit_code", [0, 1, 137])
def test_2_3_any_exit_also_a_good_one(world: World, exit_code: int) -> None:
    job = world.submit()
    world.execute(job, exit_code=exit_code)
    assert reasons(world, job) == (EXITED, EXITED, None, exit_code)


def test_2_3_out_of_memory(world: World) -> None:
    job = world.submit()
    world.place(job)
    words = "OutOfMemoryError: Container killed due to memory usage"
    world.end(job, exit_code=137, reason=words)
    assert reasons(world, job) == (EXITED, EXITED, words, 137)
    assert world.status(job) == "FAILED"


def test_2_3_a_start_failure_has_a_reason_and_no_exit_code(world: World) -> None:
    job = world.submit()
    world.place(job)
    world.fail_to_start(job, reason="CannotPullContainerError: x")
    failed = "Task failed to start"
    assert reasons(world, job) == (failed, failed, "CannotPullContainerError: x", None)


def test_2_3_a_lost_host_leaves_neither_exit_code_nor_reason(world: World) -> None:
    job = world.submit()
    world.place(job, instance="i-0737c70432d64f82a")
    world.start(job)
    world.lose(job)
    lost = "Host EC2 (instance i-0737c70432d64f82a) terminated."
    assert reasons(world, job) == (lost, lost, None, None)


@pytest.mark.parametrize("exit_code", [0, 137])
def test_2_3_a_time_out_is_never_tried_again(world: World, exit_code: int) -> None:
    job = world.submit(attempts=5)
    world.place(job)
    world.start(job)
    world.time_out(job)
    world.end(job, exit_code=exit_code)
    timed_out = "Job attempt duration exceeded timeout"
    assert reasons(world, job) == (timed_out, timed_out, None, exit_code)
    assert world.status(job) == "FAILED"


def test_2_3_a_failed_dependency(world: World) -> None:
    first = world.submit()
    job = world.submit(depends_on=[first])
    world.execute(first, exit_code=1)
    world.settle()
    row = world.job(job)
    assert (row.status, row.status_reason, row.attempts) == ("FAILED", "Dependent Job failed", ())


def test_2_3_an_array_with_a_failed_child(world: World) -> None:
    array = world.submit(array=2)
    world.drain(exit_code=1)
    assert world.job(array).status_reason == "Array Child Job failed"


def test_2_3_a_deleted_queue(world: World) -> None:
    job, array = world.submit(), world.submit(array=2)
    world.delete_queue("q")
    world.settle()
    for job_id in (job, array, child_id(array, 1)):
        row = world.job(job_id)
        assert (row.status, row.status_reason) == ("FAILED", "JobQueue deleted")
        assert row.attempts == ()


def test_2_3_the_callers_reason_verbatim_and_the_code_if_it_was_running(world: World) -> None:
    job = world.submit()
    world.place(job)
    world.start(job)
    world.terminate(job, reason="because, I said so!")
    world.end(job, exit_code=143)
    words = "because, I said so!"
    assert reasons(world, job) == (words, words, None, 143)


# --- 2.4 ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("started", [False, True])
def test_2_4_cancel_of_a_starting_or_running_job_succeeds_and_does_nothing(
    world: World, started: bool
) -> None:
    job = world.submit()
    world.place(job)
    if started:
        world.start(job)
    before = world.job(job)
    world.cancel(job)
    assert world.job(job) == before
    assert world.stops() == []


def test_2_4_cancel_of_a_pending_job_is_final_once_its_dependencies_are(world: World) -> None:
    first = world.submit()
    job = world.submit(depends_on=[first])
    world.cancel(job, reason="why")
    assert world.status(job) == "PENDING"
    world.execute(first)
    world.settle()
    assert (world.status(job), world.job(job).status_reason) == ("FAILED", "why")


@pytest.mark.parametrize("depth", ["PENDING", "RUNNABLE"])
def test_2_4_terminate_cancels_earlier_states(world: World, depth: str) -> None:
    needs = [world.submit()] if depth == "PENDING" else []
    job = world.submit(depends_on=needs)
    assert world.status(job) == depth
    world.terminate(job, reason="why")
    assert (world.status(job), world.job(job).status_reason) == ("FAILED", "why")


@pytest.mark.parametrize("started", [False, True])
def test_2_4_terminate_stops_starting_and_running_jobs(world: World, started: bool) -> None:
    job = world.submit()
    world.place(job)
    if started:
        world.start(job)
    world.terminate(job)
    assert world.stops() == [job]
    assert world.status(job) != "FAILED"
    world.end(job, exit_code=143)
    assert world.status(job) == "FAILED"


@pytest.mark.parametrize("verb", ["cancel", "terminate"])
def test_2_4_neither_is_ever_tried_again(world: World, verb: str) -> None:
    retry_all = [{"action": "RETRY", "onReason": "*"}]
    job = world.submit(attempts=10, evaluate_on_exit=retry_all)
    world.execute(job, exit_code=1)
    getattr(world, verb)(job)
    assert world.status(job) == "FAILED"
    live = world.submit(attempts=10, evaluate_on_exit=retry_all)
    world.place(live)
    world.terminate(live)
    world.end(live, exit_code=1)
    assert world.status(live) == "FAILED"


@pytest.mark.parametrize("verb", ["cancel", "terminate"])
def test_2_4_on_a_parent_both_go_to_all_children_and_it_fails_when_all_have_ended(
    world: World, verb: str
) -> None:
    array = world.submit(array=4, attempts=3)
    world.execute(child_id(array, 0))
    world.place(child_id(array, 1))
    getattr(world, verb)(array, reason="why")
    world.settle()
    assert world.tally(array) == {"SUCCEEDED": 1, "STARTING": 1, "FAILED": 2}
    assert world.stops() == ([child_id(array, 1)] if verb == "terminate" else [])
    assert world.status(array) == "PENDING"
    world.end(child_id(array, 1), exit_code=1)
    assert world.status(array) == "FAILED"
    assert world.job(child_id(array, 3)).status_reason == "why"


@pytest.mark.parametrize("verb", ["cancel", "terminate"])
def test_2_4_terminal_and_unknown_jobs_are_no_error(world: World, verb: str) -> None:
    job = world.submit()
    world.execute(job)
    before = world.job(job)
    for job_id in (job, "unknown", child_id(job, 1)):
        getattr(world, verb)(job_id)
    assert world.job(job) == before


def test_2_4_a_late_report_does_not_undo_an_end(world: World) -> None:
    job = world.submit()
    world.execute(job)
    before = world.job(job)
    late = cmd.ReportEnded(job_id=job, attempt=1, at_ms=1, started_at_ms=1, exit_code=1)
    assert world.do(late) is False
    assert world.job(job) == before

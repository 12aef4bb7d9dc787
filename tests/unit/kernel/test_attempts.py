"""The life of an attempt: placed, started, ended, lost, tried again; and stale reports."""

from typing import Any

import pytest
from msgspec.structs import replace

from batchyard.kernel import commands as cmd
from batchyard.kernel import events as ev
from batchyard.kernel.attempts import log_stream
from batchyard.kernel.decision import Draft
from batchyard.kernel.effects import RemoveAttempt, StartAttempt, StopAttempt
from batchyard.kernel.ids import attempt_id, child_id, task_id
from batchyard.kernel.job import Attempt, Stop
from batchyard.testing.world import ENVIRONMENT, INSTANCE, World


@pytest.fixture
def world() -> World:
    world = World()
    world.queue()
    return world


def nothing_changed(world: World) -> bool:
    return world.last.events == () and world.last.effects == () and world.last.reply is False


def placing(job_id: str, **members: Any) -> cmd.PlaceAttempt:
    defaults: dict[str, Any] = {
        "attempt": 1,
        "compute_environment": ENVIRONMENT,
        "instance_id": INSTANCE,
    }
    return cmd.PlaceAttempt(job_id=job_id, **(defaults | members))


# --- placing --------------------------------------------------------------------------------------


def test_a_placed_attempt_knows_where_it_goes_and_what_it_is_called(world: World) -> None:
    job = world.submit()
    assert world.do(placing(job, instance_id="i-7", gpu_ids=("0", "1"))) is True
    row = world.job(job)
    assert row.status == "STARTING"
    assert row.current == Attempt(
        number=1,
        attempt_id=attempt_id(job, 1),
        compute_environment=ENVIRONMENT,
        instance_id="i-7",
        cluster=f"AWSBatch-{ENVIRONMENT}-uuid-of-{ENVIRONMENT}",
        log_stream=f"definition/default/{task_id(attempt_id(job, 1))}",
        placed_at_ms=world.now_ms,
        gpu_ids=("0", "1"),
    )
    assert world.effects == [StartAttempt(job_id=job, attempt=1)]


def test_a_job_is_placed_once(world: World) -> None:
    job = world.submit()
    assert world.place(job)
    assert not world.place(job)
    assert nothing_changed(world)


@pytest.mark.parametrize("attempt", [0, 2])
def test_only_the_next_attempt_is_placed(world: World, attempt: int) -> None:
    job = world.submit(attempts=3)
    assert world.do(placing(job, attempt=attempt)) is False
    assert nothing_changed(world)


def test_a_plan_of_an_earlier_attempt_is_stale(world: World) -> None:
    job = world.submit(attempts=3)
    world.execute(job, exit_code=1)
    assert world.do(placing(job, attempt=1)) is False
    assert world.do(placing(job, attempt=2)) is True


def test_nothing_is_placed_before_its_dependencies(world: World) -> None:
    job = world.submit(depends_on=[world.submit()])
    assert world.do(placing(job)) is False
    assert nothing_changed(world)


@pytest.mark.parametrize("job_id", ["unknown", "unknown:0"])
def test_an_unknown_job_is_not_placed(world: World, job_id: str) -> None:
    assert world.do(placing(job_id)) is False
    assert nothing_changed(world)


def test_a_job_that_is_no_array_has_no_children_to_place(world: World) -> None:
    assert world.do(placing(child_id(world.submit(), 0))) is False
    assert nothing_changed(world)


def test_nothing_is_placed_in_an_unknown_environment(world: World) -> None:
    job = world.submit()
    assert world.do(placing(job, compute_environment="other")) is False
    assert nothing_changed(world)


def test_nothing_is_placed_in_a_disabled_environment(world: World) -> None:
    job = world.submit()
    disable: dict[str, object] = {"computeEnvironment": ENVIRONMENT, "state": "DISABLED"}
    world.do(cmd.UpdateComputeEnvironment(request=disable))
    assert world.do(placing(job)) is False
    assert nothing_changed(world)


def test_nothing_is_placed_in_an_environment_that_is_being_deleted(world: World) -> None:
    job = world.submit()
    environment = world.view.compute_environment(ENVIRONMENT)
    assert environment is not None
    deleting = replace(environment, status="DELETING")
    world.view.rows["compute_environment", ENVIRONMENT] = deleting
    assert world.do(placing(job)) is False
    assert nothing_changed(world)


def test_a_child_becomes_a_row_when_it_is_first_placed(world: World) -> None:
    array = world.submit(array=3, members={"tags": {"a": "b"}})
    child = child_id(array, 1)
    assert world.view.job(child) is None
    assert world.place(child)
    row, parent = world.job(child), world.job(array)
    assert (row.kind, row.index, row.status) == ("child", 1, "STARTING")
    for member in ("name", "queue", "definition", "seq", "shape", "created_at_ms", "tags"):
        assert getattr(row, member) == getattr(parent, member), member
    assert row.tags == {"a": "b"}
    assert world.tally(array) == {"RUNNABLE": 2, "STARTING": 1}


@pytest.mark.parametrize("index", [2, 3, 99])
def test_a_child_that_is_not_ready_is_not_placed(world: World, index: int) -> None:
    array = world.submit(array=3)
    world.cancel(child_id(array, 2))
    assert world.do(placing(child_id(array, index))) is False
    assert nothing_changed(world)


def test_a_new_child_has_only_a_first_attempt(world: World) -> None:
    array = world.submit(array=3, attempts=3)
    assert world.do(placing(child_id(array, 0), attempt=2)) is False
    assert nothing_changed(world)


@pytest.mark.parametrize(
    ("options", "prefix"),
    [
        (None, "definition"),
        ({}, "definition"),
        ({"awslogs-group": "g"}, "definition"),
        ({"awslogs-stream-prefix": ""}, "definition"),
        ({"awslogs-stream-prefix": "mine"}, "mine"),
    ],
)
def test_the_log_stream_is_named_after_definition_or_prefix(
    world: World, options: dict[str, str] | None, prefix: str
) -> None:
    logging: dict[str, object] = {"logDriver": "awslogs"}
    if options is not None:
        logging["options"] = options
    request: dict[str, object] = {
        "jobDefinitionName": "definition",
        "type": "container",
        "containerProperties": {
            "image": "busybox",
            "vcpus": 1,
            "memory": 4,
            "logConfiguration": logging,
        },
    }
    world.do(cmd.RegisterJobDefinition(request=request))
    job = world.submit()
    world.place(job)
    current = world.job(job).current
    assert current is not None
    assert current.log_stream == f"{prefix}/default/{task_id(attempt_id(job, 1))}"


@pytest.mark.parametrize(
    ("definition", "prefix"), [("d" * 250 + ":1", "d" * 200), ("a:b:7", "a:b")]
)
def test_the_log_stream_has_at_most_200_characters_of_the_name(
    world: World, definition: str, prefix: str
) -> None:
    job = replace(world.job(world.submit()), definition=definition)
    assert log_stream(Draft(world.view, 0), job, "x") == f"{prefix}/default/{task_id('x')}"


# --- reports --------------------------------------------------------------------------------------


def test_an_attempt_is_starting_until_it_started(world: World) -> None:
    job = world.submit()
    world.place(job)
    assert world.do(cmd.ReportStarted(job_id=job, attempt=1, at_ms=77, notes=("n",))) is True
    row = world.job(job)
    assert (row.status, row.started_at_ms) == ("RUNNING", 77)
    assert row.current is not None
    assert row.current.notes == ("n",)


def test_a_second_start_is_stale(world: World) -> None:
    job = world.submit()
    world.place(job)
    world.start(job)
    assert not world.start(job)
    assert nothing_changed(world)


@pytest.mark.parametrize(("exit_code", "status"), [(0, "SUCCEEDED"), (1, "FAILED")])
def test_an_exit_ends_the_job_and_frees_the_engine(
    world: World, exit_code: int, status: str
) -> None:
    job = world.submit()
    world.place(job)
    world.start(job)
    report = cmd.ReportEnded(
        job_id=job, attempt=1, at_ms=90, started_at_ms=1, exit_code=exit_code, notes=("n",)
    )
    assert world.do(report) is True
    row = world.job(job)
    assert (row.status, row.stopped_at_ms) == (status, 90)
    assert row.started_at_ms != 1
    assert row.current is None
    (ended,) = row.attempts
    assert (ended.exit_code, ended.reason, ended.notes) == (exit_code, None, ("n",))
    assert ended.stopped_at_ms == 90
    assert world.effects[-1] == RemoveAttempt(job_id=job, attempt=1)


def test_an_exit_that_nobody_saw_start_has_been_running(world: World) -> None:
    job = world.submit()
    world.place(job)
    report = cmd.ReportEnded(
        job_id=job, attempt=1, at_ms=90, started_at_ms=80, exit_code=0, notes=("n",)
    )
    assert world.do(report) is True
    kinds = [type(event) for event in world.last.events]
    assert kinds == [ev.AttemptStarted, ev.AttemptEnded]
    row = world.job(job)
    assert (row.started_at_ms, row.stopped_at_ms) == (80, 90)
    assert row.attempts[0].notes == ("n",)


def test_the_tally_of_an_array_passes_through_running(world: World) -> None:
    array = world.submit(array=2)
    child = child_id(array, 0)
    world.place(child)
    assert world.tally(array) == {"RUNNABLE": 1, "STARTING": 1}
    world.start(child)
    assert world.tally(array) == {"RUNNABLE": 1, "RUNNING": 1}
    world.end(child)
    assert world.tally(array) == {"RUNNABLE": 1, "SUCCEEDED": 1}
    moves = [(e.source, e.target) for e in world.events if isinstance(e, ev.ChildMoved)]
    assert moves == [(None, "STARTING"), ("STARTING", "RUNNING"), ("RUNNING", "SUCCEEDED")]


@pytest.mark.parametrize("started", [False, True])
def test_the_tally_follows_a_lost_child_from_where_it_was(world: World, started: bool) -> None:
    array = world.submit(array=2, attempts=2)
    child = child_id(array, 0)
    world.place(child)
    if started:
        world.start(child)
    assert world.lose(child)
    assert world.tally(array) == {"RUNNABLE": 2}
    assert world.job(child).status == "RUNNABLE"


def test_a_start_failure_has_a_reason_and_no_exit_code(world: World) -> None:
    job = world.submit()
    world.place(job)
    assert world.fail_to_start(job, reason="CannotPullContainerError: x")
    row = world.job(job)
    assert row.stopped_at_ms == row.attempts[0].stopped_at_ms == world.now_ms - 1
    assert (row.status, row.started_at_ms) == ("FAILED", None)
    (ended,) = row.attempts
    assert (ended.exit_code, ended.reason) == (None, "CannotPullContainerError: x")
    assert world.effects[-1] == RemoveAttempt(job_id=job, attempt=1)


def test_a_start_failure_of_a_running_attempt_is_stale(world: World) -> None:
    job = world.submit()
    world.place(job)
    world.start(job)
    assert not world.fail_to_start(job)
    assert nothing_changed(world)


def test_a_child_that_fails_to_start_was_starting(world: World) -> None:
    array = world.submit(array=2)
    child = child_id(array, 0)
    world.place(child)
    assert world.fail_to_start(child)
    assert world.tally(array) == {"RUNNABLE": 1, "FAILED": 1}


@pytest.mark.parametrize(("detail", "notes"), [("", ()), ("gone", ("gone",))])
def test_a_lost_attempt_says_which_instance(
    world: World, detail: str, notes: tuple[str, ...]
) -> None:
    job = world.submit()
    world.place(job, instance="i-9")
    assert world.lose(job, detail=detail)
    row = world.job(job)
    assert row.stopped_at_ms == row.attempts[0].stopped_at_ms == world.now_ms - 1
    (ended,) = row.attempts
    assert row.status_reason == "Host EC2 (instance i-9) terminated."
    assert (ended.exit_code, ended.reason, ended.notes) == (None, None, notes)


@pytest.mark.parametrize("verb", ["start", "end", "fail_to_start", "lose", "time_out"])
def test_reports_about_what_is_not_live_change_nothing(world: World, verb: str) -> None:
    done = world.submit()
    world.execute(done)
    for job_id in (
        "unknown",
        "unknown:3",
        world.submit(),
        done,
        child_id(world.submit(array=2), 1),
    ):
        assert getattr(world, verb)(job_id) is False
        assert nothing_changed(world)


def test_reports_about_an_earlier_attempt_change_nothing(world: World) -> None:
    job = world.submit(attempts=3)
    world.execute(job, exit_code=1)
    world.place(job)
    stale: list[cmd.Command] = [
        cmd.ReportStarted(job_id=job, attempt=1, at_ms=1),
        cmd.ReportEnded(job_id=job, attempt=1, at_ms=1, started_at_ms=1, exit_code=0),
        cmd.ReportStartFailed(job_id=job, attempt=1, at_ms=1, reason="x"),
        cmd.ReportLost(job_id=job, attempt=1, at_ms=1),
        cmd.TimeOutAttempt(job_id=job, attempt=1),
    ]
    for command in stale:
        assert world.do(command) is False
        assert nothing_changed(world)
    assert world.start(job)


# --- trying again ---------------------------------------------------------------------------------


def test_a_retry_waits_again_and_keeps_what_happened(world: World) -> None:
    job = world.submit(attempts=2)
    world.execute(job, exit_code=1)
    row = world.job(job)
    assert (row.status, row.stopped_at_ms, row.status_reason) == ("RUNNABLE", None, None)
    assert [a.number for a in row.attempts] == [1]
    world.execute(job, exit_code=2)
    row = world.job(job)
    assert row.status == "FAILED"
    assert [a.exit_code for a in row.attempts] == [1, 2]
    assert [a.attempt_id for a in row.attempts] == [attempt_id(job, 1), attempt_id(job, 2)]


def test_success_is_not_tried_again(world: World) -> None:
    job = world.submit(attempts=2)
    world.execute(job)
    assert world.job(job).status == "SUCCEEDED"


def test_the_rules_see_what_the_attempt_left(world: World) -> None:
    rules = [
        {"action": "retry", "onStatusReason": "Host EC2*"},
        {"action": "retry", "onReason": "CannotPull*"},
        {"action": "retry", "onExitCode": "7"},
        {"action": "exit", "onReason": "*"},
    ]
    job = world.submit(attempts=10, evaluate_on_exit=rules)
    world.place(job)
    world.lose(job)
    world.place(job)
    world.fail_to_start(job, reason="CannotPullContainerError: no")
    world.execute(job, exit_code=7)
    assert world.job(job).status == "RUNNABLE"
    world.execute(job, exit_code=8)
    assert world.job(job).status == "FAILED"


def test_a_child_retries_by_itself(world: World) -> None:
    array = world.submit(array=2, attempts=2)
    child = child_id(array, 0)
    world.execute(child, exit_code=1)
    assert world.tally(array) == {"RUNNABLE": 2}
    assert world.job(child).status == "RUNNABLE"
    world.execute(child, exit_code=0)
    assert world.tally(array) == {"RUNNABLE": 1, "SUCCEEDED": 1}


# --- time-outs ------------------------------------------------------------------------------------


def test_a_timed_out_attempt_is_stopped_and_never_tried_again(world: World) -> None:
    job = world.submit(attempts=3)
    world.place(job)
    world.start(job)
    assert world.time_out(job)
    assert world.job(job).status == "RUNNING"
    assert world.effects[-1] == StopAttempt(job_id=job, attempt=1)
    assert world.job(job).stop == Stop(
        kind="timeout", reason="Job attempt duration exceeded timeout", at_ms=world.now_ms
    )
    world.end(job, exit_code=0)
    row = world.job(job)
    assert (row.status, row.status_reason) == ("FAILED", "Job attempt duration exceeded timeout")
    assert row.attempts[0].status_reason == "Job attempt duration exceeded timeout"
    assert not row.cancelled
    assert not row.terminated


def test_the_clock_of_a_starting_attempt_does_not_run(world: World) -> None:
    job = world.submit()
    world.place(job)
    assert not world.time_out(job)
    assert nothing_changed(world)


def test_an_attempt_that_is_being_stopped_does_not_time_out(world: World) -> None:
    job = world.submit()
    world.place(job)
    world.start(job)
    world.terminate(job)
    assert not world.time_out(job)
    assert nothing_changed(world)


# --- saying why a job waits -----------------------------------------------------------------------


def explain(world: World, job_id: str, reason: str | None) -> bool:
    return world.do(cmd.Explain(job_id=job_id, status_reason=reason)) is True


def test_a_runnable_job_says_why_it_waits_until_it_no_longer_does(world: World) -> None:
    job = world.submit()
    assert explain(world, job, "why")
    assert world.job(job).status_reason == "why"
    assert not explain(world, job, "why")
    assert nothing_changed(world)
    assert explain(world, job, None)
    assert world.job(job).status_reason is None


def test_an_array_speaks_for_its_children(world: World) -> None:
    array = world.submit(array=2)
    assert explain(world, array, "why")
    assert world.job(array).status_reason == "why"


def test_nobody_else_says_why(world: World) -> None:
    live, done, upstream = world.submit(), world.submit(), world.submit()
    world.place(live)
    world.execute(done)
    ended = world.submit(array=2)
    world.terminate(ended)
    waiting = world.submit(depends_on=[upstream])
    for job_id in ("unknown", live, done, ended, waiting):
        assert not explain(world, job_id, "why")
        assert nothing_changed(world)

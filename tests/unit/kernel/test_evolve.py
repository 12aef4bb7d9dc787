"""Each event folded into a row; moves that are not legal are defects and say so."""

from typing import Any

import pytest
from msgspec.structs import replace

from batchyard.kernel import events as ev
from batchyard.kernel.environment import JobQueue
from batchyard.kernel.evolve import evolve
from batchyard.kernel.faults import InvariantBroken
from batchyard.kernel.job import ArrayState, Attempt, Dropped, Gate, Job, JobSpec, Stop
from batchyard.kernel.resources import Shape
from batchyard.kernel.states import MOVES, STATUSES, TERMINAL, Status

SHAPE = Shape(vcpu_milli=1000, memory_mib=128)
SPEC = JobSpec(definition_arn="arn", definition_name="d", container={})


def job(status: Status = "RUNNABLE", **members: Any) -> Job:
    base = Job(
        job_id="j",
        kind="single",
        name="n",
        queue="q",
        definition="d:1",
        status=status,
        seq=1,
        shape=SHAPE,
        created_at_ms=1,
    )
    return replace(base, **members)


def attempt(**members: Any) -> Attempt:
    base = Attempt(
        number=1,
        attempt_id="j.a1",
        compute_environment="ce",
        instance_id="i",
        cluster="c",
        log_stream="l",
        placed_at_ms=5,
    )
    return replace(base, **members)


def array(status: Status = "PENDING", **members: Any) -> Job:
    state = ArrayState(size=6, held=((0, 6),))
    return job(status, kind="array", array=replace(state, **members))


def folded(row: ev.Row | None, *events: ev.Event) -> Job:
    for event in events:
        row = evolve(row, event)
    assert isinstance(row, Job)
    return row


def state(row: ev.Row | None, *events: ev.Event) -> ArrayState:
    found = folded(row, *events).array
    assert found is not None
    return found


def test_a_submission_and_a_spawned_child_are_new_rows() -> None:
    assert evolve(None, ev.JobSubmitted(job=job(), spec=SPEC)) == job()
    assert evolve(None, ev.ChildSpawned(job=job())) == job()


def test_what_exists_cannot_be_submitted_or_spawned() -> None:
    for event in (ev.JobSubmitted(job=job(), spec=SPEC), ev.ChildSpawned(job=job())):
        with pytest.raises(InvariantBroken, match=r"^j exists already$"):
            evolve(job(), event)


def test_a_change_needs_a_row_of_a_job() -> None:
    queue = JobQueue(
        name="j",
        state="ENABLED",
        status="VALID",
        status_reason="",
        priority=1,
        compute_environments=(),
        created_at_ms=1,
    )
    for row in (None, queue):
        with pytest.raises(InvariantBroken, match=r"^Watched for j, which has no row$"):
            evolve(row, ev.Watched(job_id="j"))


def test_a_saved_queue_replaces_its_row_and_a_removed_one_leaves_none() -> None:
    queue = JobQueue(
        name="q",
        state="ENABLED",
        status="VALID",
        status_reason="",
        priority=1,
        compute_environments=(),
        created_at_ms=1,
    )
    assert evolve(None, ev.QueueSaved(queue=queue)) is queue
    assert evolve(queue, ev.QueueRemoved(name="q")) is None
    assert evolve(None, ev.ComputeEnvironmentRemoved(name="ce")) is None


def test_being_watched_changes_nothing_else() -> None:
    assert folded(job(), ev.Watched(job_id="j")) == job(watched=True)


def test_a_met_dependency_leaves_the_others() -> None:
    waiting = job("PENDING", unmet=("a", "b", "c"))
    assert folded(waiting, ev.DependencyMet(job_id="j", upstream="b")).unmet == ("a", "c")


def test_a_placed_attempt_is_the_current_one_and_clears_the_reason_for_waiting() -> None:
    row = folded(
        job(status_reason="MISCONFIGURATION:..."),
        ev.AttemptPlaced(job_id="j", attempt=attempt()),
    )
    assert row == job("STARTING", current=attempt())


def test_a_started_attempt_gives_the_job_its_time() -> None:
    row = folded(
        job("STARTING", current=attempt(), started_at_ms=2),
        ev.AttemptStarted(job_id="j", at_ms=9, notes=("n",)),
    )
    assert row == job("RUNNING", current=attempt(started_at_ms=9, notes=("n",)), started_at_ms=9)


def test_a_start_or_an_end_needs_a_live_attempt() -> None:
    with pytest.raises(InvariantBroken, match=r"^job j started without a live attempt$"):
        folded(job("STARTING"), ev.AttemptStarted(job_id="j", at_ms=9))
    with pytest.raises(InvariantBroken, match=r"^job j ended an attempt it does not have$"):
        folded(job("RUNNING"), over("SUCCEEDED"))


def over(status: Status, **members: Any) -> ev.AttemptEnded:
    base = ev.AttemptEnded(
        job_id="j", at_ms=20, next=status, status_reason="of attempt", job_reason="of job"
    )
    return replace(base, **members)


def test_an_ended_attempt_joins_the_finished_ones() -> None:
    earlier = attempt(number=0)
    live = attempt(notes=("a",), started_at_ms=9)
    row = folded(
        job("RUNNING", current=live, attempts=(earlier,), started_at_ms=9),
        over("FAILED", exit_code=3, reason="r", notes=("b",)),
    )
    ended = attempt(
        started_at_ms=9,
        stopped_at_ms=20,
        exit_code=3,
        reason="r",
        status_reason="of attempt",
        notes=("a", "b"),
    )
    assert row == job(
        "FAILED",
        attempts=(earlier, ended),
        started_at_ms=9,
        stopped_at_ms=20,
        status_reason="of job",
    )


def test_a_retrying_job_has_not_stopped() -> None:
    row = folded(job("RUNNING", current=attempt()), over("RUNNABLE", job_reason=None))
    assert (row.status, row.stopped_at_ms, row.status_reason) == ("RUNNABLE", None, None)
    assert row.attempts[0].stopped_at_ms == 20
    assert row.next_attempt == 2


def test_the_first_stop_counts_and_later_ones_only_mark() -> None:
    def stop(kind: Any, at_ms: int) -> ev.StopRequested:
        return ev.StopRequested(job_id="j", kind=kind, reason=f"by {kind}", at_ms=at_ms)

    first = Stop(kind="timeout", reason="by timeout", at_ms=3)
    row = folded(job("RUNNING"), stop("timeout", 3))
    assert row == job("RUNNING", stop=first)
    row = folded(row, stop("cancel", 4))
    assert row == job("RUNNING", stop=first, cancelled=True)
    row = folded(row, stop("terminate", 5), stop("queue", 6))
    assert row == job("RUNNING", stop=first, cancelled=True, terminated=True)
    assert not folded(job(), stop("terminate", 5)).cancelled


def test_an_end_without_an_attempt_has_a_time_and_a_reason() -> None:
    row = folded(
        job("PENDING"),
        ev.JobEnded(job_id="j", status="FAILED", status_reason="why", at_ms=7),
    )
    assert row == job("FAILED", status_reason="why", stopped_at_ms=7)


def test_reasons_for_waiting_come_and_go() -> None:
    row = folded(job(), ev.Explained(job_id="j", status_reason="why"))
    assert row == job(status_reason="why")
    assert folded(row, ev.Explained(job_id="j", status_reason=None)) == job()


def test_tags_are_replaced_as_a_whole() -> None:
    row = folded(job(tags={"a": "1"}), ev.JobTagged(job_id="j", tags={"b": "2"}))
    assert row == job(tags={"b": "2"})


def test_a_passed_gate_is_that_of_its_upstream() -> None:
    gates = (Gate(upstream="a", passed=((0, 1),)), Gate(upstream="b"))
    after = state(array(gates=gates), ev.GatePassed(job_id="j", upstream="a", ranges=((1, 3),)))
    assert after.gates == (Gate(upstream="a", passed=((0, 3),)), Gate(upstream="b"))


def test_ready_children_leave_the_held_ones() -> None:
    opening = ev.ChildrenReady(job_id="j", ranges=((1, 3),), at_ms=8)
    row = folded(array(), opening)
    assert row.status == "PENDING"
    assert row.array == ArrayState(size=6, held=((0, 1), (3, 6)), ready=((1, 3),), updated_at_ms=8)


def test_the_first_ready_child_makes_the_parent_pending() -> None:
    opening = ev.ChildrenReady(job_id="j", ranges=((1, 3),), at_ms=8)
    assert folded(array("SUBMITTED"), opening).status == "PENDING"


def test_dropped_children_are_kept_as_ranges_with_their_reason() -> None:
    earlier = Dropped(ranges=((5, 6),), reason="r", at_ms=1)
    row = array(held=((0, 2),), ready=((2, 5),), dropped=(earlier,))
    dropping = ev.ChildrenDropped(
        job_id="j", ranges=((1, 3),), reason="why", at_ms=8, stop="cancel"
    )
    assert state(row, dropping) == ArrayState(
        size=6,
        held=((0, 1),),
        ready=((3, 5),),
        dropped=(earlier, Dropped(ranges=((1, 3),), reason="why", at_ms=8, stop="cancel")),
        updated_at_ms=8,
    )


def moved(source: Status | None, target: Status, index: int = 2) -> ev.ChildMoved:
    return ev.ChildMoved(job_id="j", index=index, source=source, target=target, at_ms=8)


@pytest.mark.parametrize(
    ("held", "ready"), [(((0, 6),), ()), (((3, 6),), ((0, 3),)), (((0, 2),), ((2, 6),))]
)
def test_a_child_that_becomes_a_row_leaves_its_range(held: Any, ready: Any) -> None:
    after = state(array(held=held, ready=ready), moved(None, "STARTING"))
    assert after.rows == {"STARTING": 1}
    assert after.updated_at_ms == 8
    assert after.tally()["PENDING"] + after.tally()["RUNNABLE"] == 5
    assert not any(a <= 2 < b for a, b in (*after.held, *after.ready))


def test_the_tally_follows_a_child_from_state_to_state() -> None:
    row = array(held=((1, 6),), rows={"STARTING": 1})
    after = state(row, moved("STARTING", "RUNNING", 0), moved("RUNNING", "SUCCEEDED", 0))
    assert after.rows == {"STARTING": 0, "RUNNING": 0, "SUCCEEDED": 1}
    assert after.held == ((1, 6),)


def test_a_move_from_a_state_nobody_was_in_shows() -> None:
    assert state(array(held=()), moved("RUNNING", "FAILED")).rows == {"RUNNING": -1, "FAILED": 1}


def test_the_tally_has_all_seven_states() -> None:
    dropped = (Dropped(ranges=((3, 5),), reason="", at_ms=1),)
    row = array(held=((0, 1),), ready=((1, 3),), dropped=dropped, rows={"FAILED": 1})
    assert row.array is not None
    assert row.array.tally() == {
        "SUBMITTED": 0,
        "PENDING": 1,
        "RUNNABLE": 2,
        "STARTING": 0,
        "RUNNING": 0,
        "SUCCEEDED": 0,
        "FAILED": 3,
    }


@pytest.mark.parametrize(
    "event",
    [
        ev.GatePassed(job_id="j", upstream="", ranges=((0, 1),)),
        ev.ChildrenReady(job_id="j", ranges=((0, 1),), at_ms=1),
        ev.ChildrenDropped(job_id="j", ranges=((0, 1),), reason="", at_ms=1),
        moved(None, "STARTING"),
    ],
)
def test_only_an_array_has_children(event: ev.Event) -> None:
    with pytest.raises(InvariantBroken, match=f"^{type(event).__name__} for j, not an array$"):
        evolve(job(), event)


@pytest.mark.parametrize("source", STATUSES)
@pytest.mark.parametrize("target", STATUSES)
def test_a_job_moves_only_where_the_states_allow(source: Status, target: Status) -> None:
    event = ev.JobEnded(job_id="j", status=target, status_reason=None, at_ms=1)
    if (source, target) in MOVES:
        assert folded(job(source), event).status == target
    else:
        with pytest.raises(InvariantBroken, match=f"^job j cannot move from {source} to {target}$"):
            evolve(job(source), event)


def test_no_move_leads_out_of_the_end_or_back_to_the_start() -> None:
    assert not [move for move in MOVES if move[0] in TERMINAL or move[1] == "SUBMITTED"]


@pytest.mark.parametrize(
    ("event", "source"),
    [
        (ev.JobRunnable(job_id="j", at_ms=1), "SUCCEEDED"),
        (ev.AttemptPlaced(job_id="j", attempt=attempt()), "PENDING"),
        (ev.AttemptStarted(job_id="j", at_ms=1), "RUNNING"),
        (over("SUCCEEDED"), "STARTING"),
    ],
)
def test_attempts_move_a_job_along_its_states_alone(event: ev.Event, source: Status) -> None:
    with pytest.raises(InvariantBroken, match=f"cannot move from {source}"):
        evolve(job(source, current=attempt()), event)
    assert folded(job("SUBMITTED"), ev.JobRunnable(job_id="j", at_ms=1)).status == "RUNNABLE"

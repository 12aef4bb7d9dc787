"""The check of the laws: silent about lawful rows, and it names every breach."""

from typing import Any

import pytest
from msgspec.structs import replace

from batchyard.kernel import invariants
from batchyard.kernel import ranges as rg
from batchyard.kernel.ids import child_id
from batchyard.kernel.job import Dropped, Gate, Job, Stop
from batchyard.testing.world import SEQUENTIAL, World, n_to_n


class Rows:
    """Rows of a lawful yard, for a test to break one at a time."""

    def __init__(self) -> None:
        self.world = world = World()
        world.queue()
        self.runnable = world.submit(attempts=2)
        self.live = world.submit()
        world.place(self.live)
        self.done = world.submit()
        world.execute(self.done)
        self.pending = world.submit(depends_on=[self.live])
        self.array = world.submit(array=5, attempts=2)
        world.execute(child_id(self.array, 0))
        world.place(child_id(self.array, 1))
        world.execute(child_id(self.array, 2), exit_code=1)
        self.partner = world.submit(array=5, depends_on=[n_to_n(self.array)])
        self.sequence = world.submit(array=3, depends_on=[SEQUENTIAL])
        self.late = world.submit(array=3, depends_on=[self.live])
        world.settle()
        self.jobs = dict(world.view.jobs())
        self.specs = dict(world.view.specs)

    def change(self, job_id: str, **members: Any) -> None:
        self.jobs[job_id] = replace(self.jobs[job_id], **members)

    def change_array(self, job_id: str, **members: Any) -> None:
        array = self.jobs[job_id].array
        assert array is not None
        self.change(job_id, array=replace(array, **members))

    def breaches(self, *, at_rest: bool = True) -> list[str]:
        return invariants.check(self.jobs, self.specs, at_rest=at_rest)

    def names(self, job_id: str, words: str, *, at_rest: bool = True) -> bool:
        """Is there this breach? Words that end in `...` may go on."""
        said = f"{job_id}: {words}"
        return any(
            breach.startswith(said[:-3]) if said.endswith("...") else breach == said
            for breach in self.breaches(at_rest=at_rest)
        )


@pytest.fixture
def rows() -> Rows:
    return Rows()


STOP = Stop(kind="terminate", reason="why", at_ms=1)


def attempt_of(rows: Rows) -> Any:
    return rows.jobs[rows.live].current


def test_a_lawful_yard_has_no_breaches(rows: Rows) -> None:
    assert rows.breaches() == []
    assert rows.breaches(at_rest=False) == []
    assert invariants.check({}, {}) == []


def test_rest_is_not_taken_for_granted(rows: Rows) -> None:
    rows.change(rows.pending, unmet=(rows.done,))
    assert len(rows.breaches()) == 1
    assert invariants.check(rows.jobs, rows.specs) == []


def test_a_job_without_spec(rows: Rows) -> None:
    del rows.specs[rows.runnable]
    del rows.specs[rows.done]
    assert rows.breaches() == [f"{rows.runnable}: has no spec", f"{rows.done}: has no spec"]


def test_every_breach_is_named(rows: Rows) -> None:
    rows.change(rows.runnable, cancelled=True)
    rows.change(rows.pending, unmet=())
    found = rows.breaches()
    assert found == [
        f"{rows.runnable}: is marked cancelled or terminated without a stop",
        f"{rows.pending}: is PENDING and waits for nothing",
    ]


def test_a_live_attempt_and_a_live_state_go_together(rows: Rows) -> None:
    rows.change(rows.runnable, current=attempt_of(rows))
    rows.change(rows.live, current=None)
    assert rows.names(rows.runnable, "is RUNNABLE and its live attempt is Attempt(...")
    assert rows.names(rows.live, "is STARTING and its live attempt is None")


def test_attempts_are_numbered_from_one(rows: Rows) -> None:
    rows.change(rows.live, current=replace(attempt_of(rows), number=2))
    assert rows.names(rows.live, "numbers its attempts [2]")


def test_attempts_are_no_more_than_the_strategy_allows(rows: Rows) -> None:
    earlier = replace(attempt_of(rows), stopped_at_ms=1)
    rows.change(rows.live, attempts=(earlier,), current=replace(earlier, number=2))
    assert rows.names(rows.live, "has 2 attempts of at most 1")
    rows.change(rows.runnable, attempts=(earlier, replace(earlier, number=2)))
    assert not rows.names(rows.runnable, "has 2 attempts...")


def test_a_finished_attempt_has_stopped(rows: Rows) -> None:
    ended = rows.jobs[rows.done].attempts[0]
    rows.change(rows.done, attempts=(replace(ended, stopped_at_ms=None),))
    assert rows.names(rows.done, "has a finished attempt that did not stop")


def test_an_array_has_no_attempts(rows: Rows) -> None:
    rows.change(rows.array, attempts=rows.jobs[rows.done].attempts)
    assert rows.names(rows.array, "is an array with attempts of its own")


def test_a_job_has_stopped_when_it_is_terminal(rows: Rows) -> None:
    rows.change(rows.done, stopped_at_ms=None)
    rows.change(rows.runnable, stopped_at_ms=5)
    assert rows.names(rows.done, "is SUCCEEDED and stopped at None")
    assert rows.names(rows.runnable, "is RUNNABLE and stopped at 5")


@pytest.mark.parametrize("mark", ["cancelled", "terminated"])
def test_a_mark_needs_a_stop(rows: Rows, mark: str) -> None:
    rows.change(rows.runnable, **{mark: True})
    assert rows.names(rows.runnable, "is marked cancelled or terminated without a stop")


def test_nothing_goes_on_after_a_stop(rows: Rows) -> None:
    for job_id in (rows.runnable, rows.done, rows.live, rows.array):
        rows.change(job_id, stop=STOP)
    assert rows.names(rows.runnable, "is RUNNABLE after a terminate")
    assert rows.names(rows.done, "is SUCCEEDED after a terminate")
    assert len(rows.breaches()) == 2


def test_nobody_rests_in_submitted(rows: Rows) -> None:
    rows.change(rows.runnable, status="SUBMITTED")
    assert rows.names(rows.runnable, "rests in SUBMITTED")


def test_whoever_waits_waits_for_somebody(rows: Rows) -> None:
    rows.change(rows.pending, unmet=())
    assert rows.names(rows.pending, "is PENDING and waits for nothing")


def test_nobody_starts_before_his_dependencies(rows: Rows) -> None:
    rows.change(rows.runnable, unmet=("x", "y"))
    assert rows.names(rows.runnable, "is RUNNABLE before x, y", at_rest=False)
    rows.change(rows.done, unmet=(rows.live,))
    assert not any(b.startswith(rows.done) and "before" in b for b in rows.breaches())


def child(rows: Rows, index: int) -> str:
    return child_id(rows.array, index)


def test_a_child_has_a_parent_and_a_place(rows: Rows) -> None:
    orphan = replace(rows.jobs[child(rows, 0)], job_id=f"{rows.live}:0")
    rows.jobs[orphan.job_id] = orphan
    assert rows.names(orphan.job_id, "has no parent")
    rows.jobs["x:0"] = replace(orphan, job_id="x:0")
    rows.specs["x"] = rows.specs[rows.array]
    assert rows.names("x:0", "has no parent")


@pytest.mark.parametrize("index", [None, -1, 5])
def test_a_child_has_an_index_of_its_array(rows: Rows, index: int | None) -> None:
    rows.change(child(rows, 0), index=index)
    assert rows.names(child(rows, 0), f"has index {index} of 5")


def test_a_child_that_waits_has_no_row(rows: Rows) -> None:
    rows.change(child(rows, 2), status="PENDING", unmet=("x",))
    assert rows.names(child(rows, 2), "has a row though it never left its initial state")


@pytest.mark.parametrize(
    "members",
    [
        {"ready": ((3, 4),)},
        {"held": ((3, 4),)},
        {"dropped": (Dropped(ranges=((4, 5),), reason="", at_ms=1),)},
        {"ready": ((2, 5),)},
        {"ready": ((3, 6),)},
    ],
)
def test_every_index_is_in_exactly_one_place(rows: Rows, members: dict[str, Any]) -> None:
    rows.change_array(rows.array, **members)
    assert rows.names(rows.array, "has children that are not in exactly one place: [...")


def test_ranges_are_in_normal_form(rows: Rows) -> None:
    rows.change_array(rows.array, ready=((3, 4), (4, 5)))
    assert rows.names(rows.array, "keeps ranges that are not in normal form: ((3, 4), (4, 5))")


def test_the_tally_counts_the_rows(rows: Rows) -> None:
    rows.change_array(rows.array, rows={"SUCCEEDED": 2, "STARTING": 1})
    assert rows.names(rows.array, "counts its rows as {...")
    rows.change_array(rows.array, rows={"SUCCEEDED": 1, "STARTING": 1, "RUNNABLE": 1, "RUNNING": 0})
    assert not rows.names(rows.array, "counts its rows as {...")


@pytest.mark.parametrize(
    ("tally", "due"),
    [
        ({"SUCCEEDED": 5}, "SUCCEEDED"),
        ({"SUCCEEDED": 4, "FAILED": 1}, "FAILED"),
        ({"FAILED": 5}, "FAILED"),
    ],
)
def test_a_parent_ends_with_its_last_child(rows: Rows, tally: Any, due: str) -> None:
    rows.change_array(rows.array, ready=(), rows=tally)
    assert rows.names(rows.array, f"is PENDING and should be {due}, as its children are {{...")


def test_a_parent_waits_for_its_last_child(rows: Rows) -> None:
    rows.change(rows.array, status="SUCCEEDED", stopped_at_ms=1)
    assert rows.names(rows.array, "is SUCCEEDED and should be PENDING, as its children are {...")
    rows.change(rows.array, status="RUNNING", stopped_at_ms=None)
    assert rows.names(rows.array, "is RUNNING and should be PENDING, as its children are {...")


def test_no_child_is_held_by_nothing(rows: Rows) -> None:
    rows.change_array(rows.array, ready=(), held=((3, 5),))
    assert rows.names(rows.array, "holds children ((3, 5),) that nothing holds back")
    rows.change(rows.late, unmet=())
    assert rows.names(rows.late, "holds children ((0, 3),) that nothing holds back")


def test_no_child_passes_a_closed_gate(rows: Rows) -> None:
    rows.change_array(rows.partner, ready=((0, 2),), held=((2, 5),))
    assert rows.names(
        rows.partner, f"has opened children ((1, 2),) before the gate of '{rows.array}'"
    )


def test_no_child_is_held_that_every_gate_has_let_through(rows: Rows) -> None:
    gates = (Gate(upstream=rows.array, passed=((0, 4),)), Gate(upstream="x", passed=((2, 5),)))
    rows.change_array(rows.partner, gates=gates)
    assert rows.names(
        rows.partner, "holds children ((2, 4),) that nothing holds back", at_rest=False
    )


def test_no_child_opens_before_the_dependencies_of_its_array(rows: Rows) -> None:
    rows.change_array(rows.late, ready=((0, 1),), held=((1, 3),))
    rows.change(rows.late, unmet=(rows.live, "x"))
    assert rows.names(rows.late, f"has opened children ((0, 1),) before {rows.live}, x")


def test_no_child_of_a_sequence_overtakes(rows: Rows) -> None:
    gates = (Gate(upstream="", passed=((0, 3),)),)
    rows.change_array(rows.sequence, ready=((0, 2),), held=((2, 3),), gates=gates)
    assert rows.names(
        rows.sequence, "has opened children ((1, 2),) before the one in front of them SUCCEEDED"
    )


def test_a_success_opens_only_the_one_behind_it(rows: Rows) -> None:
    done = replace(rows.jobs[child(rows, 0)], job_id=child_id(rows.sequence, 2), index=2)
    rows.jobs[done.job_id] = done
    gates = (Gate(upstream="", passed=((0, 3),)),)
    rows.change_array(rows.sequence, ready=((0, 2),), held=(), rows={"SUCCEEDED": 1}, gates=gates)
    assert rows.names(
        rows.sequence, "has opened children ((1, 2),) before the one in front of them SUCCEEDED"
    )


def test_each_success_in_a_sequence_opens_one_more(rows: Rows) -> None:
    world = rows.world
    for index in (0, 1):
        job_id = child_id(rows.sequence, index)
        world.execute(job_id)
        assert invariants.check(world.view.jobs(), world.view.specs) == []
    rows.jobs, rows.specs = dict(world.view.jobs()), dict(world.view.specs)
    done = child_id(rows.sequence, 1)
    stopped = {"stopped_at_ms": None, "attempts": (), "status": "RUNNABLE"}
    rows.change(done, **stopped)
    rows.change_array(rows.sequence, rows={"SUCCEEDED": 1, "RUNNABLE": 1})
    assert rows.breaches() == [
        f"{rows.sequence}: has opened children ((2, 3),) before the one in front of them SUCCEEDED"
    ]


def test_at_rest_nobody_waits_for_one_who_has_ended(rows: Rows) -> None:
    for upstream in (rows.done, child(rows, 0), child(rows, 9)):
        rows.change(rows.pending, unmet=(upstream,))
        assert rows.names(rows.pending, f"waits for {upstream}, which has ended")
        assert rows.breaches(at_rest=False) == []
    for upstream in (rows.live, child(rows, 1), child(rows, 3), f"{rows.late}:1"):
        rows.change(rows.pending, unmet=(upstream,))
        assert rows.breaches() == []


@pytest.mark.parametrize("upstream", ["x", "x:0", "x:y", "live:0"])
def test_at_rest_nobody_waits_for_one_of_whose_end_nobody_will_tell(
    rows: Rows, upstream: str
) -> None:
    upstream = upstream.replace("live", rows.live)
    rows.change(rows.pending, unmet=(upstream,))
    assert rows.names(rows.pending, f"waits for {upstream}, which has ended")


def failed(rows: Rows, index: int) -> None:
    stopped = {"current": None, "stopped_at_ms": 1, "attempts": ()}
    rows.change(child(rows, index), status="FAILED", **stopped)


def test_at_rest_nobody_waits_for_a_failed_partner(rows: Rows) -> None:
    failed(rows, 1)
    assert rows.names(
        rows.partner, f"holds children ((1, 2),) whose partners of {rows.array} FAILED"
    )
    assert rows.breaches(at_rest=False) == [b for b in rows.breaches() if "whose partners" not in b]


def test_at_rest_nobody_waits_for_a_dropped_partner(rows: Rows) -> None:
    dropped = (Dropped(ranges=((3, 5),), reason="", at_ms=1),)
    rows.change_array(rows.array, ready=(), dropped=dropped)
    assert rows.names(
        rows.partner, f"holds children ((3, 5),) whose partners of {rows.array} FAILED"
    )


def test_at_rest_an_ended_job_may_have_waited_for_anything(rows: Rows) -> None:
    rows.change(rows.pending, status="FAILED", stopped_at_ms=1, unmet=(rows.done,))
    assert rows.breaches() == []


def test_a_gate_on_what_is_no_array_holds_for_ever_but_breaks_no_other_law(rows: Rows) -> None:
    for upstream in (rows.live, "x"):
        gates = (Gate(upstream=upstream),)
        rows.change_array(rows.partner, ready=(), held=rg.span(0, 5), gates=gates)
        assert rows.breaches() == []


def test_rows_of_the_world_stay_as_they_are(rows: Rows) -> None:
    before = dict(rows.jobs)
    rows.breaches()
    assert rows.jobs == before
    assert isinstance(rows.jobs[rows.array], Job)

"""The draft of a decision: it sees its own facts, and tells rows of one kind from another's."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from batchyard.kernel import events as ev
from batchyard.kernel.decision import Decision, Draft
from batchyard.kernel.definition import JobDefinition
from batchyard.kernel.effects import StartAttempt
from batchyard.kernel.environment import ComputeEnvironment, JobQueue
from batchyard.kernel.faults import InvariantBroken
from batchyard.kernel.job import Job
from batchyard.testing.world import ENVIRONMENT, World


@pytest.fixture
def world() -> World:
    world = World()
    world.queue()
    return world


def test_a_draft_reads_what_it_has_written(world: World) -> None:
    job = world.submit()
    queue = world.view.queue("q")
    assert queue is not None
    draft = Draft(world.view, 7)
    draft.emit(ev.Watched(job_id=job))
    draft.emit(ev.Explained(job_id=job, status_reason="why"))
    draft.emit(ev.QueueRemoved(name="q"))
    assert draft.job(job) == replace(world.job(job), watched=True, status_reason="why")
    assert draft.queue("q") is None
    assert draft.compute_environment(ENVIRONMENT) is not None
    draft.emit(ev.QueueSaved(queue=queue))
    assert draft.queue("q") == queue
    assert not world.job(job).watched


def test_a_decision_carries_events_rows_effects_and_the_reply(world: World) -> None:
    job = world.submit()
    draft = Draft(world.view, 7)
    assert draft.done() == Decision()
    event, effect = ev.Watched(job_id=job), StartAttempt(job_id=job, attempt=1)
    draft.emit(event)
    draft.effect(effect)
    assert draft.done("reply") == Decision(
        events=(event,), rows={("job", job): draft.job(job)}, effects=(effect,), reply="reply"
    )


def test_what_is_unknown_is_none(world: World) -> None:
    draft = Draft(world.view, 7)
    assert draft.job("x") is None
    assert draft.queue("x") is None
    assert draft.compute_environment("x") is None


def test_definitions_are_read_by_name_and_revision(world: World) -> None:
    """A saved definition replaces its row, which is looked up under `name:revision`."""
    world.definition("d")
    definition = world.view.definition("d", 1)
    assert definition is not None
    draft = Draft(world.view, 7)
    draft.emit(ev.DefinitionSaved(definition=definition))
    assert draft.done().rows == {("definition", "d:1"): definition}


class Asked:
    """A view that knows no definition and remembers which it was asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []

    def definition(self, name: str, revision: int) -> None:
        self.asked.append((name, revision))


@pytest.mark.parametrize("name", ["d", "a:b"])
def test_the_revision_stands_behind_the_last_colon(name: str) -> None:
    view = Asked()
    draft = Draft(view, 7)  # type: ignore[arg-type]
    draft.emit(
        ev.DefinitionSaved(
            definition=JobDefinition(name=name, revision=12, document={}, created_at_ms=1)
        )
    )
    assert view.asked == [(name, 12)]


class Confused:
    """A view whose rows are of the wrong kind."""

    def __init__(self, row: Job | JobQueue | ComputeEnvironment) -> None:
        self.row = row

    def job(self, name: str) -> object:
        return self.row

    queue = compute_environment = job


@pytest.mark.parametrize(
    ("read", "row", "words"),
    [
        (lambda d: d.job("x"), "queue", "x is no job"),
        (lambda d: d.queue("x"), "job", "x is no job queue"),
        (lambda d: d.compute_environment("x"), "job", "x is no compute environment"),
    ],
)
def test_a_row_of_the_wrong_kind_is_a_broken_law(
    world: World, read: Callable[[Draft], object], row: str, words: str
) -> None:
    wrong = world.job(world.submit()) if row == "job" else world.view.queue("q")
    assert wrong is not None
    draft = Draft(Confused(wrong), 7)  # type: ignore[arg-type]
    with pytest.raises(InvariantBroken) as caught:
        read(draft)
    assert str(caught.value) == words

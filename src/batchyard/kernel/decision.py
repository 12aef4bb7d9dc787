"""What a command leads to, and the draft in which a decision is worked out."""

import msgspec

from batchyard.kernel.effects import Effect
from batchyard.kernel.environment import ComputeEnvironment, JobQueue
from batchyard.kernel.events import Event, Key, Row
from batchyard.kernel.evolve import evolve
from batchyard.kernel.faults import InvariantBroken
from batchyard.kernel.job import Job
from batchyard.kernel.view import View


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """Everything one transaction writes: facts, the rows they lead to (None: gone), effects."""

    events: tuple[Event, ...] = ()
    rows: dict[Key, Row | None] = {}
    effects: tuple[Effect, ...] = ()
    reply: object = None


class Draft:
    """A decision in the making: reads see the events already emitted in it."""

    def __init__(self, view: View, now_ms: int) -> None:
        self.view = view
        self.now_ms = now_ms
        self._events: list[Event] = []
        self._rows: dict[Key, Row | None] = {}
        self._effects: list[Effect] = []

    def emit(self, event: Event) -> None:
        """Record a fact and fold it into its row."""
        key = event.key
        self._rows[key] = evolve(self._load(key), event)
        self._events.append(event)

    def effect(self, effect: Effect) -> None:
        self._effects.append(effect)

    def job(self, job_id: str) -> Job | None:
        row = self._load(("job", job_id))
        if row is not None and not isinstance(row, Job):
            raise InvariantBroken(f"{job_id} is no job")
        return row

    def queue(self, name: str) -> JobQueue | None:
        row = self._load(("queue", name))
        if row is not None and not isinstance(row, JobQueue):
            raise InvariantBroken(f"{name} is no job queue")
        return row

    def compute_environment(self, name: str) -> ComputeEnvironment | None:
        row = self._load(("compute_environment", name))
        if row is not None and not isinstance(row, ComputeEnvironment):
            raise InvariantBroken(f"{name} is no compute environment")
        return row

    def done(self, reply: object = None) -> Decision:
        return Decision(
            events=tuple(self._events),
            rows=self._rows,
            effects=tuple(self._effects),
            reply=reply,
        )

    def _load(self, key: Key) -> Row | None:
        if key in self._rows:
            return self._rows[key]
        kind, name = key
        if kind == "job":
            return self.view.job(name)
        if kind == "queue":
            return self.view.queue(name)
        if kind == "compute_environment":
            return self.view.compute_environment(name)
        stem, _, revision = name.rpartition(":")
        return self.view.definition(stem, int(revision))

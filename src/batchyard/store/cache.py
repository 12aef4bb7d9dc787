"""What the writer thread remembers of the rows, so that hot paths ask SQLite nothing.

Owned by the writer thread alone. What is not on disk yet lives here too: between two flushes the
cache is the truth, therefore nothing is evicted inside a group.
"""

from collections import OrderedDict
from typing import Generic, TypeVar

from batchyard.kernel.definition import JobDefinition
from batchyard.kernel.environment import ComputeEnvironment, JobQueue

V = TypeVar("V")


class Recent(Generic[V]):
    """The values used last, by id; bounded by `trim`, which the owner calls between groups."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._values: OrderedDict[str, V] = OrderedDict()

    def get(self, key: str) -> V | None:
        value = self._values.get(key)
        if value is not None:
            self._values.move_to_end(key)
        return value

    def put(self, key: str, value: V) -> None:
        self._values[key] = value
        self._values.move_to_end(key)

    def drop(self, key: str) -> None:
        self._values.pop(key, None)

    def trim(self) -> None:
        while len(self._values) > self._capacity:
            self._values.popitem(last=False)

    def clear(self) -> None:
        self._values.clear()

    def __len__(self) -> int:
        return len(self._values)


class Catalogue:
    """All queues, compute environments and definitions: few, and asked for by every submit."""

    def __init__(self) -> None:
        self.queues: dict[str, JobQueue] = {}
        self.compute_environments: dict[str, ComputeEnvironment] = {}
        self.definitions: dict[str, dict[int, JobDefinition]] = {}

    def put_definition(self, definition: JobDefinition) -> None:
        self.definitions.setdefault(definition.name, {})[definition.revision] = definition

    def drop_definition(self, name: str, revision: int) -> None:
        revisions = self.definitions.get(name, {})
        revisions.pop(revision, None)
        if not revisions:
            self.definitions.pop(name, None)

    def queues_of(self, compute_environment: str) -> list[str]:
        return sorted(
            queue.name
            for queue in self.queues.values()
            if compute_environment in queue.compute_environments
        )

    def latest_revision(self, name: str) -> int:
        return max(self.definitions.get(name, {}), default=0)

    def latest_active(self, name: str) -> JobDefinition | None:
        revisions = self.definitions.get(name, {})
        for revision in sorted(revisions, reverse=True):
            if revisions[revision].status == "ACTIVE":
                return revisions[revision]
        return None

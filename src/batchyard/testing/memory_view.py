"""The kernel's `View` over dicts. What `World` keeps its rows in; knows no commands."""

from collections.abc import Iterator

from batchyard.kernel import events as ev
from batchyard.kernel import ranges as rg
from batchyard.kernel.decision import Decision
from batchyard.kernel.definition import JobDefinition
from batchyard.kernel.environment import ComputeEnvironment, JobQueue
from batchyard.kernel.ids import Realm
from batchyard.kernel.job import DependencyType, Job, JobSpec
from batchyard.kernel.ranges import Ranges
from batchyard.kernel.states import TERMINAL, Status


class MemoryView:
    """Rows by key, specs by job id, and who depends on whom. Changes by `keep` alone."""

    def __init__(self, realm: Realm) -> None:
        self.realm = realm
        self.rows: dict[ev.Key, ev.Row] = {}
        self.specs: dict[str, JobSpec] = {}
        self._edges: dict[str, list[tuple[str, DependencyType]]] = {}
        self._children: dict[str, list[str]] = {}

    def keep(self, decision: Decision) -> None:
        """Take in what one command led to."""
        for event in decision.events:
            if isinstance(event, ev.JobSubmitted):
                self.specs[event.job.job_id] = event.spec
                for need in event.spec.depends_on:
                    edges = self._edges.setdefault(need.job_id, [])
                    edges.append((event.job.job_id, need.type))
                    edges.sort()
            elif isinstance(event, ev.ChildSpawned):
                self._children.setdefault(event.job.root_id, []).append(event.job.job_id)
        for key, row in decision.rows.items():
            if row is None:
                self.rows.pop(key, None)
            else:
                self.rows[key] = row

    def jobs(self) -> dict[str, Job]:
        """All rows of jobs by id."""
        return {row.job_id: row for row in self.rows.values() if isinstance(row, Job)}

    def job(self, job_id: str) -> Job | None:
        row = self.rows.get(("job", job_id))
        return row if isinstance(row, Job) else None

    def spec(self, root_id: str) -> JobSpec:
        return self.specs[root_id]

    def queue(self, name: str) -> JobQueue | None:
        row = self.rows.get(("queue", name))
        return row if isinstance(row, JobQueue) else None

    def queue_names(self) -> list[str]:
        return [name for kind, name in self.rows if kind == "queue"]

    def compute_environment(self, name: str) -> ComputeEnvironment | None:
        row = self.rows.get(("compute_environment", name))
        return row if isinstance(row, ComputeEnvironment) else None

    def compute_environment_names(self) -> list[str]:
        return [name for kind, name in self.rows if kind == "compute_environment"]

    def queues_of(self, compute_environment: str) -> list[str]:
        return [
            row.name
            for row in self.rows.values()
            if isinstance(row, JobQueue) and compute_environment in row.compute_environments
        ]

    def definition(self, name: str, revision: int) -> JobDefinition | None:
        row = self.rows.get(("definition", f"{name}:{revision}"))
        return row if isinstance(row, JobDefinition) else None

    def latest_revision(self, name: str) -> int:
        return max((d.revision for d in self._definitions(name)), default=0)

    def latest_active(self, name: str) -> JobDefinition | None:
        active = (d for d in self._definitions(name) if d.status == "ACTIVE")
        return max(active, key=lambda d: d.revision, default=None)

    def dependents(self, upstream: str, after: str, limit: int) -> list[tuple[str, DependencyType]]:
        found = [edge for edge in self._edges.get(upstream, ()) if edge[0] > after]
        while 0 < limit < len(found) and found[limit][0] == found[limit - 1][0]:
            limit += 1
        return found[:limit]

    def open_children(self, parent_id: str, after: int, limit: int) -> list[Job]:
        found = [
            (child.index, child)
            for child in self._child_rows(parent_id)
            if child.index is not None and child.index > after and child.status not in TERMINAL
        ]
        return [child for _, child in sorted(found, key=lambda pair: pair[0])][:limit]

    def child_indexes(self, parent_id: str, status: Status) -> Ranges:
        return rg.of(
            child.index
            for child in self._child_rows(parent_id)
            if child.index is not None and child.status == status
        )

    def open_jobs(self, queue: str, after: int, limit: int) -> list[Job]:
        found = [
            row
            for row in self.jobs().values()
            if row.kind != "child"
            and row.queue == queue
            and row.seq > after
            and row.status not in TERMINAL
        ]
        return sorted(found, key=lambda row: row.seq)[:limit]

    def _definitions(self, name: str) -> Iterator[JobDefinition]:
        for row in self.rows.values():
            if isinstance(row, JobDefinition) and row.name == name:
                yield row

    def _child_rows(self, parent_id: str) -> Iterator[Job]:
        for job_id in self._children.get(parent_id, ()):
            child = self.job(job_id)
            if child is not None:
                yield child

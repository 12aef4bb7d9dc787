"""A yard in memory for tests of the nouns: a View over dicts, and `do` to judge a command."""

from collections.abc import Callable

from batchyard.kernel.commands import Command
from batchyard.kernel.decide import decide
from batchyard.kernel.decision import Decision
from batchyard.kernel.definition import JobDefinition
from batchyard.kernel.document import Members
from batchyard.kernel.effects import FollowUp
from batchyard.kernel.environment import ComputeEnvironment, JobQueue
from batchyard.kernel.events import JobSubmitted, Key, Row
from batchyard.kernel.ids import Realm
from batchyard.kernel.job import DependencyType, Job, JobSpec
from batchyard.kernel.ranges import Ranges, of
from batchyard.kernel.states import TERMINAL, Status

NOW_MS = 1_700_000_000_000


class World:
    """The View protocol over dicts; every decision is folded in at once."""

    def __init__(self) -> None:
        self.realm = Realm()
        self.rows: dict[Key, Row] = {}
        self.specs: dict[str, JobSpec] = {}
        self.last: Decision = Decision()
        self.now_ms = NOW_MS
        self.seq = 0

    def do(self, command: Command) -> Members:
        """Judge and fold one command; the reply."""
        self.last = decide(command, self, self.now_ms)
        for key, row in self.last.rows.items():
            if row is None:
                self.rows.pop(key, None)
            else:
                self.rows[key] = row
        for event in self.last.events:
            if isinstance(event, JobSubmitted):
                self.specs[event.job.job_id] = event.spec
        reply = self.last.reply
        return reply if isinstance(reply, dict) else {}

    def settle(self) -> None:
        """Judge the settling steps that the last decision asked for, and what they lead to."""
        for effect in self.last.effects:
            if isinstance(effect, FollowUp):
                self.do(effect.command)
                self.settle()

    def follow_ups(self) -> list[Command]:
        return [e.command for e in self.last.effects if isinstance(e, FollowUp)]

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
        active = [d for d in self._definitions(name) if d.status == "ACTIVE"]
        return max(active, key=lambda d: d.revision, default=None)

    def dependents(self, upstream: str, after: str, limit: int) -> list[tuple[str, DependencyType]]:
        found = [
            (job_id, dependency.type)
            for job_id, spec in sorted(self.specs.items())
            for dependency in spec.depends_on
            if dependency.job_id == upstream and job_id > after
        ]
        return found[:limit]

    def open_children(self, parent_id: str, after: int, limit: int) -> list[Job]:
        found = self._jobs(
            lambda j: j.kind == "child" and j.root_id == parent_id and j.status not in TERMINAL
        )
        found.sort(key=lambda j: j.index or 0)
        return [j for j in found if (j.index or 0) > after][:limit]

    def child_indexes(self, parent_id: str, status: Status) -> Ranges:
        found = self._jobs(lambda j: j.root_id == parent_id and j.status == status)
        return of(j.index for j in found if j.index is not None)

    def open_jobs(self, queue: str, after: int, limit: int) -> list[Job]:
        found = self._jobs(
            lambda j: j.kind != "child" and j.queue == queue and j.status not in TERMINAL
        )
        found.sort(key=lambda j: j.seq)
        return [j for j in found if j.seq > after][:limit]

    def _definitions(self, name: str) -> list[JobDefinition]:
        return [r for r in self.rows.values() if isinstance(r, JobDefinition) and r.name == name]

    def _jobs(self, wanted: Callable[[Job], bool]) -> list[Job]:
        return [r for r in self.rows.values() if isinstance(r, Job) and wanted(r)]

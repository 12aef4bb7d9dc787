"""Every fact the kernel records. A row is the fold of its own events by `evolve`.

Each event belongs to exactly one row, named by `key`.
"""

from typing import Literal

import msgspec

from batchyard.kernel.definition import JobDefinition
from batchyard.kernel.environment import ComputeEnvironment, JobQueue
from batchyard.kernel.job import Attempt, Job, JobSpec, StopKind
from batchyard.kernel.ranges import Ranges
from batchyard.kernel.states import Status

Kind = Literal["job", "queue", "compute_environment", "definition"]
Key = tuple[Kind, str]


class _OfJob(msgspec.Struct, frozen=True, kw_only=True):
    """A fact about the row of one job."""

    job_id: str

    @property
    def key(self) -> Key:
        return ("job", self.job_id)


class JobSubmitted(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A single job or an array parent enters; `job.status` is its first state."""

    job: Job
    spec: JobSpec

    @property
    def key(self) -> Key:
        return ("job", self.job.job_id)


class ChildSpawned(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A child leaves its initial state and becomes a row."""

    job: Job

    @property
    def key(self) -> Key:
        return ("job", self.job.job_id)


class Watched(_OfJob, frozen=True, kw_only=True, tag=True):
    """The first dependent of this job was submitted."""


class DependencyMet(_OfJob, frozen=True, kw_only=True, tag=True):
    upstream: str


class JobRunnable(_OfJob, frozen=True, kw_only=True, tag=True):
    """All dependencies of a single job are met."""

    at_ms: int


class GatePassed(_OfJob, frozen=True, kw_only=True, tag=True):
    """A per-child dependency of an array let these indexes through."""

    upstream: str
    ranges: Ranges


class ChildrenReady(_OfJob, frozen=True, kw_only=True, tag=True):
    """Children without rows become RUNNABLE: held -> ready."""

    ranges: Ranges
    at_ms: int


class ChildrenDropped(_OfJob, frozen=True, kw_only=True, tag=True):
    """Children without rows fail together: held or ready -> dropped."""

    ranges: Ranges
    reason: str
    at_ms: int
    stop: StopKind | None = None


class ChildMoved(_OfJob, frozen=True, kw_only=True, tag=True):
    """The parent's tally follows a child's row. `source` None: the row is new (held or ready)."""

    index: int
    source: Status | None
    target: Status
    at_ms: int


class AttemptPlaced(_OfJob, frozen=True, kw_only=True, tag=True):
    """RUNNABLE -> STARTING: the attempt now holds its resources."""

    attempt: Attempt


class AttemptStarted(_OfJob, frozen=True, kw_only=True, tag=True):
    """STARTING -> RUNNING."""

    at_ms: int
    notes: tuple[str, ...] = ()


class AttemptEnded(_OfJob, frozen=True, kw_only=True, tag=True):
    """The live attempt is over and the job moves to `next`: a retry, SUCCEEDED or FAILED."""

    at_ms: int
    next: Status
    status_reason: str | None
    """Of the attempt; the job takes `job_reason`."""
    job_reason: str | None
    exit_code: int | None = None
    reason: str | None = None
    notes: tuple[str, ...] = ()


class StopRequested(_OfJob, frozen=True, kw_only=True, tag=True):
    kind: StopKind
    reason: str
    at_ms: int


class JobEnded(_OfJob, frozen=True, kw_only=True, tag=True):
    """A job ends without a live attempt: cancelled, dependency failed, or an array is complete."""

    status: Status
    status_reason: str | None
    at_ms: int


class Explained(_OfJob, frozen=True, kw_only=True, tag=True):
    """Why a RUNNABLE job at the head of its queue waits; None when nothing blocks it."""

    status_reason: str | None


class JobTagged(_OfJob, frozen=True, kw_only=True, tag=True):
    tags: dict[str, str]
    """The whole set after the change."""


class QueueSaved(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    queue: JobQueue

    @property
    def key(self) -> Key:
        return ("queue", self.queue.name)


class QueueRemoved(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    name: str

    @property
    def key(self) -> Key:
        return ("queue", self.name)


class ComputeEnvironmentSaved(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    compute_environment: ComputeEnvironment

    @property
    def key(self) -> Key:
        return ("compute_environment", self.compute_environment.name)


class ComputeEnvironmentRemoved(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    name: str

    @property
    def key(self) -> Key:
        return ("compute_environment", self.name)


class DefinitionSaved(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    definition: JobDefinition

    @property
    def key(self) -> Key:
        return ("definition", self.definition.key)


JobEvent = (
    JobSubmitted
    | ChildSpawned
    | Watched
    | DependencyMet
    | JobRunnable
    | GatePassed
    | ChildrenReady
    | ChildrenDropped
    | ChildMoved
    | AttemptPlaced
    | AttemptStarted
    | AttemptEnded
    | StopRequested
    | JobEnded
    | Explained
    | JobTagged
)
Event = (
    JobEvent
    | QueueSaved
    | QueueRemoved
    | ComputeEnvironmentSaved
    | ComputeEnvironmentRemoved
    | DefinitionSaved
)
Row = Job | JobQueue | ComputeEnvironment | JobDefinition

"""A job as the yard remembers it: the small mutable row, its attempts, and the immutable spec.

Children of an array share their parent's spec and become rows of their own only when they leave
their initial state; until then they are ranges of indexes in the parent's `ArrayState`.
"""

from typing import Literal

import msgspec

from batchyard.kernel.ranges import EMPTY, Ranges, count
from batchyard.kernel.resources import Shape
from batchyard.kernel.states import STATUSES, Status

DependencyType = Literal["PLAIN", "N_TO_N", "SEQUENTIAL"]
StopKind = Literal["cancel", "terminate", "timeout", "queue"]


class Dependency(msgspec.Struct, frozen=True, kw_only=True):
    """One `dependsOn` entry. `job_id` is empty for SEQUENTIAL. PLAIN is AWS's absent type."""

    job_id: str = ""
    type: DependencyType = "PLAIN"


class ExitRule(msgspec.Struct, frozen=True, kw_only=True):
    """One `evaluateOnExit` entry, as sent: `action` keeps its case."""

    action: str
    on_status_reason: str | None = None
    on_reason: str | None = None
    on_exit_code: str | None = None


class RetryStrategy(msgspec.Struct, frozen=True, kw_only=True):
    attempts: int = 1
    evaluate_on_exit: tuple[ExitRule, ...] = ()


class JobSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What was submitted, merged with its definition. Never changes after SubmitJob."""

    definition_arn: str
    definition_name: str
    container: dict[str, object]
    """Wire-shaped ContainerDetail without results; unknown members kept."""
    parameters: dict[str, str] = {}
    depends_on: tuple[Dependency, ...] = ()
    retry: RetryStrategy = RetryStrategy()
    timeout_s: int | None = None
    propagate_tags: bool | None = None
    platform_capabilities: tuple[str, ...] = ()
    scheduling_priority: int | None = None
    share_identifier: str | None = None
    extra: dict[str, object] = {}
    """Wire members of JobDetail that Batchyard returns untouched."""


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One try. Times are epoch ms; absent until they happened."""

    number: int
    attempt_id: str
    compute_environment: str
    instance_id: str
    cluster: str
    log_stream: str
    placed_at_ms: int
    gpu_ids: tuple[str, ...] = ()
    started_at_ms: int | None = None
    stopped_at_ms: int | None = None
    exit_code: int | None = None
    reason: str | None = None
    status_reason: str | None = None
    notes: tuple[str, ...] = ()


class Stop(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody asked for the end: the first asking counts, and no retry follows."""

    kind: StopKind
    reason: str
    at_ms: int


class Gate(msgspec.Struct, frozen=True, kw_only=True):
    """A per-child dependency of an array: which indexes have been let through.

    `upstream` is the other array's id for N_TO_N and empty for SEQUENTIAL.
    """

    upstream: str
    passed: Ranges = EMPTY


class Dropped(msgspec.Struct, frozen=True, kw_only=True):
    """Children that failed together before any of them left its initial state."""

    ranges: Ranges
    reason: str
    at_ms: int
    stop: StopKind | None = None


class ArrayState(msgspec.Struct, frozen=True, kw_only=True):
    """The children of an array. Every index is in exactly one of held, ready, dropped, or a row."""

    size: int
    held: Ranges
    ready: Ranges = EMPTY
    dropped: tuple[Dropped, ...] = ()
    gates: tuple[Gate, ...] = ()
    rows: dict[Status, int] = {}
    """How many child rows are in each state."""
    updated_at_ms: int = 0

    def tally(self) -> dict[Status, int]:
        """Children per state, all seven keys, as AWS's statusSummary."""
        out = {status: self.rows.get(status, 0) for status in STATUSES}
        out["PENDING"] += count(self.held)
        out["RUNNABLE"] += count(self.ready)
        out["FAILED"] += sum(count(d.ranges) for d in self.dropped)
        return out


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One row. `kind`: a single job, an array parent, or a child of an array."""

    job_id: str
    kind: Literal["single", "array", "child"]
    name: str
    queue: str
    """Name of the queue."""
    definition: str
    """`name:revision`."""
    status: Status
    seq: int
    """Order of submission across the yard; children share their parent's."""
    shape: Shape
    created_at_ms: int
    index: int | None = None
    """Of children, and of nothing else."""
    status_reason: str | None = None
    started_at_ms: int | None = None
    stopped_at_ms: int | None = None
    attempts: tuple[Attempt, ...] = ()
    """Finished attempts, oldest first."""
    current: Attempt | None = None
    unmet: tuple[str, ...] = ()
    """Job ids of plain dependencies that have not succeeded yet."""
    stop: Stop | None = None
    cancelled: bool = False
    terminated: bool = False
    watched: bool = False
    """Some other job depends on this one or on one of its children."""
    tags: dict[str, str] = {}
    array: ArrayState | None = None

    @property
    def root_id(self) -> str:
        """Id of the job that holds the spec."""
        return self.job_id.partition(":")[0] if self.kind == "child" else self.job_id

    @property
    def next_attempt(self) -> int:
        return len(self.attempts) + 1

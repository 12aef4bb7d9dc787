"""Everything that can be asked of the kernel. Ids, times and randomness come in from outside."""

import msgspec

from batchyard.kernel.job import StopKind
from batchyard.kernel.ranges import Ranges


class SubmitJob(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A validated SubmitJob request. `request` is the wire dict; the caller chose id and seq."""

    job_id: str
    seq: int
    request: dict[str, object]


class CancelJob(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    job_id: str
    reason: str


class TerminateJob(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    job_id: str
    reason: str


class StopChildren(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Next portion of a cancel or terminate of an array: child rows after index `after`."""

    job_id: str
    kind: StopKind
    reason: str
    after: int = -1


class StopQueue(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Next portion of the jobs of a queue that is being deleted: jobs after `after` by seq."""

    queue: str
    after: int = -1


class ReleaseDependents(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Tell the dependents of an ended job, a portion at a time, in order of their ids."""

    upstream: str
    after: str = ""


class ReleaseChildren(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Tell the arrays that wait N_TO_N on `upstream` that these of its children have ended."""

    upstream: str
    ranges: Ranges
    succeeded: bool


class PlaceAttempt(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Compare-and-set of a plan: applies only to a RUNNABLE job whose next attempt is this one."""

    job_id: str
    attempt: int
    compute_environment: str
    instance_id: str
    gpu_ids: tuple[str, ...] = ()


class ReportStarted(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    job_id: str
    attempt: int
    at_ms: int
    notes: tuple[str, ...] = ()


class ReportEnded(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The container ended with a true exit code."""

    job_id: str
    attempt: int
    at_ms: int
    started_at_ms: int
    exit_code: int
    reason: str | None = None
    notes: tuple[str, ...] = ()


class ReportStartFailed(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    job_id: str
    attempt: int
    at_ms: int
    reason: str


class ReportLost(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The attempt's host went away; nothing is known of its end."""

    job_id: str
    attempt: int
    at_ms: int
    detail: str = ""


class TimeOutAttempt(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    job_id: str
    attempt: int


class Explain(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Set or clear the statusReason of a RUNNABLE head job that cannot be placed."""

    job_id: str
    status_reason: str | None


class RegisterJobDefinition(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    request: dict[str, object]


class DeregisterJobDefinition(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    job_definition: str


class CreateComputeEnvironment(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    request: dict[str, object]
    uuid: str


class UpdateComputeEnvironment(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    request: dict[str, object]


class DeleteComputeEnvironment(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    compute_environment: str


class SettleComputeEnvironment(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """CREATING or UPDATING becomes VALID or INVALID; DELETING becomes nothing."""

    name: str
    generation: int


class CreateJobQueue(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    request: dict[str, object]


class UpdateJobQueue(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    request: dict[str, object]


class DeleteJobQueue(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    job_queue: str


class SettleJobQueue(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    name: str
    generation: int


class TagResource(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    arn: str
    tags: dict[str, str]


class UntagResource(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    arn: str
    keys: tuple[str, ...]


Command = (
    SubmitJob
    | CancelJob
    | TerminateJob
    | StopChildren
    | StopQueue
    | ReleaseDependents
    | ReleaseChildren
    | PlaceAttempt
    | ReportStarted
    | ReportEnded
    | ReportStartFailed
    | ReportLost
    | TimeOutAttempt
    | Explain
    | RegisterJobDefinition
    | DeregisterJobDefinition
    | CreateComputeEnvironment
    | UpdateComputeEnvironment
    | DeleteComputeEnvironment
    | SettleComputeEnvironment
    | CreateJobQueue
    | UpdateJobQueue
    | DeleteJobQueue
    | SettleJobQueue
    | TagResource
    | UntagResource
)

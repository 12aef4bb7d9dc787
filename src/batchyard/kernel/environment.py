"""Where jobs wait and where they run: job queues and compute environments as values."""

from typing import Literal

import msgspec

ResourceStatus = Literal["CREATING", "UPDATING", "DELETING", "DELETED", "VALID", "INVALID"]
ResourceState = Literal["ENABLED", "DISABLED"]


class JobQueue(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    state: ResourceState
    status: ResourceStatus
    status_reason: str
    priority: int
    compute_environments: tuple[str, ...]
    """Names, in the order in which they are tried."""
    created_at_ms: int
    generation: int = 1
    """Grows with every change; a settling step that names an older one is stale."""
    tags: dict[str, str] = {}
    extra: dict[str, object] = {}
    """Wire members returned untouched: schedulingPolicyArn, jobStateTimeLimitActions, ..."""


class ComputeEnvironment(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    type: Literal["MANAGED", "UNMANAGED"]
    state: ResourceState
    status: ResourceStatus
    status_reason: str
    uuid: str
    created_at_ms: int
    generation: int = 1
    compute_resources: dict[str, object] | None = None
    service_role: str = ""
    tags: dict[str, str] = {}
    extra: dict[str, object] = {}
    """Wire members returned untouched: unmanagedvCpus, eksConfiguration, updatePolicy, ..."""

    @property
    def cluster(self) -> str:
        """Name of the ECS cluster AWS would have made for it."""
        return f"AWSBatch-{self.name}-{self.uuid}"

"""What one pass sees: a frozen, picklable picture of capacity and of the heads of the queues."""

import msgspec

from batchyard.kernel.resources import Shape


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """A RUNNABLE attempt near the front of its queue."""

    job_id: str
    attempt: int
    shape: Shape
    order: tuple[int, int, int]
    """Retries first, then submission order, then array index."""


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One queue. `heads` is a window on its front; `more` says that others wait behind it."""

    queue: str
    priority: int
    compute_environments: tuple[str, ...]
    heads: tuple[Head, ...]
    more: bool = False


class Instance(msgspec.Struct, frozen=True, kw_only=True):
    """A machine jobs are placed on; several compute environments may share it."""

    instance_id: str
    total: Shape
    gpu_ids: tuple[str, ...] = ()


class InstanceUse(msgspec.Struct, frozen=True, kw_only=True):
    instance: Instance
    free: Shape
    free_gpu_ids: tuple[str, ...] = ()


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    """A compute environment as far as placing is concerned. `max_vcpu_milli` None: no limit."""

    name: str
    usable: bool
    """ENABLED and VALID (or UPDATING: running instances stay in service)."""
    trouble: str
    """Why it is not usable, in words; empty when it is."""
    instance_ids: tuple[str, ...]
    max_vcpu_milli: int | None
    used_vcpu_milli: int


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    lines: tuple[Line, ...]
    environments: dict[str, Environment]
    instances: dict[str, InstanceUse]

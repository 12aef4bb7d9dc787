"""Who holds what: instances, the attempts on them, and what is left.

A placement is reserved before its commit and confirmed by it; both are the same entry, so that two
passes never hand out the same room.
"""

import msgspec

from batchyard.kernel.resources import Shape
from batchyard.scheduler.snapshot import Instance, InstanceUse


class Holding(msgspec.Struct, frozen=True, kw_only=True):
    instance_id: str
    compute_environment: str
    shape: Shape
    gpu_ids: tuple[str, ...] = ()


class Occupancy:
    """Free and used room per instance and per compute environment. All updates are O(1)."""

    def __init__(self) -> None:
        self._instances: dict[str, Instance] = {}
        self._holdings: dict[str, Holding] = {}
        self._used: dict[str, tuple[int, int, int]] = {}
        self._used_vcpu_milli: dict[str, int] = {}
        self._gpus: dict[str, tuple[str, ...]] = {}

    def add_instance(self, instance: Instance) -> None:
        self._instances[instance.instance_id] = instance

    def hold(self, job_id: str, holding: Holding) -> None:
        """Take room for the job's live attempt. Idempotent."""
        if job_id not in self._holdings:
            self._holdings[job_id] = holding
            self._count(holding, +1)

    def release(self, job_id: str) -> None:
        """Give the room back. Idempotent."""
        holding = self._holdings.pop(job_id, None)
        if holding is not None:
            self._count(holding, -1)

    def _count(self, holding: Holding, sign: int) -> None:
        shape, where = holding.shape, holding.instance_id
        vcpu, memory, gpus = self._used.get(where, (0, 0, 0))
        self._used[where] = (
            vcpu + sign * shape.vcpu_milli,
            memory + sign * shape.memory_mib,
            gpus + sign * shape.gpus,
        )
        name = holding.compute_environment
        self._used_vcpu_milli[name] = self._used_vcpu_milli.get(name, 0) + sign * shape.vcpu_milli
        held = self._gpus.get(where, ())
        if sign > 0:
            self._gpus[where] = held + holding.gpu_ids
        else:
            self._gpus[where] = tuple(g for g in held if g not in holding.gpu_ids)

    def used_by(self, compute_environment: str) -> int:
        """Milli-vCPU that attempts of this environment hold."""
        return self._used_vcpu_milli.get(compute_environment, 0)

    def memory_used_by(self, compute_environment: str) -> int:
        """MiB that attempts of this environment hold. Cost: O(live attempts); asked by people."""
        return sum(
            holding.shape.memory_mib
            for holding in self._holdings.values()
            if holding.compute_environment == compute_environment
        )

    def instance_ids(self) -> tuple[str, ...]:
        return tuple(self._instances)

    def uses(self) -> dict[str, InstanceUse]:
        """The instances as a pass sees them. Free room may be negative after a machine shrank."""
        out: dict[str, InstanceUse] = {}
        for name, instance in self._instances.items():
            vcpu, memory, gpus = self._used.get(name, (0, 0, 0))
            held = self._gpus.get(name, ())
            out[name] = InstanceUse(
                instance=instance,
                free=Shape(
                    vcpu_milli=instance.total.vcpu_milli - vcpu,
                    memory_mib=instance.total.memory_mib - memory,
                    gpus=instance.total.gpus - gpus,
                ),
                free_gpu_ids=tuple(g for g in instance.gpu_ids if g not in held),
            )
        return out

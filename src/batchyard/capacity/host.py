"""The `host` provider: this machine is the one instance, with the vCPUs, memory and GPUs it has."""

import hashlib
import os
import re
from pathlib import Path

import structlog

from batchyard.kernel.resources import Shape
from batchyard.scheduler.snapshot import Instance

log = structlog.get_logger(__name__)

RESERVED_MIB = 256
"""Kept for the yard itself and the system, as ECS keeps memory for its agent."""


def host_instance(
    *, vcpus: int | None = None, memory_mib: int | None = None, gpus: int | None = None
) -> Instance:
    """Measure this machine; an argument that is given wins over what was measured.

    A container's or a service's own limits count as the machine.
    """
    ids = gpu_ids() if gpus is None else tuple(str(i) for i in range(gpus))
    measured = _memory_mib() - RESERVED_MIB
    return Instance(
        instance_id=_instance_id(),
        total=Shape(
            vcpu_milli=1000 * (vcpus if vcpus is not None else len(os.sched_getaffinity(0))),
            memory_mib=memory_mib if memory_mib is not None else max(4, measured),
            gpus=len(ids),
        ),
        gpu_ids=ids,
    )


def _memory_mib() -> int:
    text = Path("/proc/meminfo").read_text(encoding="ascii")
    found = re.search(r"^MemTotal:\s+(\d+) kB", text, re.MULTILINE)
    total = int(found.group(1)) // 1024 if found else 1024
    for limit in (
        "/sys/fs/cgroup/memory.max",
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
    ):
        try:
            value = Path(limit).read_text(encoding="ascii").strip()
        except OSError:
            continue
        if value.isdecimal():
            total = min(total, int(value) // 1_048_576)
    return total


def gpu_ids() -> tuple[str, ...]:
    """NVIDIA device minors; empty without a driver."""
    found = [re.fullmatch(r"nvidia(\d+)", path.name) for path in Path("/dev").glob("nvidia*")]
    return tuple(sorted(match.group(1) for match in found if match))


def _instance_id() -> str:
    """Shaped like EC2's and stable: clients search for `Host EC2 (instance i-...)`."""
    try:
        machine = Path("/etc/machine-id").read_text(encoding="ascii").strip()
    except OSError:
        machine = os.uname().nodename
    return "i-" + hashlib.sha256(f"batchyard {machine}".encode()).hexdigest()[:17]

"""The `host` provider: this machine is the one instance, with the vCPUs, memory and GPUs it has."""

import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from batchyard.kernel.resources import Shape
from batchyard.scheduler.snapshot import Instance

RESERVED_MIB = 256
"""Kept for the yard itself and the system, as ECS keeps memory for its agent."""
LEAST_MIB = 4
"""AWS: the least a container may ask for."""
ROOT = Path("/")


def host_instance(
    *,
    vcpus: int | None = None,
    memory_mib: int | None = None,
    gpus: int | None = None,
    root: Path = ROOT,
) -> Instance:
    """Measure this machine; an argument that is given wins over what was measured.

    A container's or a service's own limits count as the machine.

    Args:
        root: Where `/proc`, `/sys`, `/dev` and `/etc` are found; another folder in tests.
    """
    ids = gpu_ids(root) if gpus is None else tuple(str(i) for i in range(gpus))
    if memory_mib is None:
        memory_mib = max(LEAST_MIB, _memory_mib(root) - RESERVED_MIB)
    return Instance(
        instance_id=_instance_id(root),
        total=Shape(
            vcpu_milli=1000 * (_vcpus(root) if vcpus is None else vcpus),
            memory_mib=memory_mib,
            gpus=len(ids),
        ),
        gpu_ids=ids,
    )


def gpu_ids(root: Path = ROOT) -> tuple[str, ...]:
    """NVIDIA device minors, in order; empty without a driver."""
    found = [re.fullmatch(r"nvidia(\d+)", path.name) for path in (root / "dev").glob("nvidia*")]
    return tuple(sorted((match.group(1) for match in found if match), key=int))


def _vcpus(root: Path) -> int:
    """Processors this process may run on; fewer where a control group has a smaller quota."""
    most = len(os.sched_getaffinity(0))
    for folder in _groups(root, "cpu"):
        quota, _, period = _text(folder / "cpu.max").partition(" ")
        if not quota:
            quota, period = _text(folder / "cpu.cfs_quota_us"), _text(folder / "cpu.cfs_period_us")
        if quota.isdecimal() and period.isdecimal() and int(period):
            # Half a processor is still one to place a job on.
            most = min(most, max(1, int(quota) // int(period)))
    return most


def _memory_mib(root: Path) -> int:
    found = re.search(r"^MemTotal:\s+(\d+) kB", _text(root / "proc/meminfo"), re.MULTILINE)
    total = int(found.group(1)) // 1024 if found else 1024
    for folder in _groups(root, "memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            value = _text(folder / name)
            if value.isdecimal():
                total = min(total, int(value) // 1_048_576)
    return total


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """Folders of the control groups this process is in, the innermost first; a limit on any holds.

    In a container the path may be the host's and lead nowhere: then its own root group is left.
    """
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        if names and controller not in names.split(","):
            continue
        mount = root / "sys/fs/cgroup" / (controller if names else "")
        group = mount / path.lstrip("/")
        if ".." in group.parts:
            group = mount
        yield from (group, *(p for p in group.parents if p.is_relative_to(mount)))


def _instance_id(root: Path) -> str:
    """Shaped like EC2's and stable: clients search for `Host EC2 (instance i-...)`."""
    machine = _text(root / "etc/machine-id") or os.uname().nodename
    return "i-" + hashlib.sha256(f"batchyard {machine}".encode()).hexdigest()[:17]


def _text(path: Path) -> str:
    """What a file of the system says; empty when it is not there."""
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""

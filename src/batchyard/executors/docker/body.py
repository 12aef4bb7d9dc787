"""An AttemptSpec as the body of the engine's create request. Pure.

Environment values travel only in this body, never on a command line.
"""

from typing import Any, Literal

import msgspec

from batchyard.executors.docker.degrade import NOTES, Concession, clamp
from batchyard.executors.docker.inspected import (
    LABEL_ATTEMPT,
    LABEL_JOB,
    LABEL_NOTES,
    LABEL_YARD,
)
from batchyard.executors.docker.sockets import UNLIMITED, HardLimits
from batchyard.executors.policy import Policy
from batchyard.executors.port import AttemptSpec, Mount, Ulimit

_MIB = 1 << 20
_LEAST_MEMORY_MIB = 6
_LEAST_CPU_SHARES = 2


class Host(msgspec.Struct, frozen=True, kw_only=True):
    """What the driver knows of the engine when it makes a body."""

    kind: str
    limits: HardLimits = HardLimits()


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    body: dict[str, Any]
    notes: tuple[str, ...]


def container_name(yard_id: str, attempt_id: str) -> str:
    return f"batchyard-{yard_id[:8]}-{attempt_id}"


def compose(
    spec: AttemptSpec,
    *,
    yard_id: str,
    policy: Policy,
    host: Host,
    host_network: str = "host",
    conceded: frozenset[Concession] = frozenset(),
) -> Draft:
    """Body and plain-words notes on what of the spec it does not honour.

    Args:
        host_network: The engine's word for the network of the host.
    """
    notes: list[str] = []

    def given_up(concession: Concession, *, wanted: bool) -> bool:
        if wanted and concession in conceded:
            notes.append(NOTES[concession])
            return True
        return False

    memory_mib = max(spec.memory_mib, _LEAST_MEMORY_MIB)
    if memory_mib != spec.memory_mib:
        notes.append(
            f"memory raised from {spec.memory_mib} to {memory_mib} MiB: the engine's least"
        )
    host_config: dict[str, Any] = {
        "Memory": memory_mib * _MIB,
        # AWS: a share, not a cap; a job may use idle processors.
        "CpuShares": max(_LEAST_CPU_SHARES, spec.vcpu_milli * 1024 // 1000),
        "NetworkMode": host_network if spec.network_mode == "host" else spec.network_mode,
        "ReadonlyRootfs": spec.read_only_root,
        "RestartPolicy": {"Name": ""},
        "LogConfig": _log_config(host.kind),
    }
    if not given_up("init", wanted=spec.init):
        host_config["Init"] = spec.init
    if spec.max_swap_mib is not None:
        host_config["MemorySwap"] = (memory_mib + spec.max_swap_mib) * _MIB
        if spec.swappiness is not None and not given_up("swappiness", wanted=True):
            host_config["MemorySwappiness"] = spec.swappiness
    if spec.shared_memory_mib is not None:
        host_config["ShmSize"] = spec.shared_memory_mib * _MIB
    ulimits = () if given_up("ulimits", wanted=bool(spec.ulimits)) else spec.ulimits
    if policy.ulimits == "degrade":
        clamped = clamp(ulimits, host.limits)
        ulimits = clamped.ulimits
        notes.extend(clamped.notes)
    if host.kind == "podman":
        ulimits += _podman_defaults(ulimits, host.limits)
    if ulimits:
        host_config["Ulimits"] = [
            {"Name": ulimit.name, "Soft": ulimit.soft, "Hard": ulimit.hard} for ulimit in ulimits
        ]
    if spec.privileged:
        host_config |= _privileges(degraded=given_up("privileged", wanted=True))
    if spec.devices and not given_up("devices", wanted=True):
        host_config["Devices"] = [
            {
                "PathOnHost": device.host_path,
                "PathInContainer": device.container_path,
                "CgroupPermissions": device.permissions,
            }
            for device in spec.devices
        ]
    if spec.gpu_ids:
        host_config["DeviceRequests"] = [
            {"DeviceIDs": list(spec.gpu_ids), "Capabilities": [["gpu"]]}
        ]
    if spec.tmpfs:
        host_config["Tmpfs"] = {
            entry.path: ",".join((f"size={entry.size_mib}m", *entry.options))
            for entry in spec.tmpfs
        }
    binds = [_bind(mount) for mount in spec.mounts if _fits_bind(mount)]
    if binds:
        host_config["Binds"] = binds
    mounts = [_mount(mount) for mount in spec.mounts if not _fits_bind(mount)]
    if mounts:
        host_config["Mounts"] = mounts
    body: dict[str, Any] = {
        "Image": spec.image,
        "Env": [f"{name}={value}" for name, value in spec.environment.items()],
        "Tty": False,
        "Labels": {
            LABEL_YARD: yard_id,
            LABEL_ATTEMPT: spec.attempt_id,
            LABEL_JOB: spec.job_id,
            LABEL_NOTES: msgspec.json.encode(notes).decode(),
        },
        "HostConfig": host_config,
    }
    if spec.command:
        body["Cmd"] = list(spec.command)
    if spec.user:
        body["User"] = spec.user
    return Draft(body=body, notes=tuple(notes))


def _privileges(*, degraded: bool) -> dict[str, Any]:
    if not degraded:
        return {"Privileged": True}
    return {
        "CapAdd": ["ALL"],
        "CapDrop": ["SYS_RESOURCE"],
        "SecurityOpt": ["seccomp=unconfined"],
    }


def _podman_defaults(asked: tuple[Ulimit, ...], limits: HardLimits) -> tuple[Ulimit, ...]:
    # Podman asks for 1048576 of these two by itself, which a host without CAP_SYS_RESOURCE refuses.
    # Any ulimit in the request also switches off the defaults of containers.conf.
    names = {ulimit.name for ulimit in asked}
    return tuple(
        Ulimit(name=name, soft=limits.highest[name], hard=limits.highest[name])
        for name in ("nofile", "nproc")
        if name not in names and limits.highest.get(name, UNLIMITED) != UNLIMITED
    )


def _log_config(kind: str) -> dict[str, Any]:
    # Said on every container: a daemon whose default driver is `none`, `journald` or a remote one
    # could not give the output back.
    if kind == "podman":
        return {"Type": "k8s-file", "Config": {}}
    # The daemon's own json-file options would rotate output away before it is read; there is no
    # word for "no limit", so this is a limit no disk reaches.
    return {"Type": "json-file", "Config": {"max-size": "1000p"}}


def _fits_bind(mount: Mount) -> bool:
    # The short form is the one that creates a missing source, but colons divide its fields.
    return mount.source is not None and ":" not in mount.source and ":" not in mount.target


def _bind(mount: Mount) -> str:
    mode: Literal["ro", "rw"] = "ro" if mount.read_only else "rw"
    return f"{mount.source}:{mount.target}:{mode}"


def _mount(mount: Mount) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "Type": "volume" if mount.source is None else "bind",
        "Target": mount.target,
        "ReadOnly": mount.read_only,
    }
    if mount.source is not None:
        entry["Source"] = mount.source
    return entry

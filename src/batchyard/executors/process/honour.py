"""What of a spec a bare machine can honour: the shim's request, and notes on what it cannot.

Every note begins with `degraded:` and says in plain words what the job does not get.
"""

import grp
import os
import pwd
import resource
from collections.abc import Mapping

import msgspec

from batchyard.executors.policy import Policy, Verdict
from batchyard.executors.port import AttemptSpec, Ulimit
from batchyard.executors.process.cgroups import Layout, Limits
from batchyard.executors.process.reports import Request

_MIB = 1 << 20
_INHERITED = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "USER", "LOGNAME", "SSL_CERT_FILE")

IMAGE_NOTE = "degraded: image {image} is not used: the command runs directly on this machine"


class Refused(Exception):
    """The spec asks for what this yard's policy denies, or has nothing to run."""


def host_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The part of the server's environment that every job gets, as an image would give it."""
    return {name: environ[name] for name in _INHERITED if name in environ}


class Honoured(msgspec.Struct, frozen=True, kw_only=True):
    request: Request
    notes: tuple[str, ...]


def honour(
    spec: AttemptSpec,
    *,
    folder: str,
    policy: Policy,
    layout: Layout | None,
    base: Mapping[str, str],
) -> Honoured:
    """Turn a spec into a request.

    Raises:
        Refused: the text is the reason, for `StartFailed`.
    """
    if not spec.command:
        raise Refused("the job has no command, and without a container its image gives none")
    notes = [IMAGE_NOTE.format(image=spec.image)]
    rlimits = _rlimits(spec.ulimits, policy.ulimits, notes)
    if layout is None:
        notes.append(
            "degraded: no control groups here: memory is limited for each process of the job alone"
            " (an allocation fails), and vCPUs are not enforced"
        )
    elif layout.cpu is None:
        notes.append("degraded: vCPUs are not enforced: no control group for the CPU here")
    _lost(spec, policy=policy, notes=notes)
    uid, gid, groups = _user(spec.user, policy.user, notes)
    work = f"{folder}/work"
    environment = {**base, "HOME": work, "TMPDIR": work, **_gpus(spec), **spec.environment}
    swap_mib = spec.memory_mib if spec.max_swap_mib is None else spec.max_swap_mib
    return Honoured(
        request=Request(
            attempt_id=spec.attempt_id,
            folder=folder,
            argv=spec.command,
            environment=environment,
            limits=Limits(
                memory_bytes=spec.memory_mib * _MIB,
                swap_bytes=swap_mib * _MIB,
                cpu_shares=max(2, spec.vcpu_milli * 1024 // 1000),
                swappiness=spec.swappiness,
            ),
            rlimits=tuple(rlimits),
            uid=uid,
            gid=gid,
            groups=groups,
        ),
        notes=tuple(notes),
    )


def _lost(spec: AttemptSpec, *, policy: Policy, notes: list[str]) -> None:
    """Note what needs namespaces or mounts, which a process does not get."""
    if spec.privileged:
        _give_up("privileged: the job has the rights of the yard's user", policy.privileged, notes)
    for mount in spec.mounts:
        # A mount onto its own path is what the job sees anyway.
        if mount.source != mount.target or mount.read_only:
            source = mount.source or "an anonymous volume"
            read_only = " read-only" if mount.read_only else ""
            _give_up(f"{source} is not mounted{read_only} at {mount.target}", policy.volumes, notes)
    for device in spec.devices:
        if device.host_path != device.container_path:
            _give_up(
                f"device {device.host_path} does not appear as {device.container_path}",
                policy.devices,
                notes,
            )
    for tmpfs in spec.tmpfs:
        _give_up(f"no tmpfs at {tmpfs.path}", policy.volumes, notes)
    if spec.read_only_root:
        notes.append(
            "degraded: readonlyRootFilesystem: the job may write where the yard's user may"
        )
    if spec.shared_memory_mib is not None:
        notes.append("degraded: sharedMemorySize: the job sees the machine's own /dev/shm")
    if spec.network_mode != "host":
        notes.append(f"degraded: network mode {spec.network_mode}: the job uses the host's network")


def _give_up(what: str, verdict: Verdict, notes: list[str]) -> None:
    if verdict == "degrade":
        notes.append(f"degraded: {what}")
    elif verdict == "deny":
        raise Refused(f"{what}: the yard's policy denies it")
    else:
        raise Refused(f"{what}: needs a container engine; the process executor cannot honour it")


def _gpus(spec: AttemptSpec) -> dict[str, str]:
    if not spec.gpu_ids:
        return {}
    chosen = ",".join(spec.gpu_ids)
    return {"CUDA_VISIBLE_DEVICES": chosen, "NVIDIA_VISIBLE_DEVICES": chosen}


def _rlimits(
    ulimits: tuple[Ulimit, ...], verdict: Verdict, notes: list[str]
) -> list[tuple[int, int, int]]:
    if ulimits and verdict == "deny":
        raise Refused("ulimits: the yard's policy denies them")
    found = []
    for ulimit in ulimits:
        kind = getattr(resource, f"RLIMIT_{ulimit.name.upper()}", None)
        if kind is None:
            _give_up(f"ulimit {ulimit.name} is unknown on this machine", verdict, notes)
            continue
        highest = resource.getrlimit(kind)[1]
        soft, hard = _clamp(ulimit.soft, highest), _clamp(ulimit.hard, highest)
        if verdict == "allow":
            soft, hard = ulimit.soft, ulimit.hard
        elif (soft, hard) != (ulimit.soft, ulimit.hard):
            notes.append(
                f"degraded: ulimit {ulimit.name} {ulimit.soft}:{ulimit.hard} is lowered to"
                f" {soft}:{hard}, the most this machine grants"
            )
        found.append((kind, soft, hard))
    return found


def _clamp(asked: int, highest: int) -> int:
    if highest == resource.RLIM_INFINITY:
        return asked
    return highest if asked < 0 else min(asked, highest)


def _user(
    user: str, verdict: Verdict, notes: list[str]
) -> tuple[int | None, int | None, tuple[int, ...]]:
    """Ids for `user` or `user:group`, by name or number; None for the yard's own user."""
    if not user:
        return None, None, ()
    if verdict == "deny":
        raise Refused(f"user {user}: the yard's policy denies it")
    name, _, group = user.partition(":")
    try:
        entry = pwd.getpwuid(int(name)) if name.isdecimal() else pwd.getpwnam(name)
        uid, gid, login = entry.pw_uid, entry.pw_gid, entry.pw_name
    except KeyError:
        if not name.isdecimal():
            _give_up(f"user {user} does not exist on this machine", verdict, notes)
            return None, None, ()
        uid, gid, login = int(name), 0, ""
    if group:
        try:
            gid = int(group) if group.isdecimal() else grp.getgrnam(group).gr_gid
        except KeyError:
            _give_up(f"group {group} does not exist on this machine", verdict, notes)
            return None, None, ()
    if uid == os.geteuid() and gid == os.getegid():
        return None, None, ()
    if os.geteuid() != 0:
        _give_up(f"user {user}: only a yard run by root can change the user", verdict, notes)
        return None, None, ()
    groups = tuple(os.getgrouplist(login, gid)) if login else (gid,)
    return uid, gid, groups

"""What is given up, and in which words, when the host refuses what a job asks for. Pure.

A refusal shows only when a container starts, so the driver tries, asks here what to concede, and
tries again with less. Only the error's text tells the causes apart.
"""

from typing import Literal

import msgspec

from batchyard.executors.docker.sockets import UNLIMITED, HardLimits
from batchyard.executors.policy import Policy
from batchyard.executors.port import AttemptSpec, Ulimit

Concession = Literal["privileged", "ulimits", "devices", "init", "swappiness"]

NOTES: dict[Concession, str] = {
    "privileged": (
        "privileged degraded: all capabilities but SYS_RESOURCE, no seccomp filter, "
        "no host devices; the host refused the rest"
    ),
    "ulimits": "ulimits left at the engine's defaults: the host refused those asked for",
    "devices": "devices withheld: the host refused them",
    "init": "started without an init process: the engine has none",
    "swappiness": "swappiness ignored: the host does not support it",
}


class Clamped(msgspec.Struct, frozen=True, kw_only=True):
    ulimits: tuple[Ulimit, ...]
    notes: tuple[str, ...]


def forbidden(spec: AttemptSpec, policy: Policy) -> str | None:
    """Why the yard's policy keeps this attempt from starting; None when it may."""
    asked: dict[str, bool] = {
        "privileged": spec.privileged,
        "ulimits": bool(spec.ulimits),
        "devices": bool(spec.devices),
        "volumes": any(mount.source is not None for mount in spec.mounts),
        "user": bool(spec.user),
    }
    for feature, wanted in asked.items():
        if wanted and getattr(policy, feature) == "deny":
            return f"the policy of this yard denies {feature}"
    for mount in spec.mounts:
        # The engine would take a relative path for the name of a volume to keep for ever.
        if mount.source is not None and not mount.source.startswith("/"):
            return f"the volume's sourcePath {mount.source!r} is not an absolute path"
    return None


def concede(
    refusal: str, spec: AttemptSpec, *, policy: Policy, conceded: frozenset[Concession]
) -> Concession | None:
    """What to give up so that a start refused with this text may succeed; None: nothing helps."""
    text = refusal.lower()

    def may(concession: Concession) -> bool:
        return concession not in conceded

    if spec.ulimits and policy.ulimits == "degrade" and may("ulimits") and "rlimit" in text:
        return "ulimits"
    if spec.swappiness is not None and may("swappiness") and "swappiness" in text:
        return "swappiness"
    if spec.init and may("init") and ("docker-init" in text or "catatonit" in text):
        return "init"
    if _is_the_jobs_own_fault(text):
        return None
    # Docker says "device", Podman only names the path.
    about_devices = "device" in text or any(one.host_path in refusal for one in spec.devices)
    if spec.devices and policy.devices == "degrade" and may("devices") and about_devices:
        return "devices"
    # Refused capabilities show in many texts, down to a bare broken pipe from runc's child.
    if spec.privileged and policy.privileged == "degrade" and may("privileged"):
        return "privileged"
    return None


def clamp(ulimits: tuple[Ulimit, ...], limits: HardLimits) -> Clamped:
    """Lower what is above the host's hard limits, and say so."""
    clamped: list[Ulimit] = []
    notes: list[str] = []
    for asked in ulimits:
        highest = limits.highest.get(asked.name, UNLIMITED)
        given = Ulimit(
            name=asked.name, soft=_lower(asked.soft, highest), hard=_lower(asked.hard, highest)
        )
        clamped.append(given)
        if given != asked:
            notes.append(
                f"ulimit {asked.name} lowered from {_say(asked)} to {_say(given)}: "
                "the host's hard limit"
            )
    return Clamped(ulimits=tuple(clamped), notes=tuple(notes))


def _lower(value: int, highest: int) -> int:
    if highest == UNLIMITED:
        return value
    return highest if value < 0 else min(value, highest)


def _say(ulimit: Ulimit) -> str:
    return ":".join(
        "unlimited" if value < 0 else str(value)
        for value in dict.fromkeys((ulimit.soft, ulimit.hard))
    )


def _is_the_jobs_own_fault(text: str) -> bool:
    return "executable file not found" in text or ("exec:" in text and "no such file" in text)

"""Where a container engine listens on this machine, and what its process may grant to a container.

No HTTP here; `engine` speaks on the socket found.
"""

import os
import socket
import struct
from collections.abc import Mapping
from pathlib import Path

import msgspec

from batchyard.kernel.faults import EngineUnavailable

UNLIMITED = -1
HOW_TO_START = (
    "Start one: `systemctl start docker`, or `dockerd` as root, or without root "
    "`podman system service --time=0 unix://$XDG_RUNTIME_DIR/podman/podman.sock`. "
    "Point DOCKER_HOST=unix:///path/to.sock at an engine that listens elsewhere."
)

_CAP_SYS_RESOURCE = 24
_LIMIT_NAMES = {
    "Max cpu time": "cpu",
    "Max file size": "fsize",
    "Max data size": "data",
    "Max stack size": "stack",
    "Max core file size": "core",
    "Max resident set": "rss",
    "Max processes": "nproc",
    "Max open files": "nofile",
    "Max locked memory": "memlock",
    "Max file locks": "locks",
    "Max pending signals": "sigpending",
    "Max msgqueue size": "msgqueue",
    "Max nice priority": "nice",
    "Max realtime priority": "rtprio",
    "Max realtime timeout": "rttime",
}


class HardLimits(msgspec.Struct, frozen=True, kw_only=True):
    """The highest rlimits the engine can give a container, by ulimit name. Absent: not known."""

    highest: dict[str, int] = {}


def candidates(environment: Mapping[str, str], explicit: str | None = None) -> tuple[str, ...]:
    """Socket paths to try, best first. A setting or DOCKER_HOST is the only candidate.

    Raises:
        EngineUnavailable: the address given is not a Unix socket.
    """
    asked = explicit or environment.get("DOCKER_HOST", "")
    if asked:
        path = asked.removeprefix("unix://")
        if not path.startswith("/"):
            raise EngineUnavailable(
                f"The engine address {asked!r} is not a Unix socket.",
                hint="Give an absolute path such as unix:///var/run/docker.sock.",
            )
        return (path,)
    runtime = environment.get("XDG_RUNTIME_DIR", "")
    mine = [f"{runtime}/podman/podman.sock"] if runtime else []
    rootless = [f"{runtime}/docker.sock"] if runtime else []
    home = environment.get("HOME", "")
    if home:
        rootless.append(f"{home}/.docker/run/docker.sock")
    return ("/var/run/docker.sock", *mine, "/run/podman/podman.sock", *rootless)


def peer_pid(path: str) -> int:
    """Process that listens on the socket; 0 when it is not visible from here."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(5)
        probe.connect(path)
        raw = probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid: int = struct.unpack("3i", raw)[0]
    return pid


def hard_limits(pid: int, proc: Path = Path("/proc")) -> HardLimits:
    """Read what the engine's process may grant. Empty when it cannot be read.

    A process with CAP_SYS_RESOURCE in the first user namespace may raise any limit (open files only
    up to fs.nr_open); any other can give no more than its own hard limit.
    """
    try:
        status = (proc / str(pid) / "status").read_text()
        limits = (proc / str(pid) / "limits").read_text()
        uid_map = (proc / str(pid) / "uid_map").read_text().split()
        nr_open = int((proc / "sys/fs/nr_open").read_text())
    except (OSError, ValueError):
        return HardLimits()
    if uid_map == ["0", "0", "4294967295"] and _has_capability(status, _CAP_SYS_RESOURCE):
        return HardLimits(highest={"nofile": nr_open})
    return HardLimits(highest=parse_limits(limits))


def parse_limits(text: str) -> dict[str, int]:
    """Hard limits of /proc/PID/limits by ulimit name; UNLIMITED for `unlimited`."""
    found: dict[str, int] = {}
    for line in text.splitlines()[1:]:
        name = _LIMIT_NAMES.get(line[:25].strip())
        values = line[25:].split()
        if name is not None and len(values) >= 2:
            found[name] = UNLIMITED if values[1] == "unlimited" else int(values[1])
    return found


def first_socket(paths: tuple[str, ...]) -> str:
    """The first path that accepts a connection.

    Raises:
        EngineUnavailable: none does; the message says what each one answered.
    """
    tried = []
    for path in paths:
        try:
            peer_pid(path)
        except OSError as error:
            tried.append(f"{path} ({os.strerror(error.errno) if error.errno else error})")
        else:
            return path
    raise EngineUnavailable(
        f"No container engine answers. Tried {', '.join(tried)}.", hint=HOW_TO_START
    )


def _has_capability(status: str, capability: int) -> bool:
    for line in status.splitlines():
        if line.startswith("CapBnd:"):
            return bool(int(line.split()[1], 16) >> capability & 1)
    return False

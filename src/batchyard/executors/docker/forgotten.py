"""Whether an engine that was killed may have started a container and forgotten it.

Docker starts a container's process first and writes that down afterwards. Killed in between, it
comes back with a container that is `created` while its process lives on, or has lived. What
containerd tells it then may come late and out of order, so that it calls a container `running`
whose end it was told before the start. Podman has no daemon that could forget. Reads /proc and ends
processes; no HTTP here. Everything blocks.
"""

import os
import signal
import time
from pathlib import Path

from batchyard.executors.docker.inspected import Inspected
from batchyard.executors.docker.sockets import peer_pid
from batchyard.kernel.faults import EngineUnavailable

END_DEADLINE_S = 10.0

_DAEMON = "dockerd"
_SHIM = "containerd-shim"  # the kernel cuts a process's name after 15 bytes
_LOOK_AGAIN_S = 0.02
_TICK_MARGIN_MS = 50
"""The kernel rounds a start time down to a tick; no engine answers that soon after its start."""


def forgotten(container_id: str) -> str:
    """What is said of an attempt whose container the engine lost track of."""
    return (
        "the container engine was restarted while it started container "
        f"{container_id[:12]}, and forgot whether it ran; what was left of it was ended"
    )


def end_missed(container_id: str) -> str:
    """What is said of an attempt that has ended while the engine calls it running for ever."""
    return (
        "the container engine was restarted while it started container "
        f"{container_id[:12]}, and missed its end"
    )


def created_by_an_earlier_life(found: Inspected, socket_path: str) -> bool:
    """Whether the engine was started again after it created the container.

    False also where the engine's process cannot be seen from here.

    Raises:
        EngineUnavailable: nobody listens on the socket any more.
    """
    began_ms = began_on(socket_path)
    if began_ms is None or not found.created_ms:
        return False
    return found.created_ms < began_ms + _TICK_MARGIN_MS


def began_on(socket_path: str) -> int | None:
    """When the engine that listens there began, in epoch milliseconds; None: it is out of sight.

    Raises:
        EngineUnavailable: nobody listens any more.
    """
    try:
        return engine_began_ms(peer_pid(socket_path))
    except OSError as error:
        raise EngineUnavailable(
            f"The container engine at {socket_path} went away: {error}.",
            hint="Start it again; Batchyard goes on by itself.",
        ) from error


def engine_began_ms(listener: int, proc: Path = Path("/proc")) -> int | None:
    """When the engine's process began, in epoch milliseconds; None where it cannot be seen.

    Args:
        listener: The process that listens on the engine's socket.
        proc: Where the process file system is.
    """
    pids: list[int] = []
    if _name(proc, listener) == _DAEMON:
        pids = [listener]
    elif listener == 1:
        # systemd listens and hands the socket over. Of several daemons the newest: an attempt
        # called lost by mistake is retried, one that is started twice is not undone.
        pids = [pid for pid in _pids(proc) if _name(proc, pid) == _DAEMON]
    begun = [at_ms for pid in pids if (at_ms := _began_ms(proc, pid)) is not None]
    return max(begun, default=None)


def is_gone(found: Inspected, socket_path: str, proc: Path = Path("/proc")) -> bool:
    """Whether nothing lives of a container that began before the engine did.

    False also where the engine's process or its containers' cannot be seen from here.

    Args:
        found: The container, `running` as the engine says.
        socket_path: The engine's.
        proc: Where the process file system is.
    """
    try:
        engine_ms = engine_began_ms(peer_pid(socket_path), proc)
    except OSError:
        return False
    if engine_ms is None or not found.pid:
        return False
    if any(_belongs(proc, pid, found.container_id) for pid in _pids(proc)):
        return False
    # Not every rootless engine has control groups; and a pid may have come to mean another process.
    first_ms = _began_ms(proc, found.pid)
    return first_ms is None or first_ms > engine_ms or _is_dead(proc, found.pid)


def end_processes(
    container_id: str, *, proc: Path = Path("/proc"), deadline_s: float = END_DEADLINE_S
) -> None:
    """Kill all that lives of a container, and the shim that might still bring it up.

    Raises:
        EngineUnavailable: something of it lives on. Nothing may be started in its place.
    """
    end = time.monotonic() + deadline_s
    while True:
        # ORDER: shims first, so that none starts a process after the look for processes.
        for pid in _pids(proc):
            if _is_shim(proc, pid, container_id):
                _kill(proc, pid, container_id)
        living = [pid for pid in _pids(proc) if _belongs(proc, pid, container_id)]
        if not living:
            return
        allowed = [_kill(proc, pid, container_id) for pid in living]
        if not all(allowed) or time.monotonic() > end:
            names = " ".join(map(str, living))
            raise EngineUnavailable(
                f"The engine was killed while it started container {container_id[:12]} and does "
                f"not know that it runs; its processes ({names}) could not be ended.",
                hint=f"As root: kill -9 {names}. Until they end, the attempt is not tried again.",
            )
        time.sleep(_LOOK_AGAIN_S)


def _kill(proc: Path, pid: int, container_id: str) -> bool:
    """False: this user may not."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        # ORDER: the fd is opened first; from then on the pid cannot come to mean another process.
        if _belongs(proc, pid, container_id) or _is_shim(proc, pid, container_id):
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    except ProcessLookupError:
        pass
    except PermissionError:
        return False
    finally:
        os.close(pidfd)
    return True


def _belongs(proc: Path, pid: int, container_id: str) -> bool:
    """Whether a living process is in one of the container's control groups."""
    if container_id.encode() not in _read(proc, pid, "cgroup"):
        return False
    return not _is_dead(proc, pid)


def _is_dead(proc: Path, pid: int) -> bool:
    fields = _stat_fields(proc, pid)
    return not fields or fields[0] in ("Z", "X")


def _is_shim(proc: Path, pid: int, container_id: str) -> bool:
    if not _name(proc, pid).startswith(_SHIM):
        return False
    return container_id.encode() in _read(proc, pid, "cmdline").split(b"\0")


def _began_ms(proc: Path, pid: int) -> int | None:
    fields = _stat_fields(proc, pid)
    if not fields:
        return None
    ticks = int(fields[19])
    age_s = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    # ORDER: not from `btime`, which is a whole second off at worst: an engine is back in less.
    return int((time.time() - age_s) * 1000)


def _stat_fields(proc: Path, pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the third (state) on; empty without such a process."""
    raw = _read(proc, pid, "stat")
    # The second field, the name, may hold blanks and parentheses: cut after its last one.
    return raw[raw.rfind(b")") + 2 :].decode("ascii").split() if raw else []


def _name(proc: Path, pid: int) -> str:
    return _read(proc, pid, "comm").decode(errors="replace").strip()


def _pids(proc: Path) -> list[int]:
    return [int(name) for name in os.listdir(proc) if name.isdecimal()]


def _read(proc: Path, pid: int, file: str) -> bytes:
    try:
        return (proc / str(pid) / file).read_bytes()
    except OSError:
        return b""  # it ended, or is hidden from us

"""Who runs an attempt: the text of `claim`, and whether that process still lives.

A pid alone is reused; a pid with its start time and the boot it belongs to is not. Imported by the
spawner: standard library only.
"""

import os
from typing import NamedTuple

NOBODY = "nobody"
"""The claim of an attempt that was stopped or refused before any shim took it."""


class Identity(NamedTuple):
    pid: int
    start_time: int
    """Field 22 of /proc/PID/stat: clock ticks since boot."""
    boot_id: str

    def text(self) -> str:
        return f"{self.pid}.{self.start_time}.{self.boot_id}"


def parse(text: str) -> Identity | None:
    """The identity a claim names; None for `nobody` or anything else that is no process."""
    pid, _, rest = text.partition(".")
    start_time, _, boot = rest.partition(".")
    if not (pid.isdecimal() and start_time.isdecimal() and boot):
        return None
    return Identity(int(pid), int(start_time), boot)


def boot_id() -> str:
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()


def stat_fields(pid: int | str) -> list[str] | None:
    """The fields of /proc/PID/stat from the third (state) on; None without such a process."""
    try:
        fd = os.open(f"/proc/{pid}/stat", os.O_RDONLY)
    except (FileNotFoundError, ProcessLookupError):
        return None
    try:
        raw = os.read(fd, 4096)
    except ProcessLookupError:
        return None
    finally:
        os.close(fd)
    # The second field, the name, may hold blanks and parentheses: cut after its last one.
    return raw[raw.rindex(b")") + 2 :].decode("ascii").split()


def identify(pid: int, boot: str) -> Identity | None:
    fields = stat_fields(pid)
    return None if fields is None else Identity(pid, int(fields[19]), boot)


def open_if_alive(identity: Identity, boot: str) -> int | None:
    """A pidfd of the process, or None when it has ended. The caller closes it."""
    if identity.boot_id != boot:
        return None
    try:
        pidfd = os.pidfd_open(identity.pid)
    except (ProcessLookupError, OSError):
        return None
    # ORDER: the fd is opened first; from then on the pid cannot come to mean another process.
    fields = stat_fields(identity.pid)
    if fields is None or fields[0] in {"Z", "X"} or int(fields[19]) != identity.start_time:
        os.close(pidfd)
        return None
    return pidfd


def session_members(session: int) -> list[int]:
    """Every living process of a session. Costs a walk over /proc: for clean-up only."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdecimal():
            fields = stat_fields(name)
            if fields is not None and fields[0] not in {"Z", "X"} and int(fields[3]) == session:
                found.append(int(name))
    return found

"""Memory and CPU limits by control group, versions 1 and 2, where this user may make groups.

`find` looks once, at the start of the spawner, and tries what it found with a real process. The
others act on one attempt. Imported by the spawner: standard library only.
"""

import contextlib
import errno
import os
import signal
import time
from typing import Literal, NamedTuple


class Layout(NamedTuple):
    """Where groups are made. In version 2 both folders are the same."""

    version: Literal[1, 2]
    memory: str
    cpu: str | None

    def folders(self, name: str) -> tuple[str, ...]:
        memory = f"{self.memory}/{name}"
        if self.version == 2 or self.cpu is None:
            return (memory,)
        return (memory, f"{self.cpu}/{name}")


class Limits(NamedTuple):
    memory_bytes: int
    swap_bytes: int
    """Swap beyond the memory, as `maxSwap` means it."""
    cpu_shares: int
    swappiness: int | None


def find(yard: str, *, self_cgroup: str = "", mountinfo: str = "") -> Layout | None:
    """A place for the groups of this yard, proven by moving a process into it; None without one."""
    groups = self_cgroup or _read("/proc/self/cgroup")
    mounts = mountinfo or _read("/proc/self/mountinfo")
    for layout in (_version_1(yard, groups, mounts), _version_2(yard, groups, mounts)):
        if layout is not None and _works(layout):
            return layout
    return None


def create(layout: Layout, name: str, limits: Limits) -> None:
    for folder in layout.folders(name):
        try:
            os.mkdir(folder)
        except FileExistsError:
            pass
        except FileNotFoundError:  # somebody tidied the yard's empty group away
            os.makedirs(folder)
    memory = f"{layout.memory}/{name}"
    total = limits.memory_bytes + limits.swap_bytes
    if layout.version == 1:
        _write(f"{memory}/memory.limit_in_bytes", str(limits.memory_bytes))
        with contextlib.suppress(OSError):  # the kernel may count no swap
            _write(f"{memory}/memory.memsw.limit_in_bytes", str(total))
        if limits.swappiness is not None:
            with contextlib.suppress(OSError):
                _write(f"{memory}/memory.swappiness", str(limits.swappiness))
        if layout.cpu is not None:
            _write(f"{layout.cpu}/{name}/cpu.shares", str(limits.cpu_shares))
        return
    _write(f"{memory}/memory.max", str(limits.memory_bytes))
    with contextlib.suppress(OSError):
        _write(f"{memory}/memory.swap.max", str(limits.swap_bytes))
    if layout.cpu is not None:
        _write(f"{memory}/cpu.weight", str(weight(limits.cpu_shares)))


def weight(shares: int) -> int:
    """Version 2's weight (1 to 10000) for version 1's shares (2 to 262144), as runc maps them."""
    return 1 + ((min(max(shares, 2), 262_144) - 2) * 9999) // 262_142


def join(layout: Layout, name: str) -> None:
    """Move the calling process, which must have one thread only, into the groups."""
    # A thread that moves itself by `tasks` needs no lock that stops the whole machine.
    file = "tasks" if layout.version == 1 else "cgroup.procs"
    for folder in layout.folders(name):
        _write(f"{folder}/{file}", "0")


def leave(layout: Layout) -> None:
    """Version 1: move the calling process back to the yard's own groups, which have no limits."""
    if layout.version == 1:
        for folder in (layout.memory, layout.cpu):
            if folder is not None:
                os.makedirs(folder, exist_ok=True)  # somebody may have tidied it away
                _write(f"{folder}/tasks", "0")


def oom_kills(layout: Layout, name: str) -> int:
    """How many processes of the group the kernel killed for memory."""
    file = "memory.oom_control" if layout.version == 1 else "memory.events"
    try:
        text = _read(f"{layout.memory}/{name}/{file}")
    except OSError:
        return 0
    for line in text.splitlines():
        key, _, value = line.partition(" ")
        if key == "oom_kill":
            return int(value)
    return 0


def members(layout: Layout, name: str) -> list[int]:
    try:
        return [int(pid) for pid in _read(f"{layout.memory}/{name}/cgroup.procs").split()]
    except OSError:
        return []


def kill(layout: Layout, name: str) -> None:
    """SIGKILL everything in the group. Repeat until `members` is empty: they may fork meanwhile."""
    if layout.version == 2:
        try:
            _write(f"{layout.memory}/{name}/cgroup.kill", "1")
            return
        except OSError:
            pass  # older than Linux 5.14: one by one
    for pid in members(layout, name):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def delete(layout: Layout, name: str) -> None:
    """Remove the groups; what cannot go yet stays for a later call."""
    for folder in layout.folders(name):
        with contextlib.suppress(OSError):
            os.rmdir(folder)


def delete_yard(layout: Layout) -> None:
    """Remove the yard's own groups, unless attempts or shims still live in them."""
    for folder in {layout.memory, layout.cpu} - {None}:
        for _ in range(20):
            try:
                os.rmdir(str(folder))
            except FileNotFoundError:
                break
            except OSError as error:
                if error.errno != errno.EBUSY:
                    break
                time.sleep(0.01)  # idle shims are on their way out
            else:
                break


def _version_1(yard: str, groups: str, mounts: str) -> Layout | None:
    memory = _controller_folder("memory", groups, mounts, yard)
    if memory is None:
        return None
    return Layout(1, memory, _controller_folder("cpu", groups, mounts, yard))


def _controller_folder(controller: str, groups: str, mounts: str, yard: str) -> str | None:
    path = "/"
    for line in groups.splitlines():
        _, names, own = line.split(":", 2)
        if controller in names.split(","):
            path = own
    for fields, kind, options in _mounts(mounts):
        if kind == "cgroup" and controller in options.split(","):
            own_folder = fields[4] + "/" + os.path.relpath(path, fields[3])
            for parent in (os.path.normpath(own_folder), fields[4]):
                folder = f"{parent}/{yard}"
                if _make(folder):
                    return folder
    return None


def _version_2(yard: str, groups: str, mounts: str) -> Layout | None:
    path = next((line[3:] for line in groups.splitlines() if line.startswith("0::")), None)
    mount = next((fields for fields, kind, _ in _mounts(mounts) if kind == "cgroup2"), None)
    if path is None or mount is None:
        return None
    own = os.path.normpath(mount[4] + "/" + os.path.relpath(path, mount[3]))
    # A group that holds processes cannot give controllers to its children, so a login session or a
    # unit usually cannot be the parent, but the slice around it can, where it is delegated.
    for parent in (own, os.path.dirname(own), mount[4]):
        if not parent.startswith(mount[4]) or not _gives(parent, "memory"):
            continue
        folder = f"{parent}/{yard}"
        if _make(folder) and _gives(folder, "memory"):
            return Layout(2, folder, folder if _gives(folder, "cpu") else None)
    return None


def _gives(folder: str, controller: str) -> bool:
    """Whether children of the folder get the controller; asks for it when they do not yet."""
    file = f"{folder}/cgroup.subtree_control"
    try:
        if controller in _read(file).split():
            return True
        if controller not in _read(f"{folder}/cgroup.controllers").split():
            return False
        _write(file, f"+{controller}")
    except OSError:
        return False
    return True


def _works(layout: Layout) -> bool:
    """Try with a real process: a folder that can be made may still refuse members."""
    name = f"trial-{os.getpid()}"
    try:
        create(layout, name, Limits(256 << 20, 256 << 20, 1024, None))
        pid = os.fork()
        if pid == 0:
            try:
                join(layout, name)
            except OSError:
                os._exit(1)
            os._exit(0)
        return os.waitpid(pid, 0)[1] == 0
    except OSError:
        return False
    finally:
        for _ in range(20):
            delete(layout, name)
            if not os.path.isdir(layout.folders(name)[-1]):
                break
            time.sleep(0.005)  # a process that has just ended may still be counted


def _mounts(mountinfo: str) -> list[tuple[list[str], str, str]]:
    """The fields before the dash, the type of file system and its own options, for each mount."""
    found = []
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        kind, _, rest = after.partition(" ")
        found.append((before.split(), kind, rest.partition(" ")[2]))
    return found


def _make(folder: str) -> bool:
    try:
        os.mkdir(folder)
    except FileExistsError:
        return True
    except OSError:
        return False
    return True


def _read(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return file.read()


def _write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)

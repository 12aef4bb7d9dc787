"""The shim: sees one attempt at a time through, from its claim to its exit file.

It is the parent of the command and adopts the command's orphans, so it sees the true exit code and
can end the whole tree. Between attempts it waits on its channel for the next; at the channel's end
it leaves, but never before the attempt it watches is over. So attempts live on when the server or
the spawner dies. Standard library only.

It reports `started`, `ended`, `failed` or `taken` on a socket. The files are the truth: a report
that nobody hears is no loss.
"""

import contextlib
import ctypes
import errno
import gc
import json
import os
import signal
import time
from typing import Any

from batchyard.executors.process import cgroups, claim
from batchyard.executors.process.launch import CannotStart, launch

QUIET_START_S = 0.015
"""A command that ends within this time is reported only once, as ended.

# CHOSEN: a start is news only if it lasts. It saves the yard a transition for each very short job
# (ADR 16).
"""
LEFTOVERS_DEADLINE_S = 10.0
_COLLECT_EVERY = 256

_PR_SET_NAME, _PR_SET_CHILD_SUBREAPER = 15, 36
_WATCHED = (signal.SIGCHLD, signal.SIGTERM)


class Shim:
    def __init__(
        self, channel: int, *, reports: int, boot: str, layout: cgroups.Layout | None
    ) -> None:
        self._channel = channel
        self._reports = reports
        self._boot = boot
        self._layout = layout

    def serve(self) -> None:
        # ORDER: signals are held back before a claim names us, for a stop may follow it at once.
        signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
        # The session is the shim's and names the whole tree; each command gets a group of its own.
        os.setsid()
        prctl = ctypes.CDLL(None).prctl
        prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        prctl(_PR_SET_NAME, b"batchyard-shim", 0, 0, 0)
        if self._layout is not None:
            cgroups.leave(self._layout)
        own = claim.identify(os.getpid(), self._boot)
        assert own is not None, "a process finds itself in /proc"
        handle = own.text()
        buffer = bytearray()
        served = 0
        while True:
            request = _take(buffer)
            if request is None:
                chunk = os.read(self._channel, 1 << 18)
                if not chunk:
                    return
                buffer += chunk
                continue
            if not self._run(json.loads(request), handle):
                return
            served += 1
            if served % _COLLECT_EVERY == 0:
                gc.collect()

    def _run(self, order: dict[str, Any], handle: str) -> bool:
        """See one attempt through; False when this shim must not take another."""
        clean = True
        try:
            os.chdir(order["folder"])
            claim_here(order["folder"], handle)
        except (FileExistsError, FileNotFoundError):
            say(self._reports, {"event": "taken", "attempt_id": order["attempt_id"]})
        else:
            attempt = _Attempt(order, reports=self._reports, layout=self._layout, handle=handle)
            clean = attempt.live()
        os.chdir("/")
        return clean


class _Attempt:
    def __init__(
        self, order: dict[str, Any], *, reports: int, layout: cgroups.Layout | None, handle: str
    ) -> None:
        self._order = order
        self._id: str = order["attempt_id"]
        self._reports = reports
        self._layout = layout
        self._handle = handle
        self._started_at_ms = _now_ms()

    def live(self) -> bool:
        """Run the command to its end; False when something of it would not die."""
        try:
            main = launch(self._order, self._layout)
        except CannotStart as error:
            if self._layout is not None:
                cgroups.delete(self._layout, self._id)
            reason = f"CannotStartContainerError: {error}"
            self._finish({"event": "failed", "reason": reason, "at_ms": _now_ms()})
            return True
        exit_code = self._watch(main)
        ended_at_ms = _now_ms()
        notes: list[str] = []
        undying = _end_leftovers()
        if undying:
            notes.append(f"processes {undying} would not die and were left behind")
        oom = False
        if self._layout is not None:
            kills = cgroups.oom_kills(self._layout, self._id)
            cgroups.delete(self._layout, self._id)
            # AWS: out of memory is a reason only of a failure; a killed child may be survived.
            oom = kills > 0 and exit_code != 0
            if kills and not oom:
                notes.append(f"{kills} process(es) of the job were killed for memory; it went on")
        self._finish(
            {
                "event": "ended",
                "exit_code": exit_code,
                "oom": oom,
                "started_at_ms": self._started_at_ms,
                "at_ms": ended_at_ms,
                "notes": notes,
            }
        )
        return not undying

    def _watch(self, main: int) -> int:
        """Wait for the main process; end it when asked. Returns its exit code."""
        told = False
        kill_at: float | None = None
        while True:
            exit_code = _reap(main)
            if exit_code is not None:
                return exit_code
            now = time.monotonic()
            if kill_at is not None and now >= kill_at:
                _kill(main, signal.SIGKILL)
                kill_at = now + 1.0
            wait_s = 3600.0 if told else QUIET_START_S
            if kill_at is not None:
                wait_s = min(wait_s, kill_at - now)
            received = signal.sigtimedwait(_WATCHED, wait_s)
            if received is None:
                if not told:
                    told = True
                    self._tell_started()
            elif received.si_signo == signal.SIGTERM:
                grace_ms = _grace_ms()
                if grace_ms is None:
                    continue  # meant for the attempt before this one, which had just ended
                until = time.monotonic() + grace_ms / 1000
                kill_at = until if kill_at is None else min(kill_at, until)
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(main, signal.SIGTERM)

    def _tell_started(self) -> None:
        report = {"event": "started", "at_ms": self._started_at_ms, "handle": self._handle}
        say(self._reports, report | {"attempt_id": self._id})

    def _finish(self, report: dict[str, Any]) -> None:
        text = json.dumps(report | {"attempt_id": self._id})
        while True:
            try:
                write_exit(text)
                break
            except FileNotFoundError:
                break  # removed meanwhile: nobody asks any more
            except OSError as error:
                if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
                    raise
                time.sleep(1.0)  # a full disk: the exit code is worth waiting for
        _send(self._reports, text)


def claim_here(folder: str, handle: str) -> None:
    """Take the attempt whose folder is the working directory.

    Raises:
        FileExistsError: another has it.
        FileNotFoundError: it was removed.
    """
    # ORDER: after this line nobody else may run the attempt, and before it nobody did.
    os.symlink(handle, "claim")
    # A shim of a dead server may come here late, when another has long run the attempt and its
    # folder is being removed: moved away first, then emptied, so that a claim finds room again.
    if not os.path.samestat(os.stat("."), os.stat(folder)):
        raise FileNotFoundError(folder)


def write_exit(text: str, folder: str = ".") -> None:
    # ORDER: complete first, then visible. A reader never sees half a file.
    fd = os.open(f"{folder}/exit.tmp", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)
    os.rename(f"{folder}/exit.tmp", f"{folder}/exit")


def say(reports: int, report: dict[str, Any]) -> None:
    _send(reports, json.dumps(report))


def _send(reports: int, text: str) -> None:
    with contextlib.suppress(OSError):  # the server is gone; its successor reads the files
        os.write(reports, text.encode())


def _take(buffer: bytearray) -> bytes | None:
    """Cut one complete request off the buffer: four bytes of length, then JSON."""
    if len(buffer) < 4:
        return None
    size = int.from_bytes(buffer[:4], "big")
    if len(buffer) < 4 + size:
        return None
    request = bytes(buffer[4 : 4 + size])
    del buffer[: 4 + size]
    return request


def _reap(main: int) -> int | None:
    """Collect every ended child; the exit code of the main process if it is among them."""
    exit_code = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return exit_code
        if pid == 0:
            return exit_code
        if pid == main:
            code = os.waitstatus_to_exitcode(status)
            exit_code = code if code >= 0 else 128 - code


def _end_leftovers() -> list[int]:
    """Kill what the command left running, as the end of a container would.

    Returns the processes that would not die. They end the shim's service, so that nothing of them
    is ever taken for the next attempt's.
    """
    deadline = time.monotonic() + LEFTOVERS_DEADLINE_S
    while True:
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return []
        # Killing a child hands its own children to us: the next round finds them.
        children = _children()
        for pid in children:
            _kill(pid, signal.SIGKILL)
        if time.monotonic() > deadline:
            return children
        signal.sigtimedwait((signal.SIGCHLD,), 0.05)


def _children() -> list[int]:
    own = os.getpid()
    try:
        with open(f"/proc/{own}/task/{own}/children", encoding="ascii") as file:
            return [int(pid) for pid in file.read().split()]
    except FileNotFoundError:  # a kernel without CONFIG_PROC_CHILDREN
        found = []
        for name in os.listdir("/proc"):
            fields = claim.stat_fields(name) if name.isdecimal() else None
            if fields is not None and int(fields[1]) == own:
                found.append(int(name))
        return found


def _grace_ms() -> int | None:
    try:
        return int(os.readlink("stop"))
    except (OSError, ValueError):
        return None


def _kill(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000

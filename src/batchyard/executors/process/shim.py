"""One attempt, from its claim to its exit file. Runs in a process forked for it by the spawner.

The shim is the parent of the command and adopts the command's orphans, so it sees the true exit
code and can end the whole tree. It lives on when the server or the spawner dies. Standard library
only.

It reports `started`, `ended`, `failed` or `taken` on a socket. The files are the truth: a report
that nobody hears is no loss.
"""

import contextlib
import ctypes
import errno
import json
import os
import resource
import signal
import time
from typing import Any, NoReturn

from batchyard.executors.process import cgroups, claim

QUIET_START_S = 0.015
"""A command that ends within this time is reported only once, as ended.

# CHOSEN: a start is news only if it lasts. It saves the yard a transition for each very short job.
"""
DEFAULT_GRACE_MS = 30_000
LEFTOVERS_DEADLINE_S = 10.0

_PR_SET_PDEATHSIG, _PR_SET_NAME, _PR_SET_CHILD_SUBREAPER = 1, 15, 36
_WATCHED = (signal.SIGCHLD, signal.SIGTERM)
# Loaded before any fork, for all shims: finding the library takes longer than a job.
_PRCTL = ctypes.CDLL(None, use_errno=True).prctl


def run(request: bytes, *, reports: int, boot: str, layout: cgroups.Layout | None) -> None:
    """Claim the attempt and see it through. Returns when there is nothing left to do."""
    order: dict[str, Any] = json.loads(request)
    attempt_id = order["attempt_id"]
    # ORDER: signals are held back before the claim names us, for a stop may follow it at once.
    signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
    os.setsid()
    _PRCTL(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    _PRCTL(_PR_SET_NAME, b"batchyard-shim", 0, 0, 0)
    try:
        os.chdir(order["folder"])
        own = claim.identify(os.getpid(), boot)
        assert own is not None, "a process finds itself in /proc"
        # ORDER: after this line nobody else may run the attempt, and before it nobody did.
        os.symlink(own.text(), "claim")
    except FileExistsError:
        _report(reports, {"event": "taken", "attempt_id": attempt_id})
        return
    except FileNotFoundError:
        return  # removed before it began
    _Attempt(order, reports=reports, layout=layout, handle=own.text()).live()


class _CannotStart(Exception):
    """Why the command did not become a process, in words for the job's owner."""


class _Attempt:
    def __init__(
        self, order: dict[str, Any], *, reports: int, layout: cgroups.Layout | None, handle: str
    ) -> None:
        self._order = order
        self._id: str = order["attempt_id"]
        self._reports = reports
        self._layout = layout
        self._handle = handle
        self._started_at_ms = 0

    def live(self) -> None:
        self._started_at_ms = _now_ms()
        try:
            main = self._launch()
        except _CannotStart as error:
            self._fail(f"CannotStartContainerError: {error}")
            return
        except OSError as error:
            self._fail(f"CannotStartContainerError: prepare the attempt's folder: {error}")
            return
        exit_code = self._watch(main)
        ended_at_ms = _now_ms()
        notes = self._end_leftovers()
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

    def _launch(self) -> int:
        order = self._order
        output = os.open("output", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.mkdir("work", 0o700)
        if order["uid"] is not None:
            os.chown("work", order["uid"], order["gid"])
            os.chmod(".", 0o711)
        if self._layout is not None:
            cgroups.create(self._layout, self._id, cgroups.Limits(*order["limits"]))
        shim = os.getpid()
        error_in, error_out = os.pipe()
        main = os.fork()
        if main == 0:
            os.close(error_in)
            self._become_command(shim=shim, output=output, errors=error_out)
        os.close(error_out)
        os.close(output)
        with contextlib.suppress(OSError):
            os.setpgid(main, main)
        said = os.read(error_in, 4096)
        os.close(error_in)
        if said:
            os.waitpid(main, 0)
            raise _CannotStart(said.decode())
        return main

    def _become_command(self, *, shim: int, output: int, errors: int) -> NoReturn:
        doing = ""
        try:
            order = self._order
            doing = "set up the process"
            # A group, not a session, of its own: the session stays the shim's, and names the tree.
            os.setpgid(0, 0)
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _WATCHED)
            if self._layout is not None:
                doing = "join its control group"
                cgroups.join(self._layout, self._id)
            os.dup2(output, 1)
            os.dup2(output, 2)
            os.chdir("work")
            doing = "set its limits"
            for kind, soft, hard in order["rlimits"]:
                resource.setrlimit(kind, (soft, hard))
            if order["uid"] is not None:
                doing = "become the user"
                os.setgroups(order["groups"])
                os.setgid(order["gid"])
                os.setuid(order["uid"])
            # ORDER: after setuid, which clears it. The command must not outlive its only witness.
            _PRCTL(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            if os.getppid() != shim:
                os._exit(137)
            doing = "exec"
            os.execvpe(order["argv"][0], order["argv"], order["environment"])
        except OSError as error:
            os.write(errors, _explain(error, doing, self._order["argv"][0]).encode())
        except ValueError as error:
            os.write(errors, _explain(error, doing, self._order["argv"][0]).encode())
        finally:
            os._exit(127)

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
                until = time.monotonic() + _grace_ms() / 1000
                kill_at = until if kill_at is None else min(kill_at, until)
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(main, signal.SIGTERM)

    def _tell_started(self) -> None:
        report = {"event": "started", "at_ms": self._started_at_ms, "handle": self._handle}
        _report(self._reports, report | {"attempt_id": self._id})

    def _end_leftovers(self) -> list[str]:
        """Kill what the command left running, as the end of a container would."""
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
                return [f"processes {children} would not die and were left behind"]
            signal.sigtimedwait((signal.SIGCHLD,), 0.05)

    def _fail(self, reason: str) -> None:
        if self._layout is not None:
            cgroups.delete(self._layout, self._id)
        self._finish({"event": "failed", "reason": reason, "at_ms": _now_ms()})

    def _finish(self, report: dict[str, Any]) -> None:
        text = json.dumps(report | {"attempt_id": self._id})
        while True:
            try:
                write_exit(text)
                break
            except FileNotFoundError:
                return  # removed meanwhile: nobody asks any more
            except OSError as error:
                if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
                    raise
                time.sleep(1.0)  # a full disk: the exit code is worth waiting for
        _send(self._reports, text)


def write_exit(text: str, folder: str = ".") -> None:
    # ORDER: complete first, then visible. A reader never sees half a file.
    fd = os.open(f"{folder}/exit.tmp", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)
    os.rename(f"{folder}/exit.tmp", f"{folder}/exit")


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


def _grace_ms() -> int:
    try:
        return int(os.readlink("stop"))
    except (OSError, ValueError):
        return DEFAULT_GRACE_MS  # not asked by a yard: the machine is going down


def _kill(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def _explain(error: OSError | ValueError, doing: str, program: str) -> str:
    said = str(error)
    if isinstance(error, OSError) and error.strerror:
        said = error.strerror[:1].lower() + error.strerror[1:]
        if doing == "exec" and error.errno == errno.ENOENT and "/" not in program:
            said = "executable file not found in $PATH"
    return f'{doing}: "{program}": {said}'


def _report(reports: int, report: dict[str, Any]) -> None:
    _send(reports, json.dumps(report))


def _send(reports: int, text: str) -> None:
    with contextlib.suppress(OSError):  # the server is gone; its successor reads the files
        os.write(reports, text.encode())


def _now_ms() -> int:
    return time.time_ns() // 1_000_000

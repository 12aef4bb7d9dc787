"""Starting and stopping the server of a yard as a process of its own. Prints nothing.

`up` must leave a server behind that survives the terminal, and `down` must never signal a process
that merely inherited the pid of an old server.
"""

import fcntl
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from batchyard.cli.client import Client
from batchyard.cli.connection import find_connection
from batchyard.cli.faults import CommandFault, DeadlinePassed
from batchyard.cli.waiting import Pace
from batchyard.cli.yard import ServerRecord, live_server, log_tail, process_start_time

_LOG_LINES_SHOWN: Final = 15
_GRACE_S: Final = 10.0


@dataclass(frozen=True, kw_only=True)
class Started:
    record: ServerRecord
    process: subprocess.Popen[bytes]


def server_command(home: Path, *, port: int | None, executor: str | None) -> list[str]:
    command = [sys.executable, "-m", "batchyard.server", "--home", str(home)]
    if port is not None:
        command += ["--port", str(port)]
    if executor is not None:
        command += ["--executor", executor]
    return command


@contextmanager
def starting(home: Path) -> Iterator[None]:
    """Let one `up` at a time look and start; the lock dies with this process."""
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(home / "up.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise CommandFault(
            f"cannot use {home} for the yard: {error.strerror}",
            hint="choose another directory with --home or BATCHYARD_HOME",
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def start_server(
    home: Path,
    command: Sequence[str],
    *,
    foreground: bool,
    deadline_s: float,
    slow: Callable[[float], None],
    pace: Pace,
) -> Started:
    """Start the server and return once it answers a signed request.

    Args:
        foreground: Keep it in this terminal and process group instead of detaching it.
        slow: Told the seconds waited, at every look; a place for a progress hint.

    Raises:
        CommandFault: the server ended before it answered; holds the end of its log.
        DeadlinePassed: no answer in time; the server was stopped again.
    """
    if foreground:
        process = subprocess.Popen(list(command), stdin=subprocess.DEVNULL)
    else:
        # ORDER: opened here and not by the server, so that even an import error is in the log.
        with (home / "server.log").open("ab") as log:
            os.chmod(log.fileno(), 0o600)
            process = subprocess.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=home,
                start_new_session=True,
            )
    began_s = pace.now_s()
    while True:
        code = process.poll()
        if code is not None:
            raise _died(home, code, foreground=foreground)
        record = live_server(home)
        if record is not None and record.pid == process.pid and answers(home):
            return Started(record=record, process=process)
        waited_s = pace.now_s() - began_s
        if waited_s > deadline_s:
            _end(process)
            raise DeadlinePassed(
                f"the server did not answer within {deadline_s:.0f} s and was stopped",
                hint=f"its log says why: {home / 'server.log'}",
            )
        slow(waited_s)
        pace.pause(0.05)


def answers(home: Path) -> bool:
    """Whether the yard of `home` answers a signed request."""
    try:
        client = Client(find_connection(endpoint=None, region=None, home=home, environ={}))
        try:
            client.extension("status")
        finally:
            client.close()
    except CommandFault:
        return False
    return True


def stop_server(record: ServerRecord, *, deadline_s: float) -> None:
    """SIGTERM to exactly the process of `record`, and wait until it is gone.

    Raises:
        DeadlinePassed: it still lives after `deadline_s`.
    """
    try:
        handle = os.pidfd_open(record.pid)
    except ProcessLookupError:
        return
    try:
        # ORDER: the handle pins the process before its start time is compared, so the pid
        # cannot pass to a stranger between the look and the signal.
        if process_start_time(record.pid) != record.start_time:
            return
        try:
            signal.pidfd_send_signal(handle, signal.SIGTERM)
        except ProcessLookupError:
            return
        except PermissionError as error:
            raise CommandFault(
                f"process {record.pid} belongs to another user",
                hint="stop the yard as the user who started it",
                exit_code=4,
            ) from error
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        if not poll.poll(deadline_s * 1000):
            raise DeadlinePassed(
                f"the server (process {record.pid}) still runs {deadline_s:.0f} s after SIGTERM",
                hint=f"look at its log; as a last resort `kill -9 {record.pid}` loses no job: "
                "the next `batchyard up` takes running jobs back",
            )
    finally:
        os.close(handle)


def _died(home: Path, code: int, *, foreground: bool) -> CommandFault:
    ended = f"by signal {-code}" if code < 0 else f"with exit code {code}"
    if foreground:
        return CommandFault(
            f"the server ended {ended} before it answered", hint="its messages are above"
        )
    tail = log_tail(home, _LOG_LINES_SHOWN)
    said = "\n".join(f"  | {line}" for line in tail) or "  | (its log is empty)"
    text = "\n".join(tail)
    if "ddress already in use" in text or "cannot be used" in text:
        hint = "choose another port with --port, or leave it out"
    else:
        hint = f"the whole log: {home / 'server.log'}; or watch it start: batchyard up --foreground"
    return CommandFault(f"the server ended {ended} before it answered:\n{said}", hint=hint)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_GRACE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()

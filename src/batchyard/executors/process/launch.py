"""Turning an order into a running command. Part of the shim: standard library only.

There are two ways. The quick one makes the process without copying the shim's memory, and serves
every job that control groups of version 1 limit and nothing else. The other forks, to do in the
child what can only be done there: give up root, lower limits, or enter a group of version 2.
"""

import ctypes
import errno
import os
import resource
import signal
from typing import Any, NoReturn

from batchyard.executors.process import cgroups

_PR_SET_PDEATHSIG = 1
_OURS = (signal.SIGCHLD, signal.SIGTERM)
# What Python ignores (SIGPIPE), and what whoever started the server had ignored (`nohup`, a shell
# that put it in the background): to a job none of it is, as in a container.
_DEFAULTS = tuple(sorted(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}))


# CHOSEN: without control groups, RLIMIT_DATA, which counts private writable memory. RLIMIT_AS would
# also count what a virtual machine such as Java's only reserves, and fail jobs within their memory
# (ADR 16).
_MEMORY = resource.RLIMIT_DATA


class CannotStart(Exception):
    """Why the command did not become a process, in words for the job's owner."""


def launch(order: dict[str, Any], layout: cgroups.Layout | None) -> int:
    """Start the command of the attempt whose folder is the working directory.

    Returns:
        Its pid. It leads a process group, is in the attempt's control group, and its working
        directory is `work`.

    Raises:
        CannotStart: there is no process, or there is none any more.
    """
    try:
        output = os.open("output", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    except OSError as error:
        raise CannotStart(f"make the attempt's output file: {_lower(error)}") from error
    try:
        os.mkdir("work", 0o700)
        if order["uid"] is not None:
            os.chown("work", order["uid"], order["gid"])
            os.chmod(".", 0o711)
        if layout is not None:
            cgroups.create(layout, order["attempt_id"], cgroups.Limits(*order["limits"]))
        # A limit set on the command from outside comes too late for one that is quick to allocate.
        needs_fork = order["uid"] is not None or order["rlimits"]
        if needs_fork or layout is None or layout.version == 2:
            return _fork(order, layout, output)
        return _spawn(order, layout, output)
    except OSError as error:
        raise CannotStart(f"prepare the attempt: {_lower(error)}") from error
    finally:
        os.close(output)


def _spawn(order: dict[str, Any], layout: cgroups.Layout, output: int) -> int:
    argv, environment = order["argv"], order["environment"]
    # The shim enters the group so that the command is born in it, and leaves again at once.
    cgroups.join(layout, order["attempt_id"])
    folder = os.open(".", os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.chdir("work")
        return os.posix_spawn(
            _find(argv[0], environment),
            argv,
            environment,
            file_actions=((os.POSIX_SPAWN_DUP2, output, 1), (os.POSIX_SPAWN_DUP2, output, 2)),
            setpgroup=0,
            setsigmask=(),
            setsigdef=_DEFAULTS,
        )
    except (OSError, ValueError) as error:
        raise CannotStart(_explain(error, "exec", argv[0])) from error
    finally:
        # By descriptor: the command may have moved its folder already.
        os.fchdir(folder)
        os.close(folder)
        cgroups.leave(layout)


def _fork(order: dict[str, Any], layout: cgroups.Layout | None, output: int) -> int:
    shim = os.getpid()
    error_in, error_out = os.pipe()
    main = os.fork()
    if main == 0:
        os.close(error_in)
        _become_command(order, layout, shim=shim, output=output, errors=error_out)
    os.close(error_out)
    said = os.read(error_in, 4096)
    os.close(error_in)
    if said:
        os.waitpid(main, 0)
        raise CannotStart(said.decode())
    return main


def _become_command(
    order: dict[str, Any], layout: cgroups.Layout | None, *, shim: int, output: int, errors: int
) -> NoReturn:
    argv, environment, doing = order["argv"], order["environment"], "prepare"
    try:
        os.setpgid(0, 0)
        for number in _DEFAULTS:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _OURS)
        if layout is not None:
            doing = "join the control group"
            cgroups.join(layout, order["attempt_id"])
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.chdir("work")
        doing = "set the limits"
        if layout is None:
            resource.setrlimit(_MEMORY, _memory_limit(order))
        for kind, soft, hard in order["rlimits"]:
            resource.setrlimit(kind, (soft, hard))
        if order["uid"] is not None:
            doing = "become the user"
            os.setgroups(order["groups"])
            os.setgid(order["gid"])
            os.setuid(order["uid"])
        # ORDER: after setuid, which clears it. The command must not outlive its only witness.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != shim:
            os._exit(137)
        doing = "exec"
        os.execve(_find(argv[0], environment), argv, environment)
    except (OSError, ValueError) as error:
        os.write(errors, _explain(error, doing, argv[0]).encode())
    finally:
        os._exit(127)


def _memory_limit(order: dict[str, Any]) -> tuple[int, int]:
    memory_bytes = cgroups.Limits(*order["limits"]).memory_bytes
    highest = resource.getrlimit(_MEMORY)[1]
    if highest != resource.RLIM_INFINITY:
        memory_bytes = min(memory_bytes, highest)
    return memory_bytes, memory_bytes


def _find(program: str, environment: dict[str, str]) -> str:
    """The file a bare name means, on the job's own search path."""
    if "/" in program:
        return program
    for folder in environment.get("PATH", os.defpath).split(":"):
        path = f"{folder or '.'}/{program}"
        if os.access(path, os.X_OK) and not os.path.isdir(path):
            return path
    raise FileNotFoundError(errno.ENOENT, "executable file not found in $PATH")


def _explain(error: OSError | ValueError, doing: str, program: str) -> str:
    said = _lower(error) if isinstance(error, OSError) else str(error)
    return f'{doing}: "{program}": {said}'


def _lower(error: OSError) -> str:
    text = error.strerror or str(error)
    if text[:1].isupper() and text[1:2].islower():
        text = text[:1].lower() + text[1:]
    return text

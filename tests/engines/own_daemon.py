"""A Docker daemon of a test's own, to be killed with -9 and started again."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from batchyard.executors.docker.sockets import peer_pid
from faults.killable_yard import until
from required import cannot_run

MKIMAGE = Path(__file__).parents[2] / "scripts" / "engines" / "mkimage.py"


class OwnDaemon:
    """dockerd with --live-restore, in a network namespace of its own to leave others be."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.socket = str(root / "docker.sock")
        self._containerd = root / "exec" / "containerd"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self.root / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *("unshare", "--net", "dockerd", "--live-restore", "--iptables=false"),
                    *("--bridge=none", "--data-root", str(self.root / "data")),
                    *("--exec-root", str(self.root / "exec"), "-H", f"unix://{self.socket}"),
                    *("--pidfile", str(self.root / "pid")),
                ],
                stdout=log,
                stderr=log,
            )

    def answers(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            pytest.fail("dockerd ended:\n" + (self.root / "log").read_text()[-2000:])
        try:
            peer_pid(self.socket)
        except OSError:
            return False
        return True

    def tell_of_a_start(self, container_id: str, pid: int) -> None:
        """What containerd tells when a shim's word of a start comes late."""
        event = _field(1, container_id.encode()) + _number(2, pid)
        subprocess.run(
            [
                *("containerd", "--address", str(self._containerd / "containerd.sock")),
                *("publish", "--topic", "/tasks/start", "--namespace", "moby"),
            ],
            input=_field(1, b"containerd.events.TaskStart") + _field(2, event),
            check=True,
        )

    def freeze(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def forget(self, container_id: str, *, task_only: bool) -> None:
        """Let containerd forget what has ended, as a dockerd does that takes note of its end."""
        self._ctr("tasks", "delete", container_id)
        if not task_only:
            self._ctr("containers", "delete", container_id)

    def _ctr(self, *command: str) -> None:
        address = str(self._containerd / "containerd.sock")
        subprocess.run(["ctr", "--address", address, "-n", "moby", *command], check=True)

    def kill(self) -> None:
        """End dockerd at once. The kernel ends its containerd with it; the containers live on."""
        assert self._process is not None
        containerd = Path("/proc") / (self._containerd / "containerd.pid").read_text().strip()
        self._process.kill()
        self._process.wait(30)
        # ORDER: a dockerd that still sees the dying containerd would wait for it in vain.
        deadline = time.monotonic() + 30
        while containerd.exists() and time.monotonic() < deadline:
            time.sleep(0.02)

    def end(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.send_signal(signal.SIGCONT)  # a failed test may have left it frozen
            self._process.wait(60)
        # Only what a failed test leaves: shims, whose command lines name this root, and their jobs.
        for directory in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if str(self.root).encode() in (directory / "cmdline").read_bytes():
                    _end_tree(int(directory.name))
        for line in reversed(Path("/proc/mounts").read_text().splitlines()):
            if line.split()[1].startswith(str(self.root)):
                subprocess.run(["umount", "--lazy", line.split()[1]], check=False)


def _field(number: int, value: bytes) -> bytes:
    """A short string or message in a protobuf message."""
    return bytes([number << 3 | 2, len(value)]) + value


def _number(number: int, value: int) -> bytes:
    encoded = bytes([number << 3])
    while value > 127:
        encoded += bytes([value & 127 | 128])
        value >>= 7
    return encoded + bytes([value])


def _end_tree(pid: int) -> None:
    children = Path(f"/proc/{pid}/task/{pid}/children")
    with contextlib.suppress(OSError):
        for child in children.read_text().split():
            _end_tree(int(child))
        os.kill(pid, signal.SIGKILL)


@contextlib.contextmanager
def own_daemon() -> Iterator[OwnDaemon]:
    """One that answers and has the test image. Ends with all that it started."""
    if os.geteuid() != 0:
        cannot_run("only root can start a second dockerd")
    # A short path: a Unix socket's may not exceed 107 bytes.
    root = Path(f"/tmp/by-{uuid.uuid4().hex[:8]}")
    root.mkdir()
    own = OwnDaemon(root)
    try:
        own.start()
        until(own.answers, "the daemon of the test")
        subprocess.run([sys.executable, MKIMAGE, "--socket", own.socket], check=True, timeout=120)
        yield own
    finally:
        own.end()
        shutil.rmtree(root, ignore_errors=True)

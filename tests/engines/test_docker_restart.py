"""The engine itself dies and comes back: a Docker daemon of this test's own is killed with -9."""

import asyncio
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

from batchyard.executors.docker import DockerExecutor
from batchyard.executors.docker.sockets import peer_pid
from batchyard.executors.port import Mount, Started
from batchyard.kernel.faults import EngineUnavailable
from conformance.ports.executor_exercise import ExecutorYard, Job, eventually, on_loop

pytestmark = pytest.mark.engine

MKIMAGE = Path(__file__).parents[2] / "scripts" / "engines" / "mkimage.py"


class OwnDaemon:
    """dockerd with --live-restore, in a network namespace of its own to leave others be."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.socket = str(root / "docker.sock")
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

    def kill(self) -> None:
        """End dockerd at once. The kernel ends its containerd with it; the containers live on."""
        assert self._process is not None
        containerd = self._containerd()
        self._process.kill()
        self._process.wait(30)
        # ORDER: a dockerd that still sees the dying containerd would wait for it in vain.
        deadline = time.monotonic() + 30
        while containerd.exists() and time.monotonic() < deadline:
            time.sleep(0.02)

    def end(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.wait(60)
        # Only what a failed test leaves: shims, whose command lines name this root, and their jobs.
        for directory in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if str(self.root).encode() in (directory / "cmdline").read_bytes():
                    end_tree(int(directory.name))
        for line in reversed(Path("/proc/mounts").read_text().splitlines()):
            if line.split()[1].startswith(str(self.root)):
                subprocess.run(["umount", "--lazy", line.split()[1]], check=False)

    def _containerd(self) -> Path:
        pid = (self.root / "exec" / "containerd" / "containerd.pid").read_text()
        return Path("/proc") / pid.strip()


def end_tree(pid: int) -> None:
    children = Path(f"/proc/{pid}/task/{pid}/children")
    with contextlib.suppress(OSError):
        for child in children.read_text().split():
            end_tree(int(child))
        os.kill(pid, signal.SIGKILL)


@pytest.fixture
def daemon(docker_socket: str) -> Iterator[OwnDaemon]:
    if os.geteuid() != 0:
        pytest.skip("only root can start a second dockerd")
    # A short path: a Unix socket's may not exceed 107 bytes.
    root = Path(f"/tmp/by-{uuid.uuid4().hex[:8]}")
    root.mkdir()
    own = OwnDaemon(root)
    try:
        own.start()
        yield own
    finally:
        own.end()
        shutil.rmtree(root, ignore_errors=True)


@pytest.fixture
def yard(daemon: OwnDaemon) -> ExecutorYard:
    yard_id = str(uuid.uuid4())
    return ExecutorYard(
        make=lambda sink: DockerExecutor(yard_id=yard_id, logs=sink, socket=daemon.socket),
        image="batchyard-test:1",
    )


class TestEngineRestart:
    @on_loop
    async def test_jobs_outlive_a_killed_daemon(
        self, yard: ExecutorYard, daemon: OwnDaemon, tmp_path: Path
    ) -> None:
        await eventually(daemon.answers, "the daemon of the test")
        await asyncio.to_thread(
            subprocess.run, [sys.executable, MKIMAGE, "--socket", daemon.socket], check=True
        )
        bench = await yard.open()
        script = "echo before; while ! test -e /gate/open; do sleep 0.05; done; echo after; exit 6"
        gate = Mount(target="/gate", source=str(tmp_path))
        waiting = yard.spec(command=("sh", "-c", script), mounts=(gate,))
        short = yard.spec(Job(prints=("short",), run_for_s=1.5, exit_code=5))
        await bench.executor.start(waiting)
        await bench.executor.start(short)
        await bench.printed(waiting, "before")
        await bench.printed(short, "short")

        await asyncio.to_thread(daemon.kill)
        late = yard.spec(Job(exit_code=3))
        with pytest.raises(EngineUnavailable):
            await bench.executor.start(late)
        assert not any(
            not isinstance(one, Started) for one in bench.recorder.of(waiting.attempt_id)
        )
        await asyncio.to_thread(daemon.start)
        await eventually(daemon.answers, "the daemon to come back")

        assert (await bench.recorder.ended(short.attempt_id)).exit_code == 5
        assert bench.sink.messages(short) == ["short"]
        (tmp_path / "open").touch()
        assert (await bench.recorder.ended(waiting.attempt_id)).exit_code == 6
        assert bench.sink.messages(waiting) == ["before", "after"]
        await bench.executor.start(late)
        assert (await bench.recorder.ended(late.attempt_id)).exit_code == 3

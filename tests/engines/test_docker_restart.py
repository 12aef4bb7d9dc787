"""The engine itself dies and comes back: a Docker daemon of this test's own is killed with -9."""

import asyncio
import contextlib
import os
import select
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
from batchyard.executors.port import AttemptSpec, Failpoint, Lost, Mount, Started, no_failpoint
from batchyard.kernel.faults import EngineUnavailable
from conformance.ports.executor_exercise import Bench, ExecutorYard, Job, eventually, on_loop
from faults.killable_yard import until

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
    return yard_on(daemon)


def yard_on(daemon: OwnDaemon, failpoint: Failpoint = no_failpoint) -> ExecutorYard:
    yard_id = str(uuid.uuid4())
    return ExecutorYard(
        make=lambda sink: DockerExecutor(
            yard_id=yard_id, logs=sink, socket=daemon.socket, failpoint=failpoint
        ),
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


class ForgetfulDaemon:
    """Comes back from a kill as if it had been killed before it wrote a container's start down."""

    def __init__(self, daemon: OwnDaemon) -> None:
        self._daemon = daemon
        self._before_start: dict[Path, bytes] = {}
        self.dies_after_create = False

    def fail(self, failpoint: str) -> None:
        """The driver's failpoints."""
        if failpoint != "docker.after_create":
            return
        self._remember()
        if self.dies_after_create:
            self.dies_after_create = False
            self.restart()
            raise EngineUnavailable("The test killed the engine.", hint="Call again.")

    def _remember(self) -> None:
        for path in (self._daemon.root / "data" / "containers").glob("*/config.v2.json"):
            self._before_start.setdefault(path, path.read_bytes())

    def restart(self) -> None:
        self._daemon.kill()
        for path, known in self._before_start.items():
            path.write_bytes(known)
        self._daemon.start()
        until(self._daemon.answers, "the daemon to come back")


async def forget_a_running_container(
    yard: ExecutorYard, forgetful: ForgetfulDaemon, folder: Path, *, exit_code: int | None
) -> tuple[Bench, AttemptSpec, list[int]]:
    """What a start leaves that the daemon has forgotten, and a server that is started after it.

    Returns:
        The new server's executor, the attempt, and a pidfd for each of its processes.
    """
    end = "exec sleep 3600" if exit_code is None else f"exit {exit_code}"
    spec = yard.spec(
        command=("sh", "-c", f"echo ran >> /folder/ran; {end}"),
        mounts=(Mount(target="/folder", source=str(folder)),),
    )
    bench = await yard.open()
    await bench.executor.start(spec)
    if exit_code is None:
        await bench.recorder.started(spec.attempt_id)
    else:
        await bench.recorder.ended(spec.attempt_id)
    await eventually((folder / "ran").exists, "the first line of the job")
    (sighting,) = await bench.executor.list()
    living = [os.pidfd_open(pid) for pid in processes_of(sighting.handle)]
    await asyncio.to_thread(forgetful.restart)
    return await yard.reopen(), spec, living


def processes_of(container_id: str) -> list[int]:
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            in_it = container_id in (directory / "cgroup").read_text()
            arguments = (directory / "cmdline").read_bytes().split(b"\0")
            if in_it or container_id.encode() in arguments:  # the job, its init and its shim
                found.append(int(directory.name))
    return found


def ended(pidfd: int) -> bool:
    return bool(select.select([pidfd], [], [], 0)[0])


class TestForgottenStart:
    """A start that the daemon was killed in: the job runs, and the daemon does not know."""

    @pytest.fixture
    def forgetful(self, daemon: OwnDaemon) -> ForgetfulDaemon:
        until(daemon.answers, "the daemon of the test")
        subprocess.run([sys.executable, MKIMAGE, "--socket", daemon.socket], check=True)
        return ForgetfulDaemon(daemon)

    @pytest.fixture
    def yard(self, daemon: OwnDaemon, forgetful: ForgetfulDaemon) -> ExecutorYard:
        return yard_on(daemon, forgetful.fail)

    @pytest.mark.parametrize("again", ["start", "adopt"])
    @on_loop
    async def test_what_still_runs_is_ended_and_called_lost(
        self, yard: ExecutorYard, forgetful: ForgetfulDaemon, tmp_path: Path, again: str
    ) -> None:
        bench, spec, living = await forget_a_running_container(
            yard, forgetful, tmp_path, exit_code=None
        )
        assert len(living) >= 2
        listed = await bench.listed(spec.attempt_id)
        assert listed is not None
        assert listed.state == "created"
        assert not any(map(ended, living))

        if again == "start":
            await bench.executor.start(spec)
        else:
            await bench.executor.adopt(spec)
        lost = await bench.recorder.terminal(spec.attempt_id)
        assert isinstance(lost, Lost)
        assert "forgot whether it ran" in lost.detail
        await eventually(lambda: all(map(ended, living)), "the end of every process")
        assert (tmp_path / "ran").read_text() == "ran\n"

        # Whoever asks before the loss is written down must hear the same.
        bench = await yard.reopen()
        await bench.executor.start(spec)
        assert isinstance(await bench.recorder.terminal(spec.attempt_id), Lost)
        await bench.executor.remove(spec.attempt_id)
        assert await bench.executor.list() == []
        assert (tmp_path / "ran").read_text() == "ran\n"

    @on_loop
    async def test_what_has_ended_by_then_is_lost_too(
        self, yard: ExecutorYard, forgetful: ForgetfulDaemon, tmp_path: Path
    ) -> None:
        bench, spec, _ = await forget_a_running_container(yard, forgetful, tmp_path, exit_code=7)
        await bench.executor.start(spec)
        assert isinstance(await bench.recorder.terminal(spec.attempt_id), Lost)
        assert (tmp_path / "ran").read_text() == "ran\n"

    @pytest.mark.parametrize("act", ["stop", "remove"])
    @on_loop
    async def test_nothing_lives_on_when_its_container_is_deleted(
        self, yard: ExecutorYard, forgetful: ForgetfulDaemon, tmp_path: Path, act: str
    ) -> None:
        bench, spec, living = await forget_a_running_container(
            yard, forgetful, tmp_path, exit_code=None
        )
        await getattr(bench.executor, act)(spec.attempt_id)
        await eventually(lambda: all(map(ended, living)), "the end of every process")
        async with asyncio.timeout(30):
            while await bench.executor.list():  # noqa: ASYNC110  # a deleted container wakes nobody
                await asyncio.sleep(0.02)

    @on_loop
    async def test_what_this_process_created_and_did_not_start_goes_on(
        self, yard: ExecutorYard, forgetful: ForgetfulDaemon
    ) -> None:
        """The daemon dies between create and start, and this process has asked for no start."""
        bench = await yard.open()
        forgetful.dies_after_create = True
        spec = yard.spec(Job(exit_code=4))
        with pytest.raises(EngineUnavailable):
            await bench.executor.start(spec)
        async with asyncio.timeout(30):
            while not bench.recorder.of(spec.attempt_id):
                # The connections kept from before the kill fail once each.
                with contextlib.suppress(EngineUnavailable):
                    await bench.executor.start(spec)
                await asyncio.sleep(0.02)
        assert (await bench.recorder.ended(spec.attempt_id)).exit_code == 4

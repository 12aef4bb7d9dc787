"""What a job definition can ask of a container, on both engines: limits, mounts, failures."""

import asyncio
import json
import os
import urllib.parse
import uuid
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path
from socket import AF_UNIX, create_server, socket

import pytest

from batchyard.executors.docker import DockerExecutor
from batchyard.executors.docker.body import Host, compose
from batchyard.executors.docker.bringup import STOPPED_BEFORE_START
from batchyard.executors.docker.engine import Version
from batchyard.executors.docker.host_network import may_lock_up
from batchyard.executors.docker.sockets import peer_pid
from batchyard.executors.policy import Policy
from batchyard.executors.port import (
    Device,
    Ended,
    Lost,
    Mount,
    Started,
    StartFailed,
    Tmpfs,
    Ulimit,
)
from conformance.ports.executor_exercise import FOREVER, ExecutorYard, Job, on_loop

pytestmark = pytest.mark.engine

MakeYard = Callable[..., ExecutorYard]


@pytest.fixture(params=["docker", "podman"])
def socket_path(request: pytest.FixtureRequest) -> str:
    found: str = request.getfixturevalue(f"{request.param}_socket")
    return found


@pytest.fixture
def yard_id() -> str:
    return str(uuid.uuid4())


@pytest.fixture
def policy() -> Policy:
    return Policy()


@pytest.fixture
def yard(socket_path: str, yard_id: str, policy: Policy) -> ExecutorYard:
    return ExecutorYard(
        make=lambda sink: DockerExecutor(
            yard_id=yard_id, logs=sink, socket=socket_path, policy=policy
        ),
        image="batchyard-test:1",
    )


class Raw:
    """The engine's API without our own code."""

    def __init__(self, path: str) -> None:
        self.path = path

    def call(self, method: str, target: str, body: object = None) -> tuple[int, bytes]:
        connection = HTTPConnection("engine", timeout=60)
        connection.sock = socket(AF_UNIX)
        connection.sock.connect(self.path)
        try:
            data = json.dumps(body) if body is not None else None
            connection.request(method, target, data, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def volumes(self) -> set[str]:
        found = json.loads(self.call("GET", "/v1.41/volumes")[1])["Volumes"] or []
        return {volume["Name"] for volume in found}


async def notes_of(yard: ExecutorYard, **over: object) -> tuple[Ended, list[str]]:
    bench = await yard.open()
    spec = yard.spec(**over)
    ended = await bench.run(spec)
    return ended, bench.sink.messages(spec)


def may_raise_limits() -> bool:
    """CAP_SYS_RESOURCE, which some virtual machines withhold even from root."""
    status = Path("/proc/self/status").read_text()
    bounding = next(line for line in status.splitlines() if line.startswith("CapBnd:"))
    return bool(int(bounding.split()[1], 16) >> 24 & 1)


class TestDenied:
    @pytest.fixture
    def policy(self) -> Policy:
        return Policy(volumes="deny")

    @on_loop
    async def test_it_fails_to_start_and_says_why(self, yard: ExecutorYard) -> None:
        bench = await yard.open()
        spec = yard.spec(mounts=(Mount(target="/a", source="/tmp"),))
        await bench.executor.start(spec)
        failed = await bench.recorder.terminal(spec.attempt_id)
        assert isinstance(failed, StartFailed)
        assert failed.reason.endswith("the policy of this yard denies volumes")


class TestFeatures:
    @on_loop
    async def test_privileged_runs_and_says_what_it_lost(self, yard: ExecutorYard) -> None:
        bench = await yard.open()
        script = "mkdir /tmp/m && mount -t tmpfs none /tmp/m && echo mounted"
        spec = yard.spec(command=("sh", "-c", script), privileged=True)
        ended = await bench.run(spec)
        assert (ended.exit_code, bench.sink.messages(spec)) == (0, ["mounted"])
        if bench.probe.engine.startswith("docker"):  # Podman grants what it may by itself
            assert (ended.notes == ()) == may_raise_limits()

    @on_loop
    async def test_ulimits_reach_the_job_lowered_if_need_be(self, yard: ExecutorYard) -> None:
        ulimits = (
            Ulimit(name="nofile", soft=512, hard=1 << 30),
            Ulimit(name="core", soft=0, hard=0),
        )
        ended, output = await notes_of(
            yard, command=("sh", "-c", "ulimit -n; ulimit -c"), ulimits=ulimits
        )
        assert output == ["512", "0"]
        assert len(ended.notes) == 1
        assert ended.notes[0].startswith("ulimit nofile lowered from 512:1073741824 to 512:")

    @on_loop
    async def test_mounts(self, yard: ExecutorYard, socket_path: str, tmp_path: Path) -> None:
        before = Raw(socket_path).volumes()
        made, kept = tmp_path / "made by the engine" / "deep", tmp_path / "kept"
        kept.mkdir()
        (kept / "input").write_text("given\n")
        bench = await yard.open()
        script = (
            "echo out >/made/result; cat /kept/input; echo x >/scratch/x && cat /scratch/x; "
            "touch /kept/y 2>/dev/null || echo read-only"
        )
        spec = yard.spec(
            command=("sh", "-c", script),
            mounts=(
                Mount(target="/made", source=str(made)),
                Mount(target="/kept", source=str(kept), read_only=True),
                Mount(target="/scratch"),
            ),
        )
        assert (await bench.run(spec)).exit_code == 0
        assert bench.sink.messages(spec) == ["given", "x", "read-only"]
        assert (made / "result").read_text() == "out\n"
        assert len(Raw(socket_path).volumes() - before) == 1
        await bench.executor.remove(spec.attempt_id)
        assert Raw(socket_path).volumes() - before == set()
        assert (kept / "input").exists()

    @on_loop
    async def test_user_root_shm_and_tmpfs(self, yard: ExecutorYard) -> None:
        script = (
            "id -u; touch /x 2>/dev/null || echo read-only; "
            "df -k /dev/shm /t | awk 'NR>1 {print $2}'; touch /t/x && echo tmpfs"
        )
        _ended, output = await notes_of(
            yard,
            command=("sh", "-c", script),
            user="65534",
            read_only_root=True,
            shared_memory_mib=8,
            tmpfs=(Tmpfs(path="/t", size_mib=4, options=("mode=1777",)),),
        )
        assert output == ["65534", "read-only", "8192", "4096", "tmpfs"]

    @on_loop
    async def test_a_device_reaches_the_job(self, yard: ExecutorYard) -> None:
        ended, output = await notes_of(
            yard,
            command=("sh", "-c", "test -c /dev/mem0 && echo there"),
            devices=(Device(host_path="/dev/full", container_path="/dev/mem0"),),
        )
        assert (ended.notes, output) == ((), ["there"])

    @on_loop
    async def test_a_missing_device_is_withheld_and_said(self, yard: ExecutorYard) -> None:
        ended, output = await notes_of(
            yard,
            command=("echo", "ran"),
            devices=(Device(host_path="/dev/no-such-device", container_path="/dev/x"),),
        )
        assert output == ["ran"]
        assert ended.notes == ("devices withheld: the host refused them",)

    @on_loop
    async def test_the_notes_survive_a_restart(self, yard: ExecutorYard) -> None:
        bench = await yard.open()
        spec = yard.spec(FOREVER, ulimits=(Ulimit(name="nofile", soft=64, hard=1 << 30),))
        await bench.executor.start(spec)
        started = await bench.recorder.started(spec.attempt_id)
        bench = await yard.reopen()
        await bench.executor.adopt(spec)
        again = await bench.recorder.started(spec.attempt_id)
        assert isinstance(again, Started)
        assert again.notes == started.notes != ()

    @on_loop
    async def test_vcpus_are_shares_and_memory_is_a_limit(
        self, yard: ExecutorYard, socket_path: str
    ) -> None:
        bench = await yard.open()
        spec = yard.spec(FOREVER, vcpu_milli=2000, memory_mib=64)
        await bench.executor.start(spec)
        handle = (await bench.recorder.started(spec.attempt_id)).handle
        host = json.loads(Raw(socket_path).call("GET", f"/v1.41/containers/{handle}/json")[1])[
            "HostConfig"
        ]
        assert (host["Memory"], host["CpuShares"]) == (64 << 20, 2048)
        assert (host["NanoCpus"], host.get("CpuQuota", 0)) == (0, 0)

    @on_loop
    async def test_the_hosts_network_without_an_endpoint_of_a_docker_that_may_lock_up(
        self, yard: ExecutorYard, socket_path: str
    ) -> None:
        bench = await yard.open()
        inside = Job(prints=("x",), run_for_s=60)
        spec = yard.spec(inside)
        await bench.executor.start(spec)
        handle = (await bench.recorder.started(spec.attempt_id)).handle
        raw = Raw(socket_path)
        pid = json.loads(raw.call("GET", f"/v1.41/containers/{handle}/json")[1])["State"]["Pid"]
        # The engine, not this process, is the host of its containers.
        theirs, ours = (os.readlink(f"/proc/{one}/ns/net") for one in (pid, peer_pid(socket_path)))
        assert theirs == ours
        version = json.loads(raw.call("GET", "/version")[1])["Version"]
        kind = "podman" if "podman" in socket_path else "docker"
        if may_lock_up(Version(kind=kind, text=f"{kind} {version}")):
            networks = json.loads(raw.call("GET", "/v1.41/networks/host")[1])
            assert handle not in networks["Containers"]

    @on_loop
    async def test_an_image_nobody_has(self, yard: ExecutorYard) -> None:
        bench = await yard.open()
        spec = yard.spec(image="127.0.0.1:9/no/such-image:1")
        await bench.executor.start(spec)
        failed = await bench.recorder.terminal(spec.attempt_id)
        assert isinstance(failed, StartFailed)
        assert failed.reason.startswith("CannotPullContainerError: Error response from daemon: ")
        assert len(failed.reason) > len("CannotPullContainerError: Error response from daemon: ")

    @on_loop
    async def test_a_stop_ends_the_wait_for_a_silent_registry(self, yard: ExecutorYard) -> None:
        bench = await yard.open()
        with create_server(("127.0.0.1", 0)) as registry:
            registry.settimeout(30)
            port = registry.getsockname()[1]
            spec = yard.spec(image=f"127.0.0.1:{port}/never-there:1")
            starting = asyncio.ensure_future(bench.executor.start(spec))
            connection, _ = await asyncio.to_thread(registry.accept)
            with connection:
                await bench.executor.stop(spec.attempt_id)
                failed = await bench.recorder.terminal(spec.attempt_id)
                await starting
        assert isinstance(failed, StartFailed)
        assert failed.reason == STOPPED_BEFORE_START

    @on_loop
    async def test_a_bare_program_name_that_is_missing(self, yard: ExecutorYard) -> None:
        bench = await yard.open()
        specs = [yard.spec(command=("no-such-program",), init=init) for init in (True, False)]
        for spec in specs:
            await bench.executor.start(spec)
            failed = await bench.recorder.terminal(spec.attempt_id)
            assert isinstance(failed, StartFailed)
            assert failed.reason.startswith(
                "CannotStartContainerError: Error response from daemon: "
            )
            assert "no-such-program" in failed.reason

    @pytest.mark.parametrize("come_back", ["start", "adopt"])
    @on_loop
    async def test_created_but_never_started(
        self, yard: ExecutorYard, socket_path: str, yard_id: str, come_back: str
    ) -> None:
        """What a process leaves that dies between create and start."""
        bench = await yard.open()
        spec = yard.spec(Job(prints=("once",), exit_code=4))
        kind = bench.probe.engine.split()[0]
        draft = compose(spec, yard_id=yard_id, policy=Policy(), host=Host(kind=kind))
        name = urllib.parse.quote(f"batchyard-{yard_id[:8]}-{spec.attempt_id}")
        status, _answer = Raw(socket_path).call(
            "POST", f"/v1.41/containers/create?name={name}", draft.body
        )
        assert status == 201
        assert (await bench.listed(spec.attempt_id)).state == "created"
        await (bench.executor.start if come_back == "start" else bench.executor.adopt)(spec)
        assert (await bench.recorder.ended(spec.attempt_id)).exit_code == 4
        assert bench.sink.messages(spec) == ["once"]

    @on_loop
    async def test_stop_of_a_created_container_keeps_it_from_starting(
        self, yard: ExecutorYard, socket_path: str, yard_id: str
    ) -> None:
        bench = await yard.open()
        spec = yard.spec(FOREVER)
        kind = bench.probe.engine.split()[0]
        draft = compose(spec, yard_id=yard_id, policy=Policy(), host=Host(kind=kind))
        name = urllib.parse.quote(f"batchyard-{yard_id[:8]}-{spec.attempt_id}")
        target = f"/v1.41/containers/create?name={name}"
        assert Raw(socket_path).call("POST", target, draft.body)[0] == 201
        await bench.executor.adopt(spec)
        await bench.executor.stop(spec.attempt_id)
        assert isinstance(await bench.recorder.terminal(spec.attempt_id), StartFailed | Lost)

    @on_loop
    async def test_a_container_removed_by_somebody_else_is_lost(
        self, yard: ExecutorYard, socket_path: str
    ) -> None:
        bench = await yard.open()
        spec = yard.spec(FOREVER)
        await bench.executor.start(spec)
        handle = (await bench.recorder.started(spec.attempt_id)).handle
        await asyncio.to_thread(
            Raw(socket_path).call, "DELETE", f"/v1.41/containers/{handle}?force=1"
        )
        final = await bench.recorder.terminal(spec.attempt_id)
        # The engine may be seen between the kill and the removal.
        assert isinstance(final, Lost) or (isinstance(final, Ended) and final.exit_code == 137)

    @on_loop
    async def test_a_child_killed_for_memory_is_only_a_note(self, yard: ExecutorYard) -> None:
        bench = await yard.open()
        script = "dd if=/dev/zero of=/dev/null bs=512M count=1; echo survived"
        spec = yard.spec(command=("sh", "-c", script), memory_mib=64)
        ended = await bench.run(spec)
        assert (ended.exit_code, ended.reason) == (0, None)
        assert "survived" in bench.sink.messages(spec)
        if bench.probe.engine.startswith("docker"):
            assert ended.notes == (
                "a child process was killed for memory; the main process succeeded",
            )

    @on_loop
    async def test_two_yards_do_not_see_each_other(
        self, yard: ExecutorYard, socket_path: str
    ) -> None:
        bench = await yard.open()
        spec = yard.spec(FOREVER)
        await bench.executor.start(spec)
        other = DockerExecutor(yard_id=str(uuid.uuid4()), logs=yard.sink, socket=socket_path)
        await other.open(bench.recorder)
        try:
            assert await other.list() == []
        finally:
            await other.close()

"""The process executor passes the suite, with control groups and without."""

import os
import pwd
import resource
from pathlib import Path

import pytest
import uvloop

from batchyard.executors.policy import Policy
from batchyard.executors.port import Mount, Started, StartFailed, Ulimit
from batchyard.executors.process.executor import ProcessExecutor
from conformance.ports.executor_exercise import CommandExercise, ExecutorYard, Job, on_loop


class TestWithControlGroups(CommandExercise):
    """Falls back by itself where no groups can be made; then memory is tried below."""

    @pytest.fixture
    def yard(self, tmp_path: Path) -> ExecutorYard:
        return ExecutorYard(
            make=lambda sink: ProcessExecutor(home=tmp_path / "yard", sink=sink),
            loop_factory=uvloop.new_event_loop,
        )

    @on_loop
    async def test_out_of_memory(self, yard: ExecutorYard) -> None:
        bench = await yard.open()
        spec = yard.spec(
            command=("sh", "-c", "exec dd if=/dev/zero of=/dev/null bs=512M count=1"), memory_mib=64
        )
        ended = await bench.run(spec)
        if "cgroup" in bench.probe.engine:
            assert ended.exit_code == 137
            assert ended.reason == "OutOfMemoryError: Container killed due to memory usage"
        else:
            assert ended.exit_code == 1
            assert any("memory is limited for each process" in note for note in ended.notes)

    @on_loop
    async def test_a_child_killed_for_memory_is_a_note_when_survived(
        self, yard: ExecutorYard
    ) -> None:
        bench = await yard.open()
        script = "dd if=/dev/zero of=/dev/null bs=512M count=1; echo survived"
        spec = yard.spec(command=("sh", "-c", script), memory_mib=64)
        ended = await bench.run(spec)
        assert "survived" in bench.sink.messages(spec)
        assert (ended.exit_code, ended.reason) == (0, None)
        killed = any("killed for memory" in note for note in ended.notes)
        assert killed == ("cgroup" in bench.probe.engine)


class TestWithRlimits(CommandExercise):
    @pytest.fixture
    def yard(self, tmp_path: Path) -> ExecutorYard:
        return ExecutorYard(
            make=lambda sink: ProcessExecutor(home=tmp_path, sink=sink, use_cgroups=False)
        )

    @on_loop
    async def test_out_of_memory(self, yard: ExecutorYard) -> None:
        """No kill here: the allocation fails, and the job says how it takes that."""
        bench = await yard.open()
        assert bench.probe.engine == "process (rlimits)"
        spec = yard.spec(
            command=("dd", "if=/dev/zero", "of=/dev/null", "bs=512M", "count=1"), memory_mib=64
        )
        ended = await bench.run(spec)
        assert (ended.exit_code, ended.reason) == (1, None)
        assert "memory" in " ".join(bench.sink.messages(spec))

    @on_loop
    async def test_ulimits_and_the_limit_of_memory_together(self, yard: ExecutorYard) -> None:
        bench = await yard.open()
        spec = yard.spec(
            command=("sh", "-c", "ulimit -n; ulimit -d"),
            ulimits=(Ulimit(name="nofile", soft=100, hard=200),),
            memory_mib=64,
        )
        await bench.run(spec)
        assert bench.sink.messages(spec) == ["100", str(64 * 1024)]


class TestWhatAJobFinds:
    @pytest.fixture
    def yard(self, tmp_path: Path) -> ExecutorYard:
        return ExecutorYard(make=lambda sink: ProcessExecutor(home=tmp_path, sink=sink))

    @on_loop
    async def test_a_scratch_folder_of_its_own(self, yard: ExecutorYard, tmp_path: Path) -> None:
        bench = await yard.open()
        spec = yard.spec(command=("sh", "-c", "pwd; echo $HOME; echo $TMPDIR; mkdir -p a/b; ls"))
        await bench.run(spec)
        work = str(tmp_path / "attempts" / spec.attempt_id / "work")
        assert bench.sink.messages(spec) == [work, work, work, "a"]

    @on_loop
    async def test_no_signal_is_held_back_or_ignored(self, yard: ExecutorYard) -> None:
        bench = await yard.open()
        spec = yard.spec(command=("grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status"))
        await bench.run(spec)
        masks = [int(line.split()[1], 16) for line in bench.sink.messages(spec)]
        # Above 31 lie the C library's own signals, which its posix_spawn sets aside.
        assert [mask & 0x7FFF_FFFF for mask in masks] == [0, 0]

    @on_loop
    async def test_no_file_of_the_shim_is_open(self, yard: ExecutorYard) -> None:
        bench = await yard.open()
        # `ls` itself opens the folder it lists.
        spec = yard.spec(command=("ls", "/proc/self/fd"))
        await bench.run(spec)
        assert bench.sink.messages(spec) == ["0", "1", "2", "3"]

    @on_loop
    async def test_the_limit_of_open_files_is_what_the_server_had(self, yard: ExecutorYard) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        lowered = min(soft, 777)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowered, hard))
        try:
            bench = await yard.open()
            spec = yard.spec(command=("sh", "-c", "ulimit -Sn"))
            await bench.run(spec)
            assert bench.sink.messages(spec) == [str(lowered)]
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    @on_loop
    async def test_the_environment_is_in_no_argument_list(self, yard: ExecutorYard) -> None:
        bench = await yard.open()
        spec = yard.spec(
            command=("sh", "-c", "echo ready; sleep 3600"), environment={"TOKEN": "s3cr3t-value"}
        )
        await bench.executor.start(spec)
        await bench.printed(spec, "ready")
        for name in filter(str.isdecimal, os.listdir("/proc")):
            try:
                arguments = Path(f"/proc/{name}/cmdline").read_bytes()
            except (FileNotFoundError, ProcessLookupError):
                continue
            assert b"s3cr3t-value" not in arguments, arguments

    @on_loop
    async def test_gpus_it_was_given(self, yard: ExecutorYard) -> None:
        bench = await yard.open()
        spec = yard.spec(command=("sh", "-c", "echo $CUDA_VISIBLE_DEVICES"), gpu_ids=("1", "3"))
        await bench.run(spec)
        assert bench.sink.messages(spec) == ["1,3"]

    @on_loop
    async def test_an_environment_larger_than_a_packet(self, yard: ExecutorYard) -> None:
        bench = await yard.open()
        environment = {f"V{number}": "x" * 10_000 for number in range(60)}
        spec = yard.spec(command=("sh", "-c", "env | grep -c ^V"), environment=environment)
        await bench.run(spec)
        assert bench.sink.messages(spec) == ["60"]

    @pytest.mark.parametrize(
        ("over", "says"),
        [
            ({"command": ("",)}, "executable file not found in $PATH"),
            ({"command": ("no-such-program",)}, "executable file not found in $PATH"),
            ({"command": ("/etc/passwd",)}, "permission denied"),
            ({"command": ("/",)}, "permission denied"),
            ({"command": ("a\0b",)}, "null"),
            ({"command": ()}, "no command"),
            ({"environment": {"A=B": "x"}}, "environment"),
            ({"environment": {"A": "x\0"}}, "null"),
            ({"command": ("sh", "x" * 200_000)}, "argument list too long"),
        ],
    )
    @on_loop
    async def test_what_cannot_start_says_why(
        self, yard: ExecutorYard, over: dict[str, object], says: str
    ) -> None:
        bench = await yard.open()
        spec = yard.spec(**over)  # type: ignore[arg-type]
        await bench.executor.start(spec)
        final = await bench.recorder.terminal(spec.attempt_id)
        assert isinstance(final, StartFailed)
        assert final.reason.startswith("CannotStartContainerError: ")
        assert says in final.reason


class TestWhatAMachineCannotHonour:
    @pytest.fixture
    def yard(self, tmp_path: Path) -> ExecutorYard:
        return ExecutorYard(make=lambda sink: ProcessExecutor(home=tmp_path, sink=sink))

    @on_loop
    async def test_it_is_said_at_the_start_and_on_the_job(self, yard: ExecutorYard) -> None:
        bench = await yard.open()
        assert any("`image` of a job is not used" in warning for warning in bench.probe.warnings)
        spec = yard.spec(
            Job(run_for_s=0.2),
            privileged=True,
            read_only_root=True,
            network_mode="none",
            shared_memory_mib=64,
            user="nobody-of-this-name",
            mounts=(Mount(target="/data", source="/srv"), Mount(target="/tmp", source="/tmp")),
            ulimits=(Ulimit(name="nofile", soft=10**9, hard=10**9),),
        )
        await bench.executor.start(spec)
        started = await bench.recorder.started(spec.attempt_id)
        assert isinstance(started, Started)
        assert all(note.startswith("degraded: ") for note in started.notes)
        text = "\n".join(started.notes)
        for said in (
            f"image {spec.image} is not used",
            "privileged",
            "readonlyRootFilesystem",
            "network mode none",
            "sharedMemorySize",
            "user nobody-of-this-name does not exist",
            "/srv is not mounted at /data",
            "ulimit nofile 1000000000:1000000000 is lowered to",
        ):
            assert said in text
        assert "/tmp" not in text
        assert (await bench.recorder.ended(spec.attempt_id)).exit_code == 0

    @on_loop
    async def test_another_user_where_root_can_give_one(self, yard: ExecutorYard) -> None:
        bench = await yard.open()
        spec = yard.spec(command=("sh", "-c", "id -u; touch mine"), user="nobody")
        ended = await bench.run(spec)
        assert ended.exit_code == 0
        uid = pwd.getpwnam("nobody").pw_uid
        if os.geteuid() in {0, uid}:
            assert bench.sink.messages(spec) == [str(uid)]
        else:
            assert bench.sink.messages(spec) == [str(os.geteuid())]
            assert any("only a yard run by root" in note for note in ended.notes)

    @pytest.mark.parametrize("verdict", ["deny", "allow"])
    @on_loop
    async def test_a_strict_policy_fails_the_attempt_for_good(
        self, yard: ExecutorYard, tmp_path: Path, verdict: str
    ) -> None:
        strict = Policy(volumes=verdict)  # type: ignore[arg-type]
        yard = ExecutorYard(
            make=lambda sink: ProcessExecutor(home=tmp_path, sink=sink, policy=strict)
        )
        bench = await yard.open()
        spec = yard.spec(mounts=(Mount(target="/data", source="/srv"),))
        await bench.executor.start(spec)
        first = await bench.recorder.terminal(spec.attempt_id)
        assert isinstance(first, StartFailed)
        assert "/srv is not mounted at /data" in first.reason
        bench = await yard.reopen()
        await bench.executor.adopt(spec)
        again = await bench.recorder.terminal(spec.attempt_id)
        assert isinstance(again, StartFailed)
        assert again.reason == first.reason
        await yard.tear_down(failed=False)

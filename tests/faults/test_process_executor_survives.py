"""Whatever of the process executor is killed: no attempt runs twice, every exit code is true."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from batchyard.executors.port import AttemptSpec, Ended, Lost, StartFailed
from batchyard.executors.process import claim
from batchyard.executors.process.executor import ProcessExecutor
from conformance.ports.executor_exercise import (
    FOREVER,
    Bench,
    ExecutorYard,
    Job,
    eventually,
    on_loop,
)

DOOMED = Path(__file__).with_name("doomed_process_yard.py")


@pytest.fixture
def yard(tmp_path: Path) -> ExecutorYard:
    return ExecutorYard(make=lambda sink: ProcessExecutor(home=tmp_path, sink=sink))


def ledger_job(yard: ExecutorYard, ledger: Path, number: int) -> AttemptSpec:
    """Writes its number to a file once, lives for a moment, exits with its number."""
    script = f"echo {number} >> {ledger}; echo I am {number}; sleep 0.{number % 7}; exit {number}"
    return yard.spec(command=("sh", "-c", script))


def spawner_pid(home: Path) -> int:
    """The only child of this process that was started for this home's log."""
    for name in os.listdir("/proc"):
        fields = claim.stat_fields(name) if name.isdecimal() else None
        if fields is not None and int(fields[1]) == os.getpid():
            try:
                target = os.readlink(f"/proc/{name}/fd/2")
            except OSError:
                continue
            if target == f"{home}/spawner.log":
                return int(name)
    raise AssertionError("no spawner")


def shim_pid(home: Path, spec: AttemptSpec) -> int:
    identity = claim.parse(os.readlink(home / "attempts" / spec.attempt_id / "claim"))
    assert identity is not None
    return identity.pid


class TestKilledServer:
    @pytest.mark.parametrize("after", [0, 1, 7, 20, 40])
    @on_loop
    async def test_nothing_is_lost_and_nothing_runs_twice(
        self, yard: ExecutorYard, tmp_path: Path, after: int
    ) -> None:
        ledger = tmp_path / "ledger"
        specs = [ledger_job(yard, ledger, number) for number in range(40)]
        request = tmp_path / "specs.json"
        request.write_bytes(msgspec.json.encode(specs))
        server = subprocess.Popen(
            [sys.executable, str(DOOMED), str(tmp_path), str(request)], stdout=subprocess.PIPE
        )
        assert server.stdout is not None
        for _ in range(after):
            assert server.stdout.readline()
        server.send_signal(signal.SIGKILL)
        acknowledged = after + len(server.stdout.read().split())
        server.wait()
        server.stdout.close()
        bench = await yard.open()
        for number, spec in enumerate(specs):
            # What the yard knows to be started is adopted; what it does not know, is started.
            act = bench.executor.adopt if number < acknowledged else bench.executor.start
            await act(spec)
        for number, spec in enumerate(specs):
            assert (await bench.recorder.ended(spec.attempt_id)).exit_code == number
            assert bench.sink.messages(spec) == [f"I am {number}"]
        assert sorted(map(int, ledger.read_text().split())) == list(range(40))


class TestKilledSpawner:
    @on_loop
    async def test_running_attempts_go_on_and_new_ones_start(
        self, yard: ExecutorYard, tmp_path: Path
    ) -> None:
        bench = await yard.open()
        before = [yard.spec(Job(prints=("ready",), run_for_s=1, exit_code=n)) for n in range(5)]
        for spec in before:
            await bench.executor.start(spec)
            await bench.printed(spec, "ready")
        os.kill(spawner_pid(tmp_path), signal.SIGKILL)
        after = [yard.spec(Job(prints=("ready",), exit_code=n)) for n in range(5)]
        for spec in after:
            await bench.executor.start(spec)
        for number, spec in enumerate([*before, *after]):
            assert (await bench.recorder.ended(spec.attempt_id)).exit_code == number % 5
            assert bench.sink.messages(spec) == ["ready"]

    @on_loop
    async def test_a_stop_before_the_claim_means_never(
        self, yard: ExecutorYard, tmp_path: Path
    ) -> None:
        bench = await yard.open()
        spawner = spawner_pid(tmp_path)
        os.kill(spawner, signal.SIGSTOP)
        try:
            spec = yard.spec(FOREVER)
            await bench.executor.start(spec)
            assert (await bench.listed(spec.attempt_id)).state == "created"  # type: ignore[union-attr]
            await bench.executor.stop(spec.attempt_id)
            final = await bench.recorder.terminal(spec.attempt_id)
        finally:
            os.kill(spawner, signal.SIGCONT)
        assert isinstance(final, StartFailed)
        assert "stopped before" in final.reason
        other = yard.spec(Job())
        await bench.run(other)
        assert bench.sink.messages(spec) == []
        assert not (tmp_path / "attempts" / spec.attempt_id / "output").exists()


class TestKilledShim:
    async def _start_tree(self, yard: ExecutorYard, bench: Bench) -> tuple[AttemptSpec, list[int]]:
        """A command with a child in another process group; their pids."""
        # A shell without a terminal remarks on `set -m`; its groups are its own all the same.
        script = "set -m; (trap '' TERM HUP; sleep 3600) & echo pids $$ $!; wait"
        spec = yard.spec(command=("sh", "-c", script))
        await bench.executor.start(spec)
        await eventually(
            lambda: any(line.startswith("pids ") for line in bench.sink.messages(spec)),
            "the pids of the command",
        )
        return spec, [int(pid) for pid in bench.sink.messages(spec)[-1].split()[1:]]

    @on_loop
    async def test_lost_and_its_command_is_ended(self, yard: ExecutorYard, tmp_path: Path) -> None:
        bench = await yard.open()
        spec, pids = await self._start_tree(yard, bench)
        os.kill(shim_pid(tmp_path, spec), signal.SIGKILL)
        assert isinstance(await bench.recorder.terminal(spec.attempt_id), Lost)
        await eventually(lambda: not any(map(alive, pids)), f"the end of {pids}")

    @on_loop
    async def test_found_dead_after_a_restart(self, yard: ExecutorYard, tmp_path: Path) -> None:
        bench = await yard.open()
        spec, pids = await self._start_tree(yard, bench)
        bench = await yard.reopen()
        os.kill(shim_pid(tmp_path, spec), signal.SIGKILL)
        await bench.executor.adopt(spec)
        assert isinstance(await bench.recorder.terminal(spec.attempt_id), Lost)
        await eventually(lambda: not any(map(alive, pids)), f"the end of {pids}")

    @on_loop
    async def test_an_idle_shim_that_dies_is_replaced(
        self, yard: ExecutorYard, tmp_path: Path
    ) -> None:
        bench = await yard.open()
        first = yard.spec(Job())
        await bench.run(first)
        os.kill(shim_pid(tmp_path, first), signal.SIGKILL)
        second = yard.spec(Job(exit_code=2))
        assert (await bench.run(second)).exit_code == 2


class TestFoldersFoundAtStart:
    @on_loop
    async def test_no_claim_yet_is_started(self, yard: ExecutorYard, tmp_path: Path) -> None:
        spec = yard.spec(Job(prints=("once",), exit_code=4))
        (tmp_path / "attempts" / spec.attempt_id).mkdir(parents=True)
        bench = await yard.open()
        await bench.executor.adopt(spec)
        assert (await bench.recorder.ended(spec.attempt_id)).exit_code == 4
        assert bench.sink.messages(spec) == ["once"]

    @pytest.mark.parametrize("boot", ["this", "another"])
    @on_loop
    async def test_a_claim_of_a_process_that_is_no_more(
        self, yard: ExecutorYard, tmp_path: Path, boot: str
    ) -> None:
        spec = yard.spec(Job(prints=("once",)))
        folder = tmp_path / "attempts" / spec.attempt_id
        folder.mkdir(parents=True)
        # Our own pid lives, but did not start at that time or in that boot.
        own = claim.identify(os.getpid(), claim.boot_id())
        assert own is not None
        other = own._replace(start_time=1) if boot == "this" else own._replace(boot_id="0-0")
        (folder / "claim").symlink_to(other.text())
        (folder / "output").write_text("said before\n")
        bench = await yard.open()
        await bench.executor.adopt(spec)
        assert isinstance(await bench.recorder.terminal(spec.attempt_id), Lost)
        assert bench.sink.messages(spec) == ["said before"]

    @on_loop
    async def test_taken_for_nobody_and_not_written_down(
        self, yard: ExecutorYard, tmp_path: Path
    ) -> None:
        spec = yard.spec(FOREVER)
        folder = tmp_path / "attempts" / spec.attempt_id
        folder.mkdir(parents=True)
        (folder / "claim").symlink_to(claim.NOBODY)
        bench = await yard.open()
        await bench.executor.adopt(spec)
        assert isinstance(await bench.recorder.terminal(spec.attempt_id), StartFailed)

    @on_loop
    async def test_a_removal_that_was_interrupted_is_finished(
        self, yard: ExecutorYard, tmp_path: Path
    ) -> None:
        half = tmp_path / "attempts" / ".gone-x.a1" / "work" / "deep"
        half.mkdir(parents=True)
        bench = await yard.open()
        assert await bench.executor.list() == []
        await eventually(lambda: not half.parent.parent.exists(), "the end of the half-removed")


class TestStopsOfOthers:
    @on_loop
    async def test_a_late_stop_does_not_reach_the_next_attempt(
        self, yard: ExecutorYard, tmp_path: Path
    ) -> None:
        bench = await yard.open()
        first = yard.spec(Job())
        await bench.run(first)
        second = yard.spec(Job(prints=("ready",), run_for_s=0.5, exit_code=6))
        await bench.executor.start(second)
        await bench.printed(second, "ready")
        assert shim_pid(tmp_path, first) == shim_pid(tmp_path, second), "the shim was not reused"
        os.kill(shim_pid(tmp_path, first), signal.SIGTERM)
        final = await bench.recorder.terminal(second.attempt_id)
        assert isinstance(final, Ended)
        assert final.exit_code == 6


def alive(pid: int) -> bool:
    fields = claim.stat_fields(pid)
    return fields is not None and fields[0] not in {"Z", "X"}


def test_asyncio_is_not_loaded_by_the_spawner() -> None:
    """The spawner is copied for each shim: it must stay small."""
    code = (
        "import sys; sys.path.append(sys.argv[1]);"
        " import batchyard.executors.process.spawner;"
        " print(sorted({'asyncio', 'msgspec', 'logging'} & set(sys.modules)))"
    )
    root = Path(claim.__file__).parents[3]
    ran = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, str(root)], capture_output=True, text=True
    )
    assert (ran.stdout.strip(), ran.stderr) == ("[]", "")

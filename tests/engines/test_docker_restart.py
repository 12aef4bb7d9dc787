"""The engine itself dies and comes back."""

import asyncio
from pathlib import Path

import pytest

from batchyard.executors.port import AttemptSpec, Lost, Mount, Started
from batchyard.kernel.faults import EngineUnavailable
from conformance.ports.executor_exercise import ExecutorYard, Job, eventually, on_loop
from engines.forgetful_daemon import (
    command,
    first_process,
    yard_on,
)
from engines.own_daemon import OwnDaemon

pytestmark = pytest.mark.engine


@pytest.fixture
def yard(daemon: OwnDaemon) -> ExecutorYard:
    return yard_on(daemon)


class TestEngineRestart:
    @on_loop
    async def test_jobs_outlive_a_killed_daemon(
        self, yard: ExecutorYard, daemon: OwnDaemon, tmp_path: Path
    ) -> None:
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


class TestEndsNobodySaw:
    """An exit code that the daemon makes up, and those that look the same and are true."""

    @pytest.mark.parametrize("knows", ["nothing", "the container"])
    @on_loop
    async def test_a_made_up_exit_code_is_not_believed(
        self, yard: ExecutorYard, daemon: OwnDaemon, knows: str, tmp_path: Path
    ) -> None:
        """The daemon dies as it takes note of an end: it comes back with 0 or 255."""
        bench = await yard.open()
        spec = waits_for(yard, tmp_path / "open", then="exit 9")
        await bench.executor.start(spec)
        await bench.recorder.started(spec.attempt_id)
        container, first = await first_process(bench, spec)
        daemon.freeze()
        (tmp_path / "open").touch()
        await eventually(lambda: not command(first), "the end of the job")
        await asyncio.to_thread(daemon.forget, container, task_only=knows == "the container")
        await asyncio.to_thread(daemon.kill)
        await asyncio.to_thread(daemon.start)

        lost = await bench.recorder.terminal(spec.attempt_id)
        assert isinstance(lost, Lost)
        assert "does not know how" in lost.detail
        # Whoever asks before the loss is written down must hear the same.
        bench = await yard.reopen()
        await bench.executor.adopt(spec)
        assert isinstance(await bench.recorder.terminal(spec.attempt_id), Lost)

    @pytest.mark.parametrize("exit_code", [0, 255])
    @on_loop
    async def test_an_end_that_the_daemon_saw_is_believed(
        self, yard: ExecutorYard, daemon: OwnDaemon, exit_code: int, tmp_path: Path
    ) -> None:
        bench = await yard.open()
        spec = waits_for(yard, tmp_path / "open", then=f"exit {exit_code}")
        away = waits_for(yard, tmp_path / "open-too", then=f"exit {exit_code}")
        for one in (spec, away):
            await bench.executor.start(one)
            await bench.recorder.started(one.attempt_id)
        _, first = await first_process(bench, away)
        await asyncio.to_thread(daemon.kill)
        (tmp_path / "open-too").touch()
        await eventually(lambda: not command(first), "the end of the other job")
        await asyncio.sleep(0.1)  # the clock of /proc has ticks of 10 ms
        await asyncio.to_thread(daemon.start)
        await eventually(daemon.answers, "the daemon to come back")
        await bench.executor.list()  # it has its containers back
        (tmp_path / "open").touch()
        assert (await bench.recorder.ended(spec.attempt_id)).exit_code == exit_code
        assert (await bench.recorder.ended(away.attempt_id)).exit_code == exit_code


def waits_for(yard: ExecutorYard, file: Path, *, then: str) -> AttemptSpec:
    script = f"while ! test -e {file}; do sleep 0.05; done; {then}"
    mount = Mount(target=str(file.parent), source=str(file.parent))
    return yard.spec(command=("sh", "-c", script), mounts=(mount,))

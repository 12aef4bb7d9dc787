"""The engine itself dies and comes back."""

import asyncio
import contextlib
import os
import signal
from pathlib import Path

import pytest

from batchyard.executors.port import AttemptSpec, Lost, Mount, Started
from batchyard.kernel.faults import EngineUnavailable
from conformance.ports.executor_exercise import Bench, ExecutorYard, Job, eventually, on_loop
from engines.forgetful_daemon import (
    ForgetfulDaemon,
    command,
    ended,
    forget_a_running_container,
    processes_of,
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


class TestForgottenStart:
    """A start that the daemon was killed in: the job runs, and the daemon does not know."""

    @pytest.fixture
    def forgetful(self, daemon: OwnDaemon) -> ForgetfulDaemon:
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


class TestEndsNobodySaw:
    """An exit code that the daemon makes up, and those that look the same and are true."""

    @pytest.fixture
    def yard(self, daemon: OwnDaemon) -> ExecutorYard:
        return yard_on(daemon)

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


class TestLateStart:
    """Containerd's word of a start reaches a daemon that has forgotten the start."""

    @pytest.fixture
    def forgetful(self, daemon: OwnDaemon) -> ForgetfulDaemon:
        return ForgetfulDaemon(daemon)

    @pytest.fixture
    def yard(self, daemon: OwnDaemon, forgetful: ForgetfulDaemon) -> ExecutorYard:
        return yard_on(daemon, forgetful.fail)

    @on_loop
    async def test_one_that_has_ended_by_then_is_lost(
        self, yard: ExecutorYard, daemon: OwnDaemon, forgetful: ForgetfulDaemon, tmp_path: Path
    ) -> None:
        """The word of its end came before that of its start: it is `running` for ever."""
        bench, spec, living = await forget_a_running_container(
            yard, forgetful, tmp_path, exit_code=None
        )
        container, first = await first_process(bench, spec)
        os.kill(first, signal.SIGKILL)
        await eventually(lambda: not command(first), "the end of the job")
        await asyncio.to_thread(daemon.tell_of_a_start, container, first)
        await state_is(bench, spec, "running")

        await bench.executor.adopt(spec)
        lost = await bench.recorder.terminal(spec.attempt_id)
        assert isinstance(lost, Lost)
        assert "missed its end" in lost.detail
        # Whoever asks before the loss is written down must hear the same.
        bench = await yard.reopen()
        await bench.executor.start(spec)
        assert isinstance(await bench.recorder.terminal(spec.attempt_id), Lost)
        await bench.executor.remove(spec.attempt_id)
        assert await bench.executor.list() == []
        await eventually(lambda: all(map(ended, living)), "the end of every process")

    @on_loop
    async def test_one_that_lives_is_seen_to_its_end(
        self, yard: ExecutorYard, daemon: OwnDaemon, forgetful: ForgetfulDaemon, tmp_path: Path
    ) -> None:
        bench, spec, _ = await forget_a_running_container(yard, forgetful, tmp_path, exit_code=None)
        container, first = await first_process(bench, spec)
        await asyncio.to_thread(daemon.tell_of_a_start, container, first)
        await state_is(bench, spec, "running")

        await bench.executor.adopt(spec)
        await bench.recorder.started(spec.attempt_id)
        await asyncio.sleep(5)  # more than it takes to call one lost
        assert command(first)
        assert len(bench.recorder.of(spec.attempt_id)) == 1
        os.kill(first, signal.SIGKILL)
        assert (await bench.recorder.ended(spec.attempt_id)).exit_code == 137


async def first_process(bench: Bench, spec: AttemptSpec) -> tuple[str, int]:
    """A container's id, and the process whose end is its end."""
    sighting = await bench.listed(spec.attempt_id)
    assert sighting is not None
    (first,) = [pid for pid in processes_of(sighting.handle) if command(pid) == "docker-init"]
    return sighting.handle, first


async def state_is(bench: Bench, spec: AttemptSpec, state: str) -> None:
    async with asyncio.timeout(30):
        while True:
            listed = await bench.listed(spec.attempt_id)
            if listed is not None and listed.state == state:
                return
            await asyncio.sleep(0.02)

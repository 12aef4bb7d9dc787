"""A daemon comes back that was killed while it started a container."""

import asyncio
import contextlib
import os
import signal
from pathlib import Path

import pytest

from batchyard.executors.port import Lost
from batchyard.kernel.faults import EngineUnavailable
from conformance.ports.executor_exercise import ExecutorYard, Job, eventually, on_loop
from engines.forgetful_daemon import (
    ForgetfulDaemon,
    command,
    ended,
    first_process,
    forget_a_running_container,
    state_is,
    yard_on,
)
from engines.own_daemon import OwnDaemon

pytestmark = pytest.mark.engine


@pytest.fixture
def forgetful(daemon: OwnDaemon) -> ForgetfulDaemon:
    return ForgetfulDaemon(daemon)


@pytest.fixture
def yard(daemon: OwnDaemon, forgetful: ForgetfulDaemon) -> ExecutorYard:
    return yard_on(daemon, forgetful.fail)


class TestForgottenStart:
    """A start that the daemon was killed in: the job runs, and the daemon does not know."""

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


class TestLateStart:
    """Containerd's word of a start reaches a daemon that has forgotten the start."""

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

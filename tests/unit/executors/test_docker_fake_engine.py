"""The driver against an engine that misbehaves on purpose, over a real Unix socket."""

import asyncio
from pathlib import Path

import pytest

from batchyard.executors.port import Ended, Lost, Started, StartFailed
from batchyard.kernel.faults import EngineUnavailable
from unit.executors.fake_engine import Scene, play, spec


def test_the_oldest_api_the_engine_still_speaks_is_used(tmp_path: Path) -> None:
    async def story(stage: Scene) -> None:
        assert set(stage.engine.api) == {"v1.44"}

    play(tmp_path, story)


def test_a_slow_create_is_the_timeout_ecs_reports(tmp_path: Path) -> None:
    async def story(stage: Scene) -> None:
        stage.engine.create_hangs = True
        await stage.executor.start(spec())
        (failed,) = await stage.see(StartFailed)
        assert failed.reason == (
            "DockerTimeoutError: Could not transition to created; timed out after waiting 1s"
        )

    play(tmp_path, story, create_timeout_s=0.2)


def test_attempts_that_need_one_image_share_its_pull(tmp_path: Path) -> None:
    async def story(stage: Scene) -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(5):
                group.create_task(stage.executor.start(spec(number, image="far:2")))
            while not stage.engine.pulls:  # noqa: ASYNC110  # the fake counts, it does not signal
                await asyncio.sleep(0.01)
            stage.engine.pull_may_end.set()
        await stage.see(Started, 5)
        assert stage.engine.pulls == 1

    play(tmp_path, story)


def test_a_failed_pull_is_told_in_the_engines_words(tmp_path: Path) -> None:
    async def story(stage: Scene) -> None:
        stage.engine.pull_failure = "manifest for far:2 not found: manifest unknown"
        stage.engine.pull_may_end.set()
        await stage.executor.start(spec(image="far:2"))
        (failed,) = await stage.see(StartFailed)
        assert failed.reason == (
            "CannotPullContainerError: Error response from daemon: "
            "manifest for far:2 not found: manifest unknown"
        )

    play(tmp_path, story)


def test_a_stop_during_a_pull_is_heeded_at_once(tmp_path: Path) -> None:
    async def story(stage: Scene) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(stage.executor.start(spec(image="far:2")))
            while not stage.engine.pulls:  # noqa: ASYNC110  # the fake counts, it does not signal
                await asyncio.sleep(0.01)
            doing = stage.executor.doing("job-1.a1")
            assert doing is not None
            assert doing.what == "pulls the image far:2"
            await stage.executor.stop("job-1.a1")
        (failed,) = await stage.see(StartFailed)
        assert "stopped before" in failed.reason
        assert stage.executor.doing("job-1.a1") is None
        assert stage.engine.containers == {}

    play(tmp_path, story)


def test_an_end_in_a_gap_of_the_events_is_found(tmp_path: Path) -> None:
    async def story(stage: Scene) -> None:
        await stage.executor.start(spec())
        await stage.see(Started)
        await stage.engine.subscribed.wait()
        assert stage.executor.doing("job-1.a1") is None
        assert stage.executor.trouble() is None
        stage.engine.end(4)
        stage.engine.cut_events()
        (ended,) = await stage.see(Ended)
        assert (ended.exit_code, ended.at_ms - ended.started_at_ms) == (4, 9000)

    play(tmp_path, story)


def test_an_engine_that_is_away_is_trouble_until_it_answers(tmp_path: Path) -> None:
    async def story(stage: Scene) -> None:
        await stage.engine.subscribed.wait()
        assert stage.executor.trouble() is None
        stage.engine.events_away = True
        stage.engine.cut_events()
        while "starting up" not in str(stage.executor.trouble()):  # noqa: ASYNC110  # it is asked, it does not signal
            await asyncio.sleep(0.01)
        stage.engine.events_away = False
        while stage.executor.trouble() is not None:  # noqa: ASYNC110
            await asyncio.sleep(0.01)

    play(tmp_path, story)


def test_a_container_that_vanished_is_lost(tmp_path: Path) -> None:
    async def story(stage: Scene) -> None:
        await stage.executor.start(spec())
        await stage.see(Started)
        await stage.engine.subscribed.wait()
        stage.engine.containers.clear()
        stage.engine.cut_events()
        await stage.see(Lost)

    play(tmp_path, story)


def test_a_refusal_for_now_is_not_the_jobs_fault(tmp_path: Path) -> None:
    async def story(stage: Scene) -> None:
        stage.engine.start_answers = [(503, "the daemon is shutting down")]
        with pytest.raises(EngineUnavailable):
            await stage.executor.start(spec())
        assert stage.seen == []
        await stage.executor.start(spec())
        await stage.see(Started)

    play(tmp_path, story)


def test_a_privilege_the_host_refuses_is_tried_only_once(tmp_path: Path) -> None:
    async def story(stage: Scene) -> None:
        stage.engine.start_answers = [(500, "unable to apply caps: operation not permitted")]
        await stage.executor.start(spec(1, privileged=True))
        (first,) = await stage.see(Started)
        assert first.notes[0].startswith("privileged degraded")
        # Were it tried again, this answer would fail the second job.
        await stage.executor.start(spec(2, privileged=True))
        assert [one.notes for one in await stage.see(Started, 2)] == [first.notes] * 2

    play(tmp_path, story)


def test_what_the_engine_cannot_do_is_said_at_open(tmp_path: Path) -> None:
    async def story(stage: Scene) -> None:
        probe = stage.probe  # type: ignore[attr-defined]
        assert probe.engine == "docker 29.0"
        assert "cannot limit memory" in probe.warnings[0]

    play(tmp_path, story)


@pytest.mark.parametrize(
    "answer", [f"task {'0af1' * 16}: already exists: unknown", "id already in use"]
)
def test_what_runs_without_the_engines_knowledge_is_lost(tmp_path: Path, answer: str) -> None:
    async def story(stage: Scene) -> None:
        stage.engine.start_answers = [(500, answer)]
        await stage.executor.start(spec())
        (lost,) = await stage.see(Lost)
        assert "forgot whether it ran" in lost.detail
        assert not [one for one in stage.seen if not isinstance(one, Lost)]

    play(tmp_path, story)


def test_a_name_that_is_taken_for_another_reason_cannot_start(tmp_path: Path) -> None:
    async def story(stage: Scene) -> None:
        stage.engine.start_answers = [(500, "mkdir /var/lib/x: file already exists")]
        await stage.executor.start(spec())
        (failed,) = await stage.see(StartFailed)
        assert failed.reason.endswith("file already exists")

    play(tmp_path, story)

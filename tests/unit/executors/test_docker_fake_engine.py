"""The driver against an engine that misbehaves on purpose, over a real Unix socket."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from batchyard.executors.docker import DockerExecutor
from batchyard.executors.port import AttemptSpec, Ended, Lost, Observation, Started, StartFailed
from batchyard.kernel.faults import EngineUnavailable
from batchyard.logs.port import LogLine

DEADLINE_S = 20.0


class NoLogs:
    def create(self, group: str, stream: str) -> None:
        pass

    def append(self, group: str, stream: str, lines: Sequence[LogLine]) -> None:
        pass

    def position(self, group: str, stream: str) -> int:
        return 0


class FakeEngine:
    """Containers that start at once and end when told to."""

    def __init__(self) -> None:
        self.containers: dict[str, dict[str, Any]] = {}
        self.images: set[str] = {"here:1"}
        self.pulls = 0
        self.pull_may_end = asyncio.Event()
        self.pull_failure = ""
        self.create_hangs = False
        self.start_answers: list[tuple[int, str]] = []
        self.streams: list[web.StreamResponse] = []
        self.subscribed = asyncio.Event()
        self.api: list[str] = []

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/version", self.version),
            web.get("/{api}/info", self.info),
            web.get("/{api}/events", self.events),
            web.get("/{api}/containers/json", self.listing),
            web.post("/{api}/containers/create", self.create),
            web.get("/{api}/containers/{name}/json", self.inspect),
            web.get("/{api}/containers/{name}/logs", self.logs),
            web.get("/{api}/containers/{name}/archive", self.archive),
            web.post("/{api}/containers/{name}/start", self.start),
            web.delete("/{api}/containers/{name}", self.delete),
            web.post("/{api}/images/create", self.pull),
        ]

    async def version(self, _: web.Request) -> web.Response:
        return web.json_response(
            {"Version": "29.0", "ApiVersion": "1.52", "MinAPIVersion": "1.44", "Components": []}
        )

    async def info(self, request: web.Request) -> web.Response:
        self.api.append(request.match_info["api"])
        return web.json_response({"MemoryLimit": False})

    async def events(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        self.streams.append(response)
        self.subscribed.set()
        await asyncio.Event().wait()
        return response

    def cut_events(self) -> None:
        self.subscribed.clear()
        for response in self.streams:
            request = response._req
            assert request is not None
            assert request.transport is not None
            request.transport.abort()
        self.streams.clear()

    async def listing(self, _: web.Request) -> web.Response:
        return web.json_response(
            [
                {"Id": name, "Labels": one["Config"]["Labels"], "State": one["State"]["Status"]}
                for name, one in self.containers.items()
            ]
        )

    async def create(self, request: web.Request) -> web.Response:
        if self.create_hangs:
            await asyncio.Event().wait()
        body = await request.json()
        if body["Image"] not in self.images:
            return web.json_response({"message": f"No such image: {body['Image']}"}, status=404)
        self.containers[request.query["name"]] = {
            "Id": request.query["name"],
            "Path": "sh",
            "State": {
                "Status": "created",
                "ExitCode": 0,
                "StartedAt": "0001-01-01T00:00:00Z",
                "FinishedAt": "0001-01-01T00:00:00Z",
            },
            "Config": {"Labels": body["Labels"]},
        }
        return web.json_response({"Id": request.query["name"]}, status=201)

    def _one(self, request: web.Request) -> dict[str, Any]:
        found = self.containers.get(request.match_info["name"])
        if found is None:
            raise web.HTTPNotFound(
                text='{"message": "No such container"}', content_type="application/json"
            )
        return found

    async def inspect(self, request: web.Request) -> web.Response:
        return web.json_response(self._one(request))

    async def logs(self, request: web.Request) -> web.Response:
        self._one(request)
        return web.Response(body=b"")

    async def archive(self, request: web.Request) -> web.Response:
        self._one(request)
        return web.Response()

    async def start(self, request: web.Request) -> web.Response:
        if self.start_answers:
            status, message = self.start_answers.pop(0)
            return web.json_response({"message": message}, status=status)
        self._one(request)["State"] |= {"Status": "running", "StartedAt": "2026-01-01T00:00:00Z"}
        return web.Response(status=204)

    def end(self, exit_code: int) -> None:
        for one in self.containers.values():
            one["State"] |= {
                "Status": "exited",
                "ExitCode": exit_code,
                "FinishedAt": "2026-01-01T00:00:09Z",
            }

    async def delete(self, request: web.Request) -> web.Response:
        self._one(request)
        del self.containers[request.match_info["name"]]
        return web.Response(status=204)

    async def pull(self, request: web.Request) -> web.StreamResponse:
        self.pulls += 1
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b'{"status":"Pulling"}\r\n')
        await self.pull_may_end.wait()
        if self.pull_failure:
            failure = {"errorDetail": {"message": self.pull_failure}, "error": self.pull_failure}
            await response.write(json.dumps(failure).encode() + b"\r\n")
        else:
            self.images.add(f"{request.query['fromImage']}:{request.query['tag']}")
        return response


class Scene:
    def __init__(self, engine: FakeEngine, executor: DockerExecutor) -> None:
        self.engine = engine
        self.executor = executor
        self.seen: list[Observation] = []
        self._changed = asyncio.Event()

    def observe(self, observation: Observation) -> None:
        self.seen.append(observation)
        self._changed.set()

    async def see(self, kind: type[Observation], count: int = 1) -> list[Any]:
        while True:
            found = [one for one in self.seen if isinstance(one, kind)]
            if len(found) >= count:
                return found
            self._changed.clear()
            await self._changed.wait()


@asynccontextmanager
async def scene(tmp_path: Path, create_timeout_s: float = 10.0) -> AsyncIterator[Scene]:
    engine = FakeEngine()
    app = web.Application()
    app.add_routes(engine.routes())
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    path = str(tmp_path / "e.sock")
    await web.UnixSite(runner, path).start()
    executor = DockerExecutor(
        yard_id="yard", logs=NoLogs(), socket=path, create_timeout_s=create_timeout_s
    )
    stage = Scene(engine, executor)
    try:
        stage.probe = await executor.open(stage.observe)  # type: ignore[attr-defined]
        yield stage
    finally:
        await executor.close()
        await runner.cleanup()


def play(
    tmp_path: Path, story: Callable[[Scene], Awaitable[None]], *, create_timeout_s: float = 10.0
) -> None:
    async def main() -> None:
        async with asyncio.timeout(DEADLINE_S), scene(tmp_path, create_timeout_s) as stage:
            await story(stage)

    asyncio.run(main())


def spec(number: int = 1, *, image: str = "here:1", **over: Any) -> AttemptSpec:
    return AttemptSpec(
        attempt_id=f"job-{number}.a1", job_id=f"job-{number}", attempt=1, job_name="job",
        image=image, command=("sh",), environment={}, vcpu_milli=1000, memory_mib=64, **over,
    )  # fmt: skip


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
            await stage.executor.stop("job-1.a1")
        (failed,) = await stage.see(StartFailed)
        assert "stopped before" in failed.reason
        assert stage.engine.containers == {}

    play(tmp_path, story)


def test_an_end_in_a_gap_of_the_events_is_found(tmp_path: Path) -> None:
    async def story(stage: Scene) -> None:
        await stage.executor.start(spec())
        await stage.see(Started)
        await stage.engine.subscribed.wait()
        stage.engine.end(4)
        stage.engine.cut_events()
        (ended,) = await stage.see(Ended)
        assert (ended.exit_code, ended.at_ms - ended.started_at_ms) == (4, 9000)

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

"""An engine that misbehaves on purpose, over a real Unix socket, and the driver before it."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from batchyard.executors.docker import DockerExecutor
from batchyard.executors.docker.inspected import LABEL_YARD
from batchyard.executors.port import AttemptSpec, Observation
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
        self.events_away = False
        self.start_answers: list[tuple[int, str]] = []
        self.streams: list[web.StreamResponse] = []
        self.subscribed = asyncio.Event()
        self.api: list[str] = []
        self.release = "29.0"
        self.made: list[str] = []
        """Names of the containers made, oldest first."""
        self.imports: list[bytes] = []

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
            {
                "Version": self.release,
                "ApiVersion": "1.52",
                "MinAPIVersion": "1.44",
                "Components": [],
            }
        )

    async def info(self, request: web.Request) -> web.Response:
        self.api.append(request.match_info["api"])
        return web.json_response({"MemoryLimit": False})

    async def events(self, request: web.Request) -> web.StreamResponse:
        if self.events_away:
            return web.json_response({"message": "starting up"}, status=503)
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
                {
                    "Id": one["Id"],
                    "Labels": one["Config"]["Labels"],
                    "State": one["State"]["Status"],
                }
                for one in self.containers.values()
                if LABEL_YARD in one["Config"]["Labels"]
            ]
        )

    async def create(self, request: web.Request) -> web.Response:
        if self.create_hangs:
            await asyncio.Event().wait()
        body = await request.json()
        if body["Image"] not in self.images:
            return web.json_response({"message": f"No such image: {body['Image']}"}, status=404)
        self.made.append(request.query["name"])
        container_id = f"id-{len(self.made)}"
        self.containers[request.query["name"]] = {
            "Id": container_id,
            "Path": "sh",
            "State": {
                "Status": "created",
                "ExitCode": 0,
                "StartedAt": "0001-01-01T00:00:00Z",
                "FinishedAt": "0001-01-01T00:00:00Z",
            },
            "Config": {"Labels": body["Labels"]},
            "HostConfig": body["HostConfig"],
        }
        return web.json_response({"Id": container_id}, status=201)

    def by_id(self, container_id: str) -> dict[str, Any] | None:
        return next((one for one in self.containers.values() if one["Id"] == container_id), None)

    def _one(self, request: web.Request) -> dict[str, Any]:
        name = request.match_info["name"]
        found = self.containers.get(name) or self.by_id(name)
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
        one = self._one(request)
        joined = one["HostConfig"]["NetworkMode"].partition("container:")[2]
        if joined:
            holder = self.by_id(joined)
            if holder is None:
                return web.json_response({"message": f"No such container: {joined}"}, status=404)
            if holder["State"]["Status"] != "running":
                message = f"cannot join network of a non running container: {joined}"
                return web.json_response({"message": message}, status=409)
        one["State"] |= {"Status": "running", "StartedAt": "2026-01-01T00:00:00Z"}
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
        if request.query.get("fromSrc") == "-":
            self.imports.append(await request.read())
            self.images.add(f"{request.query['repo']}:{request.query['tag']}")
            return web.Response(body=b'{"status":"sha256:0"}\r\n')
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
async def scene(
    tmp_path: Path, create_timeout_s: float = 10.0, release: str = "29.0"
) -> AsyncIterator[Scene]:
    engine = FakeEngine()
    engine.release = release
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
    tmp_path: Path,
    story: Callable[[Scene], Awaitable[None]],
    *,
    create_timeout_s: float = 10.0,
    release: str = "29.0",
) -> None:
    async def main() -> None:
        async with (
            asyncio.timeout(DEADLINE_S),
            scene(tmp_path, create_timeout_s, release) as stage,
        ):
            await story(stage)

    asyncio.run(main())


def spec(number: int = 1, *, image: str = "here:1", **over: Any) -> AttemptSpec:
    return AttemptSpec(
        attempt_id=f"job-{number}.a1", job_id=f"job-{number}", attempt=1, job_name="job",
        image=image, command=("sh",), environment={}, vcpu_milli=1000, memory_mib=64, **over,
    )  # fmt: skip

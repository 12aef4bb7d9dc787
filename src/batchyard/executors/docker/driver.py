"""The Executor on a container engine: what the yard calls. The work is in `bringup` and `watch`."""

import asyncio
import contextlib
import math
import os
from collections.abc import Callable

import structlog

from batchyard.executors.docker.body import Host, container_name
from batchyard.executors.docker.bringup import CREATE_TIMEOUT_S, BringUp, MayHaveRun, NeverStarts
from batchyard.executors.docker.engine import Engine, Refused
from batchyard.executors.docker.host_network import HostNetwork, may_lock_up
from batchyard.executors.docker.images import Puller
from batchyard.executors.docker.inspected import Inspected
from batchyard.executors.docker.sockets import (
    HardLimits,
    candidates,
    first_socket,
    hard_limits,
    peer_pid,
)
from batchyard.executors.docker.tracked import Tasks, Tracked
from batchyard.executors.docker.watch import Watcher, now_ms
from batchyard.executors.policy import Policy
from batchyard.executors.port import (
    AttemptSpec,
    Doing,
    Failpoint,
    Lost,
    Observation,
    Probe,
    Sighting,
    StartFailed,
    no_failpoint,
)
from batchyard.kernel.faults import EngineUnavailable
from batchyard.logs.port import LogSink

_STOP_MARGIN_S = 60.0
_RECOVER_PAUSE_S = 1.0


class DockerExecutor:
    """Runs attempts as containers of Docker or Podman. See `batchyard.executors.port.Executor`.

    Args:
        yard_id: Labels and names everything created, so that yards can share an engine.
        logs: Where output goes.
        socket: Path or unix:// address of the engine. By default DOCKER_HOST, then the usual
            places.
    """

    name = "docker"

    def __init__(
        self,
        *,
        yard_id: str,
        logs: LogSink,
        policy: Policy | None = None,
        socket: str | None = None,
        create_timeout_s: float = CREATE_TIMEOUT_S,
        failpoint: Failpoint = no_failpoint,
    ) -> None:
        self._yard_id = yard_id
        self._logs = logs
        self._policy = policy or Policy()
        self._socket = socket
        self._create_timeout_s = create_timeout_s
        self._failpoint = failpoint
        self._tasks = Tasks()
        self._log = structlog.get_logger("batchyard.executors.docker")

    async def open(self, observe: Callable[[Observation], None]) -> Probe:
        path = await asyncio.to_thread(first_socket, candidates(os.environ, self._socket))
        engine = Engine(path)
        try:
            version = await engine.open()
            info = await engine.call("GET", "/info")
        except BaseException:
            await engine.close()
            raise
        try:
            limits = hard_limits(peer_pid(path))
        except OSError:
            limits = HardLimits()
        self._observe = observe
        self._engine = engine
        self._puller = Puller(engine)
        self._watcher = Watcher(
            engine=engine,
            kind=version.kind,
            yard_id=self._yard_id,
            logs=self._logs,
            observe=observe,
        )
        self._host_network = HostNetwork(engine, yard_id=self._yard_id, needed=may_lock_up(version))
        self._bring_up = BringUp(
            engine=engine,
            watcher=self._watcher,
            puller=self._puller,
            host=Host(kind=version.kind, limits=limits),
            host_network=self._host_network,
            policy=self._policy,
            yard_id=self._yard_id,
            create_timeout_s=self._create_timeout_s,
            failpoint=self._failpoint,
        )
        self._watcher.open()
        warnings = []
        if info.get("MemoryLimit") is False:
            warnings.append(
                "This engine cannot limit memory: a job may use more than it asked for."
            )
        return Probe(engine=version.text, warnings=tuple(warnings))

    async def start(self, spec: AttemptSpec) -> None:
        tracked = self._track(spec)
        async with tracked.lock:
            if tracked.phase != "new":
                return
            await self._launch(tracked)

    async def stop(self, attempt_id: str, *, grace_s: float = 30.0) -> None:
        tracked = self._watcher.attempts.get(attempt_id)
        if tracked is not None:
            tracked.halt.set()
            tracked.grace_s = grace_s
            if tracked.phase == "done":
                return
            if tracked.phase == "new":
                # One that is being brought up sees `halt` itself, also after it starts.
                self._tasks.start(self._stop_unless_watched(tracked))
                return
        name = container_name(self._yard_id, attempt_id)
        self._tasks.start(self._stop(name, grace_s=grace_s, tracked=tracked))

    async def adopt(self, spec: AttemptSpec) -> None:
        tracked = self._track(spec)
        if tracked.phase == "new" and not tracked.lock.locked():
            self._tasks.start(self._recover(tracked))

    async def list(self) -> list[Sighting]:
        try:
            return await self._watcher.sightings()
        except Refused as refused:
            raise _unwell(refused) from refused

    async def remove(self, attempt_id: str) -> None:
        tracked = self._watcher.attempts.get(attempt_id)
        if tracked is None:
            await self._discard_unwatched(container_name(self._yard_id, attempt_id))
            return
        tracked.halt.set()
        async with tracked.lock:
            if tracked.watch is not None:
                tracked.watch.cancel()
                await asyncio.gather(tracked.watch, return_exceptions=True)
            if tracked.phase == "new":
                await self._discard_unwatched(tracked.name)
                tracked.phase = "done"
            else:
                tracked.phase = "done"
                await self._discard(tracked.name)
            self._watcher.attempts.pop(attempt_id, None)

    def doing(self, attempt_id: str) -> Doing | None:
        tracked = self._watcher.attempts.get(attempt_id)
        return tracked.doing if tracked is not None and tracked.phase == "new" else None

    def trouble(self) -> EngineUnavailable | None:
        return self._watcher.trouble

    async def close(self) -> None:
        await self._tasks.close()
        await self._watcher.close()
        await self._puller.close()
        await self._host_network.close()
        await self._engine.close()

    def _track(self, spec: AttemptSpec) -> Tracked:
        tracked = self._watcher.attempts.get(spec.attempt_id)
        if tracked is None:
            tracked = Tracked(spec, container_name(self._yard_id, spec.attempt_id))
            self._watcher.attempts[spec.attempt_id] = tracked
        return tracked

    async def _launch(self, tracked: Tracked) -> None:
        try:
            await self._bring_up.bring_up(tracked)
        except NeverStarts as never:
            self._logs.create(tracked.spec.log_group, tracked.spec.log_stream)
            tracked.phase = "done"
            self._observe(
                StartFailed(
                    attempt_id=tracked.spec.attempt_id, at_ms=now_ms(), reason=never.message
                )
            )
            return
        except MayHaveRun as lost:
            tracked.phase = "done"
            self._observe(
                Lost(attempt_id=tracked.spec.attempt_id, at_ms=now_ms(), detail=lost.message)
            )
            return
        except Refused as refused:
            raise _unwell(refused) from refused
        self._take_up(tracked)

    def _take_up(self, tracked: Tracked) -> None:
        self._watcher.watch(tracked)
        if tracked.halt.is_set():
            self._tasks.start(self._stop(tracked.name, grace_s=tracked.grace_s, tracked=tracked))

    async def _recover(self, tracked: Tracked) -> None:
        while True:
            try:
                async with tracked.lock:
                    if tracked.phase == "new":
                        await self._find_again(tracked)
                return
            except (EngineUnavailable, Refused) as error:
                self._log.warning(
                    "adopt_interrupted", attempt_id=tracked.spec.attempt_id, error=str(error)
                )
            await asyncio.sleep(_RECOVER_PAUSE_S)

    async def _find_again(self, tracked: Tracked) -> None:
        found = await self._watcher.inspect(tracked.name)
        if found is None:
            tracked.phase = "done"
            detail = f"the engine has no container {tracked.name}"
            self._observe(Lost(attempt_id=tracked.spec.attempt_id, at_ms=now_ms(), detail=detail))
        elif found.state == "created":
            # The process before us died between create and start: go on where it stopped.
            await self._launch(tracked)
        else:
            self._take_up(tracked)

    async def _stop_unless_watched(self, tracked: Tracked) -> None:
        # ORDER: under the lock, or the container would be removed under the feet of its start.
        async with tracked.lock:
            if tracked.phase == "new":
                await self._stop(tracked.name, grace_s=tracked.grace_s, tracked=tracked)

    async def _stop(self, name: str, *, grace_s: float, tracked: Tracked | None) -> None:
        # The engine itself waits and kills, so a stop goes on when this process dies.
        while tracked is None or tracked.phase != "done":
            try:
                found = await self._watcher.inspect(name)
                if found is None or found.state == "ended":
                    return
                if found.state == "created":
                    await self._discard_created(found, name)
                    return
                self._failpoint("docker.before_stop")
                await self._engine.call(
                    "POST",
                    f"/containers/{name}/stop",
                    query={"t": str(math.ceil(grace_s))},
                    timeout_s=grace_s + _STOP_MARGIN_S,
                )
                return
            except (EngineUnavailable, Refused) as error:
                self._log.warning("stop_interrupted", container=name, error=str(error))
            await asyncio.sleep(_RECOVER_PAUSE_S)

    async def _discard_unwatched(self, name: str) -> None:
        try:
            found = await self._watcher.inspect(name)
        except Refused as refused:
            raise _unwell(refused) from refused
        if found is not None and found.state == "created":
            await self._discard_created(found, name)
        else:
            await self._discard(name)

    async def _discard_created(self, found: Inspected, name: str) -> None:
        # The engine would delete the container and let a process it forgot live on.
        with contextlib.suppress(MayHaveRun):
            await self._bring_up.end_if_forgotten(found)
        await self._discard(name)

    async def _discard(self, name: str) -> None:
        try:
            await self._bring_up.discard(name)
        except Refused as refused:
            raise _unwell(refused) from refused


def _unwell(refused: Refused) -> EngineUnavailable:
    return EngineUnavailable(
        f"The container engine failed: {refused.message}",
        hint="Look at the engine's own log. Batchyard tries again by itself.",
    )

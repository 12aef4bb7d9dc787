"""Watching containers to their end: events, output, exit. Reports Started, Ended and Lost.

One stream of events wakes the attempt it names, and only an inspect decides what happened, so a
repeated or early event does no harm. Events can be lost (a daemon restart empties its buffer), so
every reconnection and a slow clock compare with the list of containers.
"""

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

import structlog

from batchyard.executors.docker.doubt import doubt
from batchyard.executors.docker.engine import Engine, Refused
from batchyard.executors.docker.forgotten import end_processes, is_gone
from batchyard.executors.docker.inspected import (
    LABEL_ATTEMPT,
    LABEL_YARD,
    Inspected,
    boot_time_ms,
    read_inspected,
    read_state,
)
from batchyard.executors.docker.oom import killed_for_memory
from batchyard.executors.docker.pump import pump
from batchyard.executors.docker.tracked import Tasks, Tracked
from batchyard.executors.port import Ended, Lost, Observation, Sighting, Started
from batchyard.kernel.faults import EngineUnavailable
from batchyard.logs.port import LogSink

OUT_OF_MEMORY = "OutOfMemoryError: Container killed due to memory usage"

_SHORT_LIFE_S = 0.5
"""A container that ends sooner has its output read once, at the end, instead of followed."""
_FOLLOW_AGAIN_S = 1.0
_SAFETY_NET_S = 15.0
_LOOK_AFTER_S = 1.0
_TELLS_WITHIN_S = 3.0
"""An engine that saw a container end says so in less."""
_RETRY_S = (0.1, 5.0)
_ENDINGS = frozenset({"die", "died", "destroy", "remove"})


class Watcher:
    def __init__(
        self,
        *,
        engine: Engine,
        kind: str,
        yard_id: str,
        logs: LogSink,
        observe: Callable[[Observation], None],
    ) -> None:
        self.attempts: dict[str, Tracked] = {}
        self.trouble: EngineUnavailable | None = None
        """Why there is no stream of events at present."""
        self._engine = engine
        self._kind = kind
        self._yard_id = yard_id
        self._logs = logs
        self._observe = observe
        self._boot_ms = boot_time_ms()
        self._tasks = Tasks()
        self._log = structlog.get_logger("batchyard.executors.docker")

    def open(self) -> None:
        self._tasks.start(self._listen())
        self._tasks.start(self._cast_safety_net())

    async def close(self) -> None:
        await self._tasks.close()

    def watch(self, tracked: Tracked) -> None:
        """See a started attempt to its end. Reports its present state soon."""
        if tracked.phase == "new":
            tracked.phase = "watched"
            self._logs.create(tracked.spec.log_group, tracked.spec.log_stream)
            tracked.watch = self._tasks.start(self._persist(tracked))

    async def inspect(self, name: str) -> Inspected | None:
        """None: the engine has no such container."""
        try:
            answer = await self._engine.call("GET", f"/containers/{name}/json")
        except Refused as refused:
            if refused.status == 404:
                return None
            raise
        return read_inspected(answer)

    async def sightings(self) -> list[Sighting]:
        query = {"all": "1", "filters": json.dumps({"label": [f"{LABEL_YARD}={self._yard_id}"]})}
        containers = await self._engine.call("GET", "/containers/json", query=query)
        return [
            Sighting(
                attempt_id=container["Labels"][LABEL_ATTEMPT],
                handle=container["Id"],
                state=read_state(container["State"]),
            )
            for container in containers or []
        ]

    async def _persist(self, tracked: Tracked) -> None:
        pause_s = _RETRY_S[0]
        while tracked.phase != "done":
            try:
                await self._advance(tracked)
                pause_s = _RETRY_S[0]
                continue
            except (EngineUnavailable, Refused) as error:
                self._log.warning(
                    "watch_interrupted", attempt_id=tracked.spec.attempt_id, error=str(error)
                )
            except Exception:  # noqa: BLE001  # driver boundary: one attempt's trouble must not end its watch
                self._log.exception("watch_failed", attempt_id=tracked.spec.attempt_id)
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _RETRY_S[1])

    async def _advance(self, tracked: Tracked) -> None:
        # ORDER: cleared before the look, so that an end after the look is not forgotten.
        tracked.exited.clear()
        found = await self.inspect(tracked.name)
        if found is None:
            self._finish(
                tracked,
                Lost(
                    attempt_id=tracked.spec.attempt_id,
                    at_ms=now_ms(),
                    detail=f"container {tracked.name} no longer exists",
                ),
            )
        elif found.state == "ended" or tracked.end_missed:
            await self._settle(tracked, found)
        else:
            if not tracked.announced:
                tracked.announced = True
                self._observe(
                    Started(
                        attempt_id=tracked.spec.attempt_id,
                        at_ms=found.started_ms,
                        handle=found.container_id,
                        notes=found.notes,
                    )
                )
            await self._until_exited(tracked, found)

    async def _until_exited(self, tracked: Tracked, found: Inspected) -> None:
        try:
            async with asyncio.timeout(_SHORT_LIFE_S):
                await tracked.exited.wait()
        except TimeoutError:
            async with asyncio.TaskGroup() as group:
                helpers = [group.create_task(self._follow(tracked))]
                if found.start_missed:
                    helpers.append(group.create_task(self._look_after(tracked, found)))
                await tracked.exited.wait()
                for helper in helpers:
                    helper.cancel()

    async def _look_after(self, tracked: Tracked, found: Inspected) -> None:
        """See the end of a container itself, where the engine may have missed it."""
        while not await asyncio.to_thread(is_gone, found, self._engine.socket_path):  # noqa: ASYNC110  # whoever would tell has missed it
            await asyncio.sleep(_LOOK_AFTER_S)
        await asyncio.sleep(_TELLS_WITHIN_S)
        tracked.end_missed = True
        tracked.exited.set()

    async def _follow(self, tracked: Tracked) -> None:
        while True:
            try:
                await pump(self._engine, tracked.name, tracked.spec, logs=self._logs, follow=True)
            except EngineUnavailable:
                pass  # the stream of events says it once for all
            except Refused as error:
                self._log.info(
                    "follow_refused", attempt_id=tracked.spec.attempt_id, error=error.message
                )
            # The stream ends with the container, but also with the engine.
            try:
                found = await self.inspect(tracked.name)
                if found is None or found.state == "ended":
                    tracked.exited.set()
            except (EngineUnavailable, Refused):
                pass  # the next round tries again
            await asyncio.sleep(_FOLLOW_AGAIN_S)

    async def _settle(self, tracked: Tracked, found: Inspected) -> None:
        spec = tracked.spec
        notes = found.notes
        try:
            await pump(self._engine, tracked.name, spec, logs=self._logs, follow=False)
        except Refused as refused:
            if refused.status == 404:
                return  # removed this moment: the next look says so
            notes += (f"the engine could not give back all output: {refused.message}",)
        detail = await doubt(found, self._engine, self._boot_ms)
        if detail is not None:
            if found.state == "ended":
                # ORDER: what still lives is ended before the loss is told, and a retry may start.
                # Not so where the engine calls it running: it would then tell the exit code of a
                # shim that we killed, to whoever asks before the loss is written down.
                await asyncio.to_thread(end_processes, found.container_id)
            at_ms = found.finished_ms or now_ms()
            self._finish(tracked, Lost(attempt_id=spec.attempt_id, at_ms=at_ms, detail=detail))
            return
        out_of_memory = found.oom_killed
        if self._kind == "podman" and found.exit_code == 137 and not out_of_memory:
            out_of_memory = await asyncio.to_thread(killed_for_memory, found.container_id)
        if out_of_memory and found.exit_code == 0:
            notes += ("a child process was killed for memory; the main process succeeded",)
        self._finish(
            tracked,
            Ended(
                attempt_id=spec.attempt_id,
                at_ms=max(found.finished_ms, found.started_ms),
                started_at_ms=found.started_ms,
                exit_code=found.exit_code,
                reason=OUT_OF_MEMORY if out_of_memory and found.exit_code != 0 else None,
                notes=notes,
            ),
        )

    def _finish(self, tracked: Tracked, observation: Observation) -> None:
        tracked.phase = "done"
        self._observe(observation)

    async def _listen(self) -> None:
        filters = {"type": ["container"], "label": [f"{LABEL_YARD}={self._yard_id}"]}
        pause_s = _RETRY_S[0]
        while True:
            # ORDER: the time before the list, the list before the events, so that nothing falls
            # between them. The wall clock is the engine's own: same machine.
            since_s = int(time.time())
            try:
                await self._compare()
                query = {"since": str(since_s), "filters": json.dumps(filters)}
                async with self._engine.stream("GET", "/events", query=query) as content:
                    pause_s = _RETRY_S[0]
                    self.trouble = None
                    while line := await content.readline():
                        self._wake(line)
            except (EngineUnavailable, Refused) as error:
                self._log.warning("events_interrupted", error=str(error))
                if isinstance(error, EngineUnavailable):
                    self.trouble = error
            except Exception:  # noqa: BLE001  # driver boundary: a strange event must not end the watch of all
                self._log.exception("events_failed")
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _RETRY_S[1])

    def _wake(self, line: bytes) -> None:
        if not line.strip():
            return
        event: dict[str, Any] = json.loads(line)
        if str(event.get("Action") or event.get("status") or "") not in _ENDINGS:
            return
        attributes = (event.get("Actor") or {}).get("Attributes") or {}
        tracked = self.attempts.get(str(attributes.get(LABEL_ATTEMPT, "")))
        if tracked is not None:
            tracked.exited.set()

    async def _cast_safety_net(self) -> None:
        while True:
            await asyncio.sleep(_SAFETY_NET_S)
            try:
                await self._compare()
            except (EngineUnavailable, Refused) as error:
                self._log.warning("list_failed", error=str(error))

    async def _compare(self) -> None:
        running = {one.attempt_id for one in await self.sightings() if one.state == "running"}
        for attempt_id, tracked in self.attempts.items():
            if tracked.phase == "watched" and attempt_id not in running:
                tracked.exited.set()


def now_ms() -> int:
    return time.time_ns() // 1_000_000

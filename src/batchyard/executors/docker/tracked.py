"""What the driver remembers of one attempt while it is open."""

import asyncio
import time
from collections.abc import Coroutine
from typing import Any, Literal

from batchyard.executors.port import AttemptSpec, Doing

Phase = Literal["new", "watched", "done"]


class Tracked:
    """Mutable. `phase` only moves forward: `new` (nothing runs), `watched`, `done` (reported)."""

    __slots__ = (
        "announced",
        "doing",
        "end_missed",
        "exited",
        "grace_s",
        "halt",
        "known_since_ms",
        "lock",
        "name",
        "phase",
        "spec",
        "start_asked",
        "watch",
    )

    def __init__(self, spec: AttemptSpec, name: str) -> None:
        self.spec = spec
        self.name = name
        self.phase: Phase = "new"
        self.lock = asyncio.Lock()
        """Held while the attempt is brought up, recovered or removed."""
        self.halt = asyncio.Event()
        """A stop was asked for: whatever is not running yet must not start."""
        self.grace_s = 0.0
        self.doing: Doing | None = None
        self.known_since_ms = time.time_ns() // 1_000_000
        self.start_asked = False
        """Of the engine, by this process: a start whose answer was lost may have happened."""
        self.announced = False
        self.exited = asyncio.Event()
        """Something says that the container may have ended; only an inspect tells."""
        self.end_missed = False
        """By the engine, which calls running what has ended."""
        self.watch: asyncio.Task[None] | None = None

    def does(self, what: str) -> None:
        """Note the step of its start that begins now."""
        self.doing = Doing(what=what, since_ms=time.time_ns() // 1_000_000)


class Tasks:
    """Keeps the tasks it starts; `close` cancels and awaits them."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    async def close(self) -> None:
        running = list(self._running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

"""Attempt timeouts: fires `TimeOutAttempt` when an attempt has run for its attemptDurationSeconds.

Deadlines live in memory; they follow from the attempts that run, so a restart finds them again.
"""

import asyncio
from heapq import heappop, heappush

from batchyard.control.bus import Bus
from batchyard.control.port import Clock
from batchyard.kernel.commands import TimeOutAttempt
from batchyard.kernel.faults import StoreUnavailable


class Timers:
    """A heap of deadlines and the loop that waits for the first."""

    def __init__(self, bus: Bus, *, clock: Clock) -> None:
        self._bus = bus
        self._clock = clock
        self._deadlines: list[tuple[int, str, int]] = []
        self._changed = asyncio.Event()

    def add(self, job_id: str, attempt: int, deadline_ms: int) -> None:
        """A deadline of an attempt that has ended by then is harmless: the kernel fences it."""
        heappush(self._deadlines, (deadline_ms, job_id, attempt))
        if self._deadlines[0][0] == deadline_ms:
            self._changed.set()

    async def serve(self) -> None:
        """Fire deadlines for ever."""
        while True:
            self._changed.clear()
            await self._fire()
            wait_s = None
            if self._deadlines:
                wait_s = max(0.0, (self._deadlines[0][0] - self._clock()) / 1000)
            try:
                async with asyncio.timeout(wait_s):
                    await self._changed.wait()
            except TimeoutError:
                continue

    async def _fire(self) -> None:
        due: list[tuple[int, str, int]] = []
        while self._deadlines and self._deadlines[0][0] <= self._clock():
            due.append(heappop(self._deadlines))
        if not due:
            return
        commands = [TimeOutAttempt(job_id=job_id, attempt=attempt) for _, job_id, attempt in due]
        try:
            await self._bus.execute_all(commands)
        except StoreUnavailable:
            # Nothing was written: these deadlines are still to come.
            for deadline in due:
                heappush(self._deadlines, deadline)
            raise

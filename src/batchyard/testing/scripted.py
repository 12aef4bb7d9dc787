"""ScriptedExecutor: an executor in memory that does what the test says, when the test says it.

It keeps the contract of `executors/port.py`, and outlives a server: give the same one to the next
`Control` and it is adopted from, as an engine is after a restart. What happens while no server
listens is reported when the attempt is adopted.

    executor = ScriptedExecutor(clock=clock)
    await executor.begins(attempt)      # once its start has come: it runs
    executor.ends(attempt, 1)           # it exits
    executor.unavailable(times=3)       # the next three calls find no engine
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Literal

from batchyard.executors.port import (
    AttemptSpec,
    Doing,
    Ended,
    Lost,
    Observation,
    Probe,
    Sighting,
    Started,
    StartFailed,
)
from batchyard.kernel.faults import EngineUnavailable

STOPPED = "CannotStartContainerError: stopped before it started"
TERMINATED = 143
WAIT_S = 30.0
"""How long a test waits for something that does not come."""

State = Literal["created", "running", "ended"]


class Held:
    """One attempt as the engine holds it."""

    def __init__(self, spec: AttemptSpec) -> None:
        self.spec = spec
        self.state: State = "created"
        self.started_at_ms = 0
        self.last: Observation | None = None
        """What adoption reports: the newest fact."""


class ScriptedExecutor:
    """Attempts begin, end and vanish by the verbs below; the calls of the port are recorded."""

    name = "scripted"

    def __init__(self, *, clock: Callable[[], int], deaf: bool = False) -> None:
        self._clock = clock
        self._deaf = deaf
        self._observe: Callable[[Observation], None] | None = None
        self._outages: list[bool] = []
        self._changed = asyncio.Condition()
        self.held: dict[str, Held] = {}
        self.calls: list[tuple[str, str]] = []
        """`(verb, attempt id)` of every call that reached the engine, oldest first."""
        self.busy: dict[str, Doing] = {}
        """What it says of attempts that are to start."""
        self.began: Counter[str] = Counter()
        """How often each attempt began in the engine: more than once is a double run."""

    # --- what a test says --------------------------------------------------------------------

    async def begins(self, attempt_id: str) -> None:
        """Wait until the attempt is asked for; then its main process runs."""
        await self.until(lambda: attempt_id in self.held, what=f"start of {attempt_id}")
        self.run(attempt_id)

    def run(self, attempt_id: str) -> None:
        """Its main process runs."""
        held = self.held[attempt_id]
        held.state, held.started_at_ms = "running", self._clock()
        self._tell(held, Started(attempt_id=attempt_id, at_ms=self._clock(), handle=attempt_id))

    def ends(self, attempt_id: str, exit_code: int, *, reason: str | None = None) -> None:
        """Its main process exits; it may have been so short that nobody saw it run."""
        held = self.held[attempt_id]
        started_at_ms = held.started_at_ms or self._clock()
        held.state = "ended"
        ended = Ended(
            attempt_id=attempt_id,
            at_ms=self._clock(),
            started_at_ms=started_at_ms,
            exit_code=exit_code,
            reason=reason,
        )
        self._tell(held, ended)

    def fails_to_start(self, attempt_id: str, reason: str) -> None:
        held = self.held[attempt_id]
        held.state = "ended"
        self._tell(held, StartFailed(attempt_id=attempt_id, at_ms=self._clock(), reason=reason))

    def loses(self, attempt_id: str, *, detail: str = "its host is gone") -> None:
        """It is gone without a trace of its exit, and the watch notices."""
        del self.held[attempt_id]
        self.reports(Lost(attempt_id=attempt_id, at_ms=self._clock(), detail=detail))

    def forgets(self, attempt_id: str) -> None:
        """It is gone and nobody notices before it is looked for."""
        del self.held[attempt_id]

    def reports(self, observation: Observation) -> None:
        """Any observation, true, stale or repeated; lost when no server listens."""
        if self._observe is not None:
            self._observe(observation)

    def unavailable(self, *, times: int, done: bool = False) -> None:
        """The next calls fail. `done`: the engine does what was asked and its answer is lost."""
        self._outages.extend([done] * times)

    def recovers(self) -> None:
        """No call fails any more."""
        self._outages.clear()

    async def until(self, holds: Callable[[], bool], *, what: str) -> None:
        """Wait until a call of the port has made it true.

        Raises:
            TimeoutError: it never did.
        """
        try:
            async with asyncio.timeout(WAIT_S), self._changed:
                await self._changed.wait_for(holds)
        except TimeoutError:
            raise TimeoutError(f"waited in vain: {what}; calls: {self.calls}") from None

    def count(self, verb: str, attempt_id: str) -> int:
        return self.calls.count((verb, attempt_id))

    # --- the port ----------------------------------------------------------------------------

    async def open(self, observe: Callable[[Observation], None]) -> Probe:
        self._observe = observe
        return Probe(engine="scripted")

    async def start(self, spec: AttemptSpec) -> None:
        lost = await self._called("start", spec.attempt_id)
        known = self.held.get(spec.attempt_id)
        if known is None:
            self.held[spec.attempt_id] = Held(spec)
            self.began[spec.attempt_id] += 1
        elif known.last is not None:
            # Asked for by an earlier server: this one has yet to hear what became of it.
            self.reports(known.last)
        await self._answer(lost)

    async def stop(self, attempt_id: str, *, grace_s: float = 30.0) -> None:
        lost = await self._called("stop", attempt_id)
        held = self.held.get(attempt_id)
        if held is not None and not self._deaf:
            if held.state == "created":
                self.fails_to_start(attempt_id, STOPPED)
            elif held.state == "running":
                self.ends(attempt_id, TERMINATED)
        await self._answer(lost)

    async def adopt(self, spec: AttemptSpec) -> None:
        lost = await self._called("adopt", spec.attempt_id)
        held = self.held.get(spec.attempt_id)
        if held is None:
            gone = Lost(attempt_id=spec.attempt_id, at_ms=self._clock(), detail="not in the engine")
            self.reports(gone)
        elif held.last is not None:
            self.reports(held.last)
        await self._answer(lost)

    async def list(self) -> list[Sighting]:
        lost = await self._called("list", "")
        await self._answer(lost)
        return [
            Sighting(attempt_id=name, handle=name, state=held.state)
            for name, held in self.held.items()
        ]

    async def remove(self, attempt_id: str) -> None:
        lost = await self._called("remove", attempt_id)
        self.held.pop(attempt_id, None)
        await self._answer(lost)

    def doing(self, attempt_id: str) -> Doing | None:
        return self.busy.get(attempt_id)

    def trouble(self) -> EngineUnavailable | None:
        return _away() if self._outages else None

    async def close(self) -> None:
        self._observe = None

    # --- inside ------------------------------------------------------------------------------

    async def _called(self, verb: str, attempt_id: str) -> bool:
        """Note a call; True when its answer will be lost."""
        done = self._outages.pop(0) if self._outages else None
        if done is False:
            raise _away()
        self.calls.append((verb, attempt_id))
        return done is True

    async def _answer(self, lost: bool) -> None:
        async with self._changed:
            self._changed.notify_all()
        if lost:
            raise _away()

    def _tell(self, held: Held, observation: Observation) -> None:
        held.last = observation
        self.reports(observation)


def _away() -> EngineUnavailable:
    return EngineUnavailable("the scripted engine is away", hint="Wait until the script is over.")

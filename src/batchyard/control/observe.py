"""Turns what executors see into commands, many at a time when many happen together.

An observation may be stale or repeated; the kernel fences it. One that could not be recorded is
seen again: the attempt stays in the engine until its end is on disk.
"""

import asyncio
from collections.abc import Callable, Iterable

import structlog

from batchyard.control.bus import Bus
from batchyard.control.port import Failpoint, no_failpoint
from batchyard.executors.port import Ended, Lost, Observation, Started, StartFailed
from batchyard.kernel.commands import (
    Command,
    ReportEnded,
    ReportLost,
    ReportStarted,
    ReportStartFailed,
)
from batchyard.kernel.faults import StoreUnavailable
from batchyard.kernel.ids import split_attempt

log = structlog.get_logger(__name__)

MOST = 256
"""Observations in one transaction."""


class Observer:
    """The `observe` callback of executors, and the loop that reports what it was told."""

    def __init__(self, bus: Bus, *, failpoint: Failpoint = no_failpoint) -> None:
        self._bus = bus
        self._failpoint = failpoint
        self._seen: asyncio.Queue[Observation | Callable[[], None]] = asyncio.Queue()

    def observe(self, observation: Observation) -> None:
        """Take an observation over; returns at once. Call on the event loop."""
        self._seen.put_nowait(observation)

    def once_recorded(self, act: Callable[[], None]) -> None:
        """Call `act` when everything observed before is on disk; never, if the yard dies first."""
        self._seen.put_nowait(act)

    async def serve(self) -> None:
        """Report for ever."""
        while True:
            seen = [await self._seen.get()]
            while len(seen) < MOST and not self._seen.empty():
                seen.append(self._seen.get_nowait())
            commands = _commands(one for one in seen if not callable(one))
            if commands:
                self._failpoint("observe.before_report")
                await self._report(commands)
                self._failpoint("observe.after_report")
            for one in seen:
                if callable(one):
                    one()

    async def _report(self, commands: list[Command]) -> None:
        outcomes: list[object] | None = None
        while outcomes is None:
            try:
                outcomes = await self._bus.execute_all(commands)
            except StoreUnavailable as fault:
                log.error("report.not_recorded", reason=fault.message, hint=fault.hint)
                await asyncio.sleep(1.0)
        for judged, outcome in zip(commands, outcomes, strict=True):
            if isinstance(outcome, Exception):
                log.error("report.refused", command=repr(judged), reason=str(outcome))


def _commands(observations: Iterable[Observation]) -> list[Command]:
    out: list[Command] = []
    for observation in observations:
        try:
            out.append(command(observation))
        except ValueError as error:
            # A driver's defect, or a stranger's name under our label: nothing of ours.
            log.error("observation.foreign", observation=repr(observation), reason=str(error))
    return out


def command(observation: Observation) -> Command:
    """The command an observation comes to.

    Raises:
        ValueError: it is about something that was not named by `attempt_id`.
    """
    job_id, attempt = split_attempt(observation.attempt_id)
    match observation:
        case Started():
            return ReportStarted(
                job_id=job_id, attempt=attempt, at_ms=observation.at_ms, notes=observation.notes
            )
        case Ended():
            return ReportEnded(
                job_id=job_id,
                attempt=attempt,
                at_ms=observation.at_ms,
                started_at_ms=observation.started_at_ms,
                exit_code=observation.exit_code,
                reason=observation.reason,
                notes=observation.notes,
            )
        case StartFailed():
            return ReportStartFailed(
                job_id=job_id, attempt=attempt, at_ms=observation.at_ms, reason=observation.reason
            )
        case Lost():
            return ReportLost(
                job_id=job_id, attempt=attempt, at_ms=observation.at_ms, detail=observation.detail
            )

"""MockExecutor: attempts that only pretend, each told what to do by its job's own parameters.

Every way an attempt can go is reachable from an ordinary job definition:

    run_for       seconds from start to end, fractions allowed (default 0)
    exit_code     what it exits with (default 0)
    reason        the container's reason at the end
    output        text it logs when it starts
    start_after   seconds before it starts (default 0)
    start_error   it fails to start, with this reason
    lose_after    seconds after the start at which the engine forgets it
    oom           `true`: it ends by running out of memory
    ignore_term   `true`: only SIGKILL, at the end of a stop's grace, ends it

Parameters with other names are the job's own business. There is one small file for each attempt,
with the times that were asked for; everything else follows from those and the clock, so an attempt
goes on while nobody looks, like a real one.
"""

import asyncio
import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import msgspec

from batchyard.executors.port import (
    AttemptSpec,
    Ended,
    Lost,
    Observation,
    Probe,
    Sighting,
    Started,
    StartFailed,
)
from batchyard.kernel.faults import EngineUnavailable
from batchyard.logs.port import LogLine, LogSink

OOM_REASON = "OutOfMemoryError: Container killed due to memory usage"
STOPPED_REASON = "CannotStartContainerError: the attempt was stopped before it started"


class Script(msgspec.Struct, frozen=True, kw_only=True):
    """What one attempt shall do. Read from the job's parameters by `read_script`."""

    run_for_ms: int = 0
    exit_code: int = 0
    reason: str | None = None
    output: str = ""
    start_after_ms: int = 0
    start_error: str = ""
    lose_after_ms: int | None = None
    oom: bool = False
    ignore_term: bool = False


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What the file of an attempt holds."""

    attempt_id: str
    script: Script
    asked_at_ms: int
    stopped_at_ms: int | None = None
    killed_at_ms: int | None = None


class Course(msgspec.Struct, frozen=True, kw_only=True):
    """When a record's attempt starts and ends, and how. `starts_at_ms` None: it never starts."""

    starts_at_ms: int | None
    ends_at_ms: int
    final: Ended | StartFailed | Lost


class _Live:
    def __init__(self, spec: AttemptSpec, record: Record, *, fresh: bool) -> None:
        self.spec = spec
        self.record = record
        self.fresh = fresh
        """Asked for by this process: its start is news even when it is over already."""
        self.started = False
        self.timer: asyncio.TimerHandle | None = None


class MockExecutor:
    """See the module."""

    name = "mock"

    def __init__(self, *, home: Path, sink: LogSink) -> None:
        self._folder = (home / "mock").absolute()
        self._sink = sink
        self._live: dict[str, _Live] = {}
        self._observe: Callable[[Observation], None] | None = None

    async def open(self, observe: Callable[[Observation], None]) -> Probe:
        try:
            os.makedirs(self._folder, exist_ok=True)
        except OSError as error:
            raise EngineUnavailable(
                f"cannot use {self._folder} for mock attempts: {error.strerror}",
                hint="Give the yard a home that its user may write to.",
            ) from error
        self._observe = observe
        return Probe(engine="mock", warnings=("jobs are not run: this executor only pretends",))

    async def start(self, spec: AttemptSpec) -> None:
        if spec.attempt_id in self._live:
            return
        record = self._read(spec.attempt_id)
        fresh = record is None
        if record is None:
            script = read_script(spec.mock)
            record = Record(attempt_id=spec.attempt_id, script=script, asked_at_ms=_now_ms())
            self._write(record)
        self._watch(spec, record, fresh=fresh)

    async def stop(self, attempt_id: str, *, grace_s: float = 30.0) -> None:
        record = self._read(attempt_id)
        now_ms = _now_ms()
        if record is None or course(record).ends_at_ms <= now_ms:
            return
        kill_ms = now_ms + int(grace_s * 1000)
        record = msgspec.structs.replace(
            record,
            stopped_at_ms=now_ms if record.stopped_at_ms is None else record.stopped_at_ms,
            killed_at_ms=min(kill_ms, record.killed_at_ms or kill_ms),
        )
        self._write(record)
        live = self._live.get(attempt_id)
        if live is not None:
            live.record = record
            self._advance(live)

    async def adopt(self, spec: AttemptSpec) -> None:
        live = self._live.pop(spec.attempt_id, None)
        if live is not None and live.timer is not None:
            live.timer.cancel()
        record = self._read(spec.attempt_id)
        if record is None:
            lost = Lost(
                attempt_id=spec.attempt_id, at_ms=_now_ms(), detail="no mock attempt of this name"
            )
            asyncio.get_running_loop().call_soon(self._tell, lost)
            return
        self._watch(spec, record, fresh=False)

    async def list(self) -> list[Sighting]:
        now_ms = _now_ms()
        found = []
        for name in os.listdir(self._folder):
            record = self._read(name.removesuffix(".json")) if name.endswith(".json") else None
            if record is not None:
                attempt_id = record.attempt_id
                state = _state(course(record), now_ms)
                found.append(Sighting(attempt_id=attempt_id, handle=attempt_id, state=state))
        return found

    async def remove(self, attempt_id: str) -> None:
        live = self._live.pop(attempt_id, None)
        if live is not None and live.timer is not None:
            live.timer.cancel()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path(attempt_id))

    def doing(self, attempt_id: str) -> None:
        return None

    def trouble(self) -> None:
        return None

    async def close(self) -> None:
        for live in self._live.values():
            if live.timer is not None:
                live.timer.cancel()
        self._live.clear()

    def _watch(self, spec: AttemptSpec, record: Record, *, fresh: bool) -> None:
        live = self._live[spec.attempt_id] = _Live(spec, record, fresh=fresh)
        # Observed from the loop, never from inside the call that asked.
        live.timer = asyncio.get_running_loop().call_later(0, self._advance, live)

    def _advance(self, live: _Live) -> None:
        """Report what has become true, and come back when the next thing does."""
        if live.timer is not None:
            live.timer.cancel()
        attempt_id = live.spec.attempt_id
        now_ms, plan = _now_ms(), course(live.record)
        start_ms = plan.starts_at_ms
        if start_ms is not None and start_ms <= now_ms and not live.started:
            live.started = True
            self._log(live, start_ms)
            if live.fresh or now_ms < plan.ends_at_ms:
                self._tell(Started(attempt_id=attempt_id, at_ms=start_ms, handle=attempt_id))
        if plan.ends_at_ms <= now_ms:
            self._live.pop(attempt_id, None)
            self._tell(plan.final)
            return
        next_ms = plan.ends_at_ms if live.started or start_ms is None else start_ms
        delay_s = max(0.0, (next_ms - now_ms) / 1000)
        live.timer = asyncio.get_running_loop().call_later(delay_s, self._advance, live)

    def _log(self, live: _Live, now_ms: int) -> None:
        group, stream = live.spec.log_group, live.spec.log_stream
        self._sink.create(group, stream)
        position, lines = 0, []
        for raw in live.record.script.output.split("\n") if live.record.script.output else ():
            position += len(raw.encode()) + 1
            lines.append(LogLine(timestamp_ms=now_ms, message=raw, position=position))
        if lines:
            self._sink.append(group, stream, lines)

    def _path(self, attempt_id: str) -> str:
        return f"{self._folder}/{attempt_id}.json"

    def _read(self, attempt_id: str) -> Record | None:
        try:
            with open(self._path(attempt_id), "rb") as file:
                return msgspec.json.decode(file.read(), type=Record)
        except FileNotFoundError:
            return None

    def _write(self, record: Record) -> None:
        path = self._path(record.attempt_id)
        try:
            with open(f"{path}.tmp", "wb") as file:
                file.write(msgspec.json.encode(record))
            os.replace(f"{path}.tmp", path)
        except OSError as error:
            raise EngineUnavailable(
                f"cannot write {path}: {error.strerror}", hint="Free space in the yard's home."
            ) from error

    def _tell(self, observation: Observation) -> None:
        if self._observe is not None:
            self._observe(observation)


def read_script(parameters: dict[str, str]) -> Script:
    """The script in a job's parameters; one that fails to start where they make no sense."""
    try:
        lose_after = parameters.get("lose_after")
        oom = _truth(parameters, "oom")
        return Script(
            run_for_ms=_duration_ms(parameters, "run_for"),
            exit_code=_exit_code(parameters, default=137 if oom else 0),
            reason=parameters.get("reason"),
            output=parameters.get("output", ""),
            start_after_ms=_duration_ms(parameters, "start_after"),
            start_error=parameters.get("start_error", ""),
            lose_after_ms=None if lose_after is None else _duration_ms(parameters, "lose_after"),
            oom=oom,
            ignore_term=_truth(parameters, "ignore_term"),
        )
    except ValueError as error:
        return Script(start_error=f"CannotStartContainerError: mock: {error}")


def course(record: Record) -> Course:
    """What becomes of an attempt, as far as it is known now. Pure."""
    script, attempt_id = record.script, record.attempt_id
    start_ms = record.asked_at_ms + script.start_after_ms
    if record.stopped_at_ms is not None and record.stopped_at_ms < start_ms:
        stopped = StartFailed(
            attempt_id=attempt_id, at_ms=record.stopped_at_ms, reason=STOPPED_REASON
        )
        return Course(starts_at_ms=None, ends_at_ms=record.stopped_at_ms, final=stopped)
    if script.start_error:
        failed = StartFailed(attempt_id=attempt_id, at_ms=start_ms, reason=script.start_error)
        return Course(starts_at_ms=None, ends_at_ms=start_ms, final=failed)
    end_ms = start_ms + script.run_for_ms
    exit_code = script.exit_code
    reason = OOM_REASON if script.oom and exit_code else script.reason
    term_ms = None if script.ignore_term else record.stopped_at_ms
    for signal_ms, code in ((term_ms, 143), (record.killed_at_ms, 137)):
        if signal_ms is not None and signal_ms < end_ms:
            end_ms, exit_code, reason = signal_ms, code, None
    if script.lose_after_ms is not None and start_ms + script.lose_after_ms <= end_ms:
        lost_ms = start_ms + script.lose_after_ms
        lost = Lost(attempt_id=attempt_id, at_ms=lost_ms, detail="mock: lose_after is over")
        return Course(starts_at_ms=start_ms, ends_at_ms=lost_ms, final=lost)
    ended = Ended(
        attempt_id=attempt_id,
        at_ms=end_ms,
        started_at_ms=start_ms,
        exit_code=exit_code,
        reason=reason,
    )
    return Course(starts_at_ms=start_ms, ends_at_ms=end_ms, final=ended)


def _state(plan: Course, now_ms: int) -> Literal["created", "running", "ended"]:
    if plan.ends_at_ms <= now_ms:
        return "ended"
    return "running" if plan.starts_at_ms is not None and plan.starts_at_ms <= now_ms else "created"


def _duration_ms(parameters: dict[str, str], name: str) -> int:
    text = parameters.get(name, "0")
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= 10**9:
        raise ValueError(f"{name} must be a number of seconds, such as 0.5; it is {text!r}")
    return round(seconds * 1000)


def _exit_code(parameters: dict[str, str], *, default: int) -> int:
    text = parameters.get("exit_code", str(default))
    if not text.isdecimal() or int(text) > 255:
        raise ValueError(f"exit_code must be a whole number from 0 to 255; it is {text!r}")
    return int(text)


def _truth(parameters: dict[str, str], name: str) -> bool:
    text = parameters.get(name, "false").lower()
    if text not in {"true", "false"}:
        raise ValueError(f"{name} must be true or false; it is {parameters[name]!r}")
    return text == "true"


def _now_ms() -> int:
    return time.time_ns() // 1_000_000

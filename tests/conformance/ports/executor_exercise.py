"""The one suite every executor must pass.

`ExecutorExercise` holds what any driver promises; `CommandExercise` adds what a driver that runs
real commands promises. A driver's test module subclasses one of them and gives a `yard` fixture:

    class TestMyExecutor(CommandExercise):
        @pytest.fixture
        def yard(self, tmp_path: Path) -> ExecutorYard:
            return ExecutorYard(make=lambda sink: MyExecutor(home=tmp_path, sink=sink), image="...")

`make` is called once per `open` or `reopen` and must find again what its predecessor left behind.
"""

import asyncio
import functools
import threading
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any, Literal

import msgspec
import pytest

from batchyard.executors.port import (
    AttemptSpec,
    Ended,
    Executor,
    Lost,
    Observation,
    Probe,
    Sighting,
    Started,
    StartFailed,
)
from batchyard.logs.port import LogLine, LogSink

DEADLINE_S = 60.0
"""No single wait of the suite lasts longer, no test runs longer than three of them."""

Terminal = Ended | StartFailed | Lost


class MemorySink:
    """A LogSink in memory that refuses positions that do not grow."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._streams: dict[tuple[str, str], list[LogLine]] = {}

    def create(self, group: str, stream: str) -> None:
        with self._lock:
            self._streams.setdefault((group, stream), [])

    def append(self, group: str, stream: str, lines: Sequence[LogLine]) -> None:
        with self._lock:
            held = self._streams.setdefault((group, stream), [])
            last = held[-1].position if held else 0
            before = 0
            for line in lines:
                assert line.position > before, "positions must grow within one call"
                before = line.position
                if line.position > last:
                    held.append(line)

    def position(self, group: str, stream: str) -> int:
        with self._lock:
            held = self._streams.get((group, stream))
            return held[-1].position if held else 0

    def has_stream(self, spec: AttemptSpec) -> bool:
        with self._lock:
            return (spec.log_group, spec.log_stream) in self._streams

    def messages(self, spec: AttemptSpec) -> list[str]:
        with self._lock:
            held = self._streams.get((spec.log_group, spec.log_stream), [])
            return [line.message for line in held]

    def lines(self, spec: AttemptSpec) -> list[LogLine]:
        with self._lock:
            return list(self._streams.get((spec.log_group, spec.log_stream), []))


class Recorder:
    """An observer that remembers everything and lets a test wait for it."""

    def __init__(self) -> None:
        self.seen: list[Observation] = []
        self._changed = asyncio.Event()

    def __call__(self, observation: Observation) -> None:
        asyncio.get_running_loop()  # raises when a driver observes from a foreign thread
        self.seen.append(observation)
        self._changed.set()
        self._changed = asyncio.Event()

    def of(self, attempt_id: str) -> list[Observation]:
        return [one for one in self.seen if one.attempt_id == attempt_id]

    async def terminal(self, attempt_id: str) -> Terminal:
        """The first Ended, StartFailed or Lost of the attempt."""
        async with asyncio.timeout(DEADLINE_S):
            while True:
                changed = self._changed
                for one in self.of(attempt_id):
                    if not isinstance(one, Started):
                        return one
                await changed.wait()

    async def ended(self, attempt_id: str) -> Ended:
        one = await self.terminal(attempt_id)
        assert isinstance(one, Ended), f"expected Ended, saw {one}"
        assert one.started_at_ms <= one.at_ms
        return one

    async def started(self, attempt_id: str) -> Started:
        async with asyncio.timeout(DEADLINE_S):
            while True:
                changed = self._changed
                for one in self.of(attempt_id):
                    assert isinstance(one, Started), f"expected Started, saw {one}"
                    return one
                await changed.wait()

    def check(self) -> None:
        """An attempt ends in one way only, and never starts after that."""
        finals: dict[str, Observation] = {}
        for one in self.seen:
            final = finals.get(one.attempt_id)
            if isinstance(one, Started):
                assert final is None, f"{one} after {final}"
            elif final is None:
                finals[one.attempt_id] = one
            else:
                assert type(final) is type(one), f"{one} after {final}"
                if isinstance(final, Ended) and isinstance(one, Ended):
                    assert final.exit_code == one.exit_code


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What an attempt shall do, in words that a shell and the mock both understand."""

    prints: tuple[str, ...] = ()
    run_for_s: float = 0.0
    exit_code: int = 0
    ignores_term: bool = False
    cannot_start: bool = False

    def command(self) -> tuple[str, ...]:
        if self.cannot_start:
            return ("/no/such/program", "--flag")
        script = ["trap '' TERM"] if self.ignores_term else []
        script += ["printf '%s\\n' '" + line.replace("'", "'\\''") + "'" for line in self.prints]
        if self.run_for_s:
            script.append(f"sleep {self.run_for_s:g}")
        script.append(f"exit {self.exit_code}")
        return ("sh", "-c", "\n".join(script))

    def mock(self) -> dict[str, str]:
        told: dict[str, str] = {}
        if self.prints:
            told["output"] = "\n".join(self.prints)
        if self.run_for_s:
            told["run_for"] = f"{self.run_for_s:g}"
        if self.exit_code:
            told["exit_code"] = str(self.exit_code)
        if self.ignores_term:
            told["ignore_term"] = "true"
        if self.cannot_start:
            told["start_error"] = (
                'CannotStartContainerError: exec: "/no/such/program": no such file or directory'
            )
        return told


FOREVER = Job(prints=("ready",), run_for_s=3600)


class Bench(msgspec.Struct, frozen=True, kw_only=True):
    """One open executor with its recorder."""

    executor: Executor
    recorder: Recorder
    sink: MemorySink
    probe: Probe

    async def run(self, spec: AttemptSpec) -> Ended:
        await self.executor.start(spec)
        return await self.recorder.ended(spec.attempt_id)

    async def printed(self, spec: AttemptSpec, line: str) -> None:
        await eventually(
            lambda: line in self.sink.messages(spec), f"line {line!r} of {spec.command}"
        )

    async def listed(self, attempt_id: str) -> Sighting | None:
        found = [one for one in await self.executor.list() if one.attempt_id == attempt_id]
        assert len(found) <= 1, found
        return found[0] if found else None

    async def until_listed(
        self, attempt_id: str, state: Literal["created", "running", "ended"]
    ) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while True:
                one = await self.listed(attempt_id)
                if one is not None and one.state == state:
                    return
                await asyncio.sleep(0.02)


async def eventually(holds: Callable[[], bool], what: str) -> None:
    try:
        async with asyncio.timeout(DEADLINE_S):
            while not holds():  # noqa: ASYNC110  # the thing waited for knows no events
                await asyncio.sleep(0.02)
    except TimeoutError:
        pytest.fail(f"waited {DEADLINE_S} s in vain for: {what}")


class ExecutorYard:
    """Opens executors of one kind over one store of attempts, and cleans up after the test."""

    def __init__(
        self,
        *,
        make: Callable[[LogSink], Executor],
        image: str = "busybox:latest",
        sees_oom: bool = True,
        loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
    ) -> None:
        self.image = image
        self.sees_oom = sees_oom
        self.loop_factory = loop_factory
        self.sink = MemorySink()
        self._make = make
        self._specs: list[AttemptSpec] = []
        self._bench: Bench | None = None

    async def open(self) -> Bench:
        assert self._bench is None, "one executor at a time; use reopen"
        executor = self._make(self.sink)
        recorder = Recorder()
        async with asyncio.timeout(DEADLINE_S):
            probe = await executor.open(recorder)
        self._bench = Bench(executor=executor, recorder=recorder, sink=self.sink, probe=probe)
        return self._bench

    async def reopen(self) -> Bench:
        """The server goes away and comes back. Attempts go on; nothing is adopted yet."""
        await self._close()
        return await self.open()

    def spec(
        self, job: Job | None = None, *, command: Sequence[str] | None = None, **over: Any
    ) -> AttemptSpec:
        """A spec with a fresh id. `command` is for drivers that run commands; `job` for all."""
        job = job if job is not None else Job()
        job_id = str(uuid.uuid4())
        values: dict[str, Any] = {
            "attempt_id": f"{job_id}.a1",
            "job_id": job_id,
            "attempt": 1,
            "job_name": "exercise",
            "image": self.image,
            "command": tuple(command) if command is not None else job.command(),
            "environment": {"AWS_BATCH_JOB_ID": job_id},
            "vcpu_milli": 1000,
            "memory_mib": 128,
            "log_stream": f"exercise/default/{job_id}",
            "mock": job.mock(),
        }
        spec = AttemptSpec(**(values | over))
        self._specs.append(spec)
        return spec

    async def tear_down(self, *, failed: bool) -> None:
        if self._bench is None:
            return
        executor, recorder = self._bench.executor, self._bench.recorder
        ids = {spec.attempt_id for spec in self._specs}
        async with asyncio.timeout(2 * DEADLINE_S):
            for attempt_id in ids:
                await executor.remove(attempt_id)
            left = [one for one in await executor.list() if one.attempt_id in ids]
            await self._close()
        if not failed:
            assert left == [], "remove left something behind"
            recorder.check()

    async def _close(self) -> None:
        bench, self._bench = self._bench, None
        if bench is not None:
            async with asyncio.timeout(DEADLINE_S):
                await bench.executor.close()


@asynccontextmanager
async def _tidy(yard: ExecutorYard) -> AsyncIterator[None]:
    failed = True
    try:
        yield
        failed = False
    finally:
        await yard.tear_down(failed=failed)


Method = Callable[..., Awaitable[None]]


def on_loop(method: Method) -> Callable[..., None]:
    """Run an async test method on a fresh event loop, with a deadline and a clean-up."""

    @functools.wraps(method)
    def test(self: object, yard: ExecutorYard, **fixtures: Any) -> None:
        async def main() -> None:
            async with _tidy(yard), asyncio.timeout(3 * DEADLINE_S):
                await method(self, yard, **fixtures)

        run: Coroutine[Any, Any, None] = main()
        with asyncio.Runner(loop_factory=yard.loop_factory) as runner:
            runner.run(run)

    return test


class ExecutorExercise:
    """What every driver promises."""

    @on_loop
    async def test_exit_zero(self, yard: ExecutorYard) -> None:
        bench = await yard.open()
        spec = yard.spec(Job(exit_code=0))
        ended = await bench.run(spec)
        assert ended.exit_code == 0
        assert ended.reason is None
        assert bench.sink.has_stream(spec)
        assert bench.sink.messages(spec) == []

    @on_loop
    async def test_exit_code_is_the_true_one(self, yard: ExecutorYard) -> None:
        bench = await yard.open()
        spec = yard.spec(Job(exit_code=7))
        assert (await bench.run(spec)).exit_code == 7

    @on_loop
    async def test_a_lasting_attempt_is_seen_to_start(self, yard: ExecutorYard) -> None:
        bench = await yard.open()
        spec = yard.spec(Job(run_for_s=0.3))
        await bench.executor.start(spec)
        started = await bench.recorder.started(spec.attempt_id)
        ended = await bench.recorder.ended(spec.attempt_id)
        assert started.handle
        assert started.at_ms <= ended.at_ms
        assert ended.at_ms - ended.started_at_ms >= 250

    @on_loop
    async def test_output_in_order(self, yard: ExecutorYard) -> None:
        bench = await yard.open()
        lines = tuple(f"line {number}" for number in range(200))
        spec = yard.spec(Job(prints=lines))
        await bench.run(spec)
        assert bench.sink.messages(spec) == list(lines)
        stamps = [line.timestamp_ms for line in bench.sink.lines(spec)]
        assert stamps == sorted(stamps)

    @on_loop
    async def test_output_appears_while_running(self, yard: ExecutorYard) -> None:
        bench = await yard.open()
        spec = yard.spec(FOREVER)
        await bench.executor.start(spec)
        await bench.printed(spec, "ready")
        assert not any(isinstance(one, Ended) for one in bench.recorder.of(spec.attempt_id))

    @on_loop
    async def test_what_cannot_start_is_reported(self, yard: ExecutorYard) -> None:
        bench = await yard.open()
        spec = yard.spec(Job(cannot_start=True))
        await bench.executor.start(spec)
        failed = await bench.recorder.terminal(spec.attempt_id)
        assert isinstance(failed, StartFailed)
        assert failed.reason.startswith("CannotStartContainerError: ")
        assert "/no/such/program" in failed.reason

    @on_loop
    async def test_start_twice_runs_once(self, yard: ExecutorYard) -> None:
        bench = await yard.open()
        spec = yard.spec(Job(prints=("once",), run_for_s=0.3, exit_code=3))
        await asyncio.gather(bench.executor.start(spec), bench.executor.start(spec))
        await bench.recorder.started(spec.attempt_id)
        await bench.executor.start(spec)
        assert (await bench.recorder.ended(spec.attempt_id)).exit_code == 3
        # Known and over: whatever it reports again, it does not start again.
        await bench.executor.start(spec)
        marker = yard.spec(Job(run_for_s=0.2))
        await bench.run(marker)
        assert bench.sink.messages(spec) == ["once"]

    @on_loop
    async def test_start_again_after_a_restart_runs_once(self, yard: ExecutorYard) -> None:
        bench = await yard.open()
        spec = yard.spec(Job(prints=("once",), run_for_s=0.5, exit_code=3))
        await bench.executor.start(spec)
        bench = await yard.reopen()
        await bench.executor.start(spec)
        assert (await bench.recorder.ended(spec.attempt_id)).exit_code == 3
        assert bench.sink.messages(spec) == ["once"]

    @on_loop
    async def test_stop_is_a_term(self, yard: ExecutorYard) -> None:
        bench = await yard.open()
        spec = yard.spec(FOREVER)
        await bench.executor.start(spec)
        await bench.printed(spec, "ready")
        await bench.executor.stop(spec.attempt_id, grace_s=30)
        ended = await bench.recorder.ended(spec.attempt_id)
        assert ended.exit_code in {143, 137}
        assert ended.reason is None

    @on_loop
    async def test_stop_kills_after_the_grace(self, yard: ExecutorYard) -> None:
        bench = await yard.open()
        spec = yard.spec(Job(prints=("ready",), run_for_s=3600, ignores_term=True))
        await bench.executor.start(spec)
        await bench.printed(spec, "ready")
        loop = asyncio.get_running_loop()
        before = loop.time()
        await bench.executor.stop(spec.attempt_id, grace_s=1)
        returned = loop.time()
        ended = await bench.recorder.ended(spec.attempt_id)
        assert ended.exit_code == 137
        assert ended.reason is None
        assert returned - before < 0.9, "stop must return at once"
        assert loop.time() - before >= 0.9, "killed before its grace was over"

    @on_loop
    async def test_stop_twice(self, yard: ExecutorYard) -> None:
        bench = await yard.open()
        spec = yard.spec(FOREVER)
        await bench.executor.start(spec)
        await bench.printed(spec, "ready")
        await asyncio.gather(
            bench.executor.stop(spec.attempt_id, grace_s=5),
            bench.executor.stop(spec.attempt_id, grace_s=5),
        )
        assert (await bench.recorder.ended(spec.attempt_id)).exit_code in {143, 137}
        await bench.executor.stop(spec.attempt_id, grace_s=5)

    @on_loop
    async def test_stop_of_an_unknown_attempt(self, yard: ExecutorYard) -> None:
        bench = await yard.open()
        spec = yard.spec()
        await bench.executor.stop(spec.attempt_id)
        assert bench.recorder.seen == []

    @on_loop
    async def test_stop_right_after_start(self, yard: ExecutorYard) -> None:
        bench = await yard.open()
        specs = [yard.spec(FOREVER) for _ in range(5)]
        for spec in specs:
            await bench.executor.start(spec)
            await bench.executor.stop(spec.attempt_id, grace_s=2)
        for spec in specs:
            final = await bench.recorder.terminal(spec.attempt_id)
            assert isinstance(final, Ended | StartFailed)
            if isinstance(final, Ended):
                assert final.exit_code in {143, 137}

    @on_loop
    async def test_adopt_a_running_attempt(self, yard: ExecutorYard) -> None:
        bench = await yard.open()
        spec = yard.spec(Job(prints=("first", "second"), run_for_s=1.5, exit_code=9))
        await bench.executor.start(spec)
        first = await bench.recorder.started(spec.attempt_id)
        bench = await yard.reopen()
        sighting = await bench.listed(spec.attempt_id)
        assert sighting is not None
        assert sighting.state == "running"
        await bench.executor.adopt(spec)
        again = await bench.recorder.started(spec.attempt_id)
        assert again.handle == first.handle
        ended = await bench.recorder.ended(spec.attempt_id)
        assert ended.exit_code == 9
        assert bench.sink.messages(spec) == ["first", "second"]

    @on_loop
    async def test_adopt_what_ended_meanwhile(self, yard: ExecutorYard) -> None:
        bench = await yard.open()
        spec = yard.spec(Job(prints=("first", "second"), run_for_s=0.4, exit_code=9))
        await bench.executor.start(spec)
        await bench.recorder.started(spec.attempt_id)
        bench = await yard.reopen()
        await bench.until_listed(spec.attempt_id, "ended")
        await bench.executor.adopt(spec)
        ended = await bench.recorder.ended(spec.attempt_id)
        assert ended.exit_code == 9
        assert ended.at_ms - ended.started_at_ms < 30_000
        assert bench.sink.messages(spec) == ["first", "second"]

    @on_loop
    async def test_adopt_what_was_seen_to_end(self, yard: ExecutorYard) -> None:
        bench = await yard.open()
        spec = yard.spec(Job(prints=("only",), exit_code=9))
        before = await bench.run(spec)
        bench = await yard.reopen()
        await bench.executor.adopt(spec)
        after = await bench.recorder.ended(spec.attempt_id)
        assert (after.exit_code, after.started_at_ms) == (9, before.started_at_ms)
        assert bench.sink.messages(spec) == ["only"]

    @on_loop
    async def test_adopt_what_could_not_start(self, yard: ExecutorYard) -> None:
        bench = await yard.open()
        spec = yard.spec(Job(cannot_start=True))
        await bench.executor.start(spec)
        await bench.recorder.terminal(spec.attempt_id)
        bench = await yard.reopen()
        await bench.executor.adopt(spec)
        assert isinstance(await bench.recorder.terminal(spec.attempt_id), StartFailed | Lost)

    @on_loop
    async def test_adopt_an_unknown_attempt(self, yard: ExecutorYard) -> None:
        bench = await yard.open()
        spec = yard.spec()
        await bench.executor.adopt(spec)
        assert isinstance(await bench.recorder.terminal(spec.attempt_id), Lost)

    @on_loop
    async def test_adopt_a_removed_attempt(self, yard: ExecutorYard) -> None:
        bench = await yard.open()
        spec = yard.spec(FOREVER)
        await bench.executor.start(spec)
        await bench.recorder.started(spec.attempt_id)
        await bench.executor.remove(spec.attempt_id)
        bench = await yard.reopen()
        await bench.executor.adopt(spec)
        assert isinstance(await bench.recorder.terminal(spec.attempt_id), Lost)

    @on_loop
    async def test_stop_an_adopted_attempt(self, yard: ExecutorYard) -> None:
        bench = await yard.open()
        spec = yard.spec(Job(prints=("ready",), run_for_s=3600, ignores_term=True))
        await bench.executor.start(spec)
        await bench.printed(spec, "ready")
        bench = await yard.reopen()
        await bench.executor.adopt(spec)
        await bench.recorder.started(spec.attempt_id)
        await bench.executor.stop(spec.attempt_id, grace_s=1)
        assert (await bench.recorder.ended(spec.attempt_id)).exit_code == 137

    @on_loop
    async def test_a_stop_may_be_asked_again_after_a_restart(self, yard: ExecutorYard) -> None:
        bench = await yard.open()
        spec = yard.spec(Job(prints=("ready",), run_for_s=3600, ignores_term=True))
        await bench.executor.start(spec)
        await bench.printed(spec, "ready")
        await bench.executor.stop(spec.attempt_id, grace_s=3600)
        bench = await yard.reopen()
        await bench.executor.adopt(spec)
        await bench.executor.stop(spec.attempt_id, grace_s=1)
        assert (await bench.recorder.ended(spec.attempt_id)).exit_code == 137

    @on_loop
    async def test_list_shows_what_the_engine_holds(self, yard: ExecutorYard) -> None:
        bench = await yard.open()
        done, going, never = yard.spec(Job()), yard.spec(FOREVER), yard.spec()
        await bench.run(done)
        await bench.executor.start(going)
        await bench.recorder.started(going.attempt_id)
        found = {one.attempt_id: one for one in await bench.executor.list()}
        assert found[done.attempt_id].state == "ended"
        assert found[going.attempt_id].state == "running"
        assert found[going.attempt_id].handle
        assert never.attempt_id not in found

    @on_loop
    async def test_remove_kills_and_forgets(self, yard: ExecutorYard) -> None:
        bench = await yard.open()
        spec = yard.spec(Job(prints=("ready",), run_for_s=3600, ignores_term=True))
        await bench.executor.start(spec)
        await bench.printed(spec, "ready")
        await bench.executor.remove(spec.attempt_id)
        assert await bench.listed(spec.attempt_id) is None

    @on_loop
    async def test_remove_twice_and_remove_unknown(self, yard: ExecutorYard) -> None:
        bench = await yard.open()
        spec = yard.spec(Job())
        await bench.run(spec)
        await bench.executor.remove(spec.attempt_id)
        await bench.executor.remove(spec.attempt_id)
        await bench.executor.remove(yard.spec().attempt_id)
        assert await bench.listed(spec.attempt_id) is None

    @on_loop
    async def test_twenty_at_once(self, yard: ExecutorYard) -> None:
        bench = await yard.open()
        specs = [yard.spec(Job(prints=(f"I am {n}",), exit_code=n)) for n in range(20)]
        await asyncio.gather(*(bench.executor.start(spec) for spec in specs))
        for number, spec in enumerate(specs):
            assert (await bench.recorder.ended(spec.attempt_id)).exit_code == number
            assert bench.sink.messages(spec) == [f"I am {number}"]


class CommandExercise(ExecutorExercise):
    """What a driver promises that runs real commands (the image has sh and the usual tools)."""

    @on_loop
    async def test_both_streams_and_a_last_line_without_newline(self, yard: ExecutorYard) -> None:
        bench = await yard.open()
        script = "echo out; echo err >&2; printf tail"
        spec = yard.spec(command=("sh", "-c", script))
        await bench.run(spec)
        assert sorted(bench.sink.messages(spec)) == ["err", "out", "tail"]

    @on_loop
    async def test_output_in_pieces_is_joined_to_lines(self, yard: ExecutorYard) -> None:
        bench = await yard.open()
        script = "printf 'a b'; sleep 0.6; printf ' c\\nnext'; sleep 0.6; echo ' one'"
        spec = yard.spec(command=("sh", "-c", script))
        await bench.run(spec)
        assert bench.sink.messages(spec) == ["a b c", "next one"]

    @on_loop
    async def test_five_megabytes_of_output(self, yard: ExecutorYard) -> None:
        bench = await yard.open()
        line = "head -c 102399 /dev/zero | tr '\\0' x; echo"
        script = f"i=0; while [ $i -lt 50 ]; do {line}; i=$((i+1)); done"
        spec = yard.spec(command=("sh", "-c", script))
        assert (await bench.run(spec)).exit_code == 0
        text = bench.sink.messages(spec)
        assert sum(len(line) for line in text) == 50 * 102_399
        assert set("".join(text)) == {"x"}

    @on_loop
    async def test_many_short_lines(self, yard: ExecutorYard) -> None:
        bench = await yard.open()
        spec = yard.spec(command=("seq", "1", "50000"))
        assert (await bench.run(spec)).exit_code == 0
        assert bench.sink.messages(spec) == [str(number) for number in range(1, 50_001)]

    @on_loop
    async def test_bytes_that_are_no_utf8(self, yard: ExecutorYard) -> None:
        bench = await yard.open()
        spec = yard.spec(command=("sh", "-c", "printf 'a\\377b\\n'; printf 'gr\\303\\274n\\n'"))
        assert (await bench.run(spec)).exit_code == 0
        assert bench.sink.messages(spec) == ["a\ufffdb", "grün"]

    @on_loop
    async def test_environment_and_arguments(self, yard: ExecutorYard) -> None:
        bench = await yard.open()
        spec = yard.spec(
            command=(
                "sh",
                "-c",
                'printf "%s\\n" "$GREETING" "$EMPTY" "$@"',
                "sh",
                "",
                "zwölf $X",
                "*",
            ),
            environment={"GREETING": "hé llo=1\t2", "EMPTY": ""},
        )
        assert (await bench.run(spec)).exit_code == 0
        assert bench.sink.messages(spec) == ["hé llo=1\t2", "", "", "zwölf $X", "*"]

    @on_loop
    async def test_a_signal_is_128_more(self, yard: ExecutorYard) -> None:
        bench = await yard.open()
        spec = yard.spec(command=("sh", "-c", "kill -9 $$"))
        ended = await bench.run(spec)
        assert ended.exit_code == 137
        assert ended.reason is None

    @on_loop
    async def test_a_command_that_handles_term_chooses_its_code(self, yard: ExecutorYard) -> None:
        bench = await yard.open()
        script = "trap 'echo bye; exit 7' TERM; echo ready; while :; do sleep 0.1; done"
        spec = yard.spec(command=("sh", "-c", script))
        await bench.executor.start(spec)
        await bench.printed(spec, "ready")
        await bench.executor.stop(spec.attempt_id, grace_s=30)
        assert (await bench.recorder.ended(spec.attempt_id)).exit_code == 7
        # A shell may remark on a child that the same signal ended; its own words must be there.
        assert [line for line in bench.sink.messages(spec) if line in {"ready", "bye"}] == [
            "ready",
            "bye",
        ]

    @on_loop
    async def test_children_die_with_the_main_process(self, yard: ExecutorYard) -> None:
        bench = await yard.open()
        # ORDER: the child ignores TERM and would write for ever; nothing may come after Ended.
        script = "(trap '' TERM HUP; while :; do echo child; sleep 0.05; done) & sleep 0.3; exit 5"
        spec = yard.spec(command=("sh", "-c", script))
        assert (await bench.run(spec)).exit_code == 5
        count = len(bench.sink.messages(spec))
        assert count > 0
        bench = await yard.reopen()
        await bench.executor.adopt(spec)
        await bench.recorder.ended(spec.attempt_id)
        assert len(bench.sink.messages(spec)) == count

    @on_loop
    async def test_children_die_with_a_stop(self, yard: ExecutorYard) -> None:
        bench = await yard.open()
        script = (
            "trap '' TERM; (setsid sh -c 'while :; do echo child; sleep 0.05; done') & "
            "echo ready; wait; sleep 3600"
        )
        spec = yard.spec(command=("sh", "-c", script))
        await bench.executor.start(spec)
        await bench.printed(spec, "ready")
        await bench.printed(spec, "child")
        await bench.executor.stop(spec.attempt_id, grace_s=0.3)
        assert (await bench.recorder.ended(spec.attempt_id)).exit_code == 137
        count = len(bench.sink.messages(spec))
        bench = await yard.reopen()
        await bench.executor.adopt(spec)
        await bench.recorder.ended(spec.attempt_id)
        assert len(bench.sink.messages(spec)) == count

    @on_loop
    async def test_out_of_memory(self, yard: ExecutorYard) -> None:
        assert yard.sees_oom, "a driver that cannot limit memory here replaces this test"
        bench = await yard.open()
        spec = yard.spec(
            command=("sh", "-c", "exec dd if=/dev/zero of=/dev/null bs=512M count=1"), memory_mib=64
        )
        ended = await bench.run(spec)
        assert ended.exit_code == 137
        assert ended.reason == "OutOfMemoryError: Container killed due to memory usage"

    @on_loop
    async def test_enough_memory_is_no_error(self, yard: ExecutorYard) -> None:
        bench = await yard.open()
        spec = yard.spec(
            command=("dd", "if=/dev/zero", "of=/dev/null", "bs=32M", "count=1"), memory_mib=128
        )
        assert (await bench.run(spec)).exit_code == 0

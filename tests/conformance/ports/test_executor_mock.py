"""The mock executor passes the suite, and every way of failing is reachable from parameters."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from batchyard.executors.mock import OOM_REASON, MockExecutor, Record, course, read_script
from batchyard.executors.port import Ended, Lost, StartFailed
from conformance.ports.executor_exercise import ExecutorExercise, ExecutorYard, on_loop


class TestMockExecutor(ExecutorExercise):
    @pytest.fixture
    def yard(self, tmp_path: Path) -> ExecutorYard:
        return ExecutorYard(make=lambda sink: MockExecutor(home=tmp_path, sink=sink))

    @on_loop
    async def test_lost_once_is_lost_for_ever(self, yard: ExecutorYard) -> None:
        bench = await yard.open()
        spec = yard.spec(mock={"run_for": "60", "lose_after": "0.1"})
        await bench.executor.start(spec)
        await bench.recorder.started(spec.attempt_id)
        assert isinstance(await bench.recorder.terminal(spec.attempt_id), Lost)
        bench = await yard.reopen()
        await bench.executor.adopt(spec)
        assert isinstance(await bench.recorder.terminal(spec.attempt_id), Lost)

    @on_loop
    async def test_nonsense_fails_to_start_and_says_why(self, yard: ExecutorYard) -> None:
        bench = await yard.open()
        spec = yard.spec(mock={"run_for": "soon"})
        await bench.executor.start(spec)
        final = await bench.recorder.terminal(spec.attempt_id)
        assert isinstance(final, StartFailed)
        assert "run_for must be a number of seconds" in final.reason
        assert "'soon'" in final.reason

    @on_loop
    async def test_stopped_before_its_start_it_never_starts(self, yard: ExecutorYard) -> None:
        bench = await yard.open()
        spec = yard.spec(mock={"start_after": "3600", "run_for": "3600"})
        await bench.executor.start(spec)
        sighting = await bench.listed(spec.attempt_id)
        assert sighting is not None
        assert sighting.state == "created"
        await bench.executor.stop(spec.attempt_id)
        assert isinstance(await bench.recorder.terminal(spec.attempt_id), StartFailed)


def outcome(parameters: dict[str, str], **record: Any) -> Ended | StartFailed | Lost:
    values = {"attempt_id": "x.a1", "asked_at_ms": 1000, "script": read_script(parameters)} | record
    return course(msgspec.convert(values, Record)).final


def ended(at_ms: int, exit_code: int, reason: str | None = None) -> Ended:
    return Ended(
        attempt_id="x.a1", at_ms=at_ms, started_at_ms=1000, exit_code=exit_code, reason=reason
    )


class TestCourse:
    def test_run_for_and_exit_code(self) -> None:
        assert outcome({"run_for": "1.5", "exit_code": "4"}) == ended(2500, 4)

    def test_parameters_of_the_job_itself_are_ignored(self) -> None:
        assert outcome({"inputfile": "reads.fq"}) == ended(1000, 0)

    def test_a_reason_of_its_own(self) -> None:
        assert outcome({"exit_code": "1", "reason": "Host EC2 terminated"}) == ended(
            1000, 1, "Host EC2 terminated"
        )

    def test_out_of_memory(self) -> None:
        assert outcome({"oom": "true"}) == ended(1000, 137, OOM_REASON)

    def test_a_stop_is_a_term_at_once(self) -> None:
        final = outcome({"run_for": "9"}, stopped_at_ms=3000, killed_at_ms=5000)
        assert final == ended(3000, 143)

    def test_one_that_ignores_the_term_is_killed(self) -> None:
        script = {"run_for": "9", "ignore_term": "true"}
        assert outcome(script, stopped_at_ms=3000, killed_at_ms=5000) == ended(5000, 137)

    def test_one_that_ends_within_the_grace_chooses_its_code(self) -> None:
        script = {"run_for": "3", "ignore_term": "true", "exit_code": "9"}
        assert outcome(script, stopped_at_ms=3000, killed_at_ms=5000) == ended(4000, 9)

    @pytest.mark.parametrize(
        "parameters",
        [
            {"run_for": "-1"},
            {"run_for": "nan"},
            {"exit_code": "256"},
            {"exit_code": "-1"},
            {"exit_code": "1.0"},
            {"oom": "yes"},
            {"lose_after": ""},
        ],
    )
    def test_nonsense_names_the_parameter(self, parameters: dict[str, str]) -> None:
        final = outcome(parameters)
        assert isinstance(final, StartFailed)
        assert next(iter(parameters)) in final.reason

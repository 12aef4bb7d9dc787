"""The process executor passes the suite, with control groups where it can have them and without."""

import asyncio
from pathlib import Path

import pytest
import uvloop

from batchyard.executors.process.executor import ProcessExecutor
from conformance.ports.executor_exercise import CommandExercise, ExecutorYard


class TestProcessExecutor(CommandExercise):
    @pytest.fixture(params=["asyncio", "uvloop"])
    def yard(self, request: pytest.FixtureRequest, tmp_path: Path) -> ExecutorYard:
        loop_factory = (
            uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop
        )
        return ExecutorYard(
            make=lambda sink: ProcessExecutor(home=tmp_path, sink=sink), loop_factory=loop_factory
        )

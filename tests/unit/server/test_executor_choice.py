"""Which executor `auto` means for a yard that left attempts somewhere."""

import asyncio
from pathlib import Path

import pytest

from batchyard.executors.port import Executor
from batchyard.kernel.faults import EngineUnavailable
from batchyard.logs.store import FileLogStore
from batchyard.server.engines import choose_executor
from batchyard.server.settings import ExecutorName, Settings


def choose(home: Path, wanted: ExecutorName, *, holding: str | None) -> Executor:
    settings = Settings(executor=wanted, engine_socket=str(home / "no-engine.sock"))
    logs = FileLogStore(home / "logs")
    try:
        return asyncio.run(
            choose_executor(settings, home=home, yard_id="y", logs=logs, holding=holding)
        )
    finally:
        logs.close()


def test_processes_when_no_engine_answers_and_nothing_is_held(tmp_path: Path) -> None:
    assert choose(tmp_path, "auto", holding=None).name == "process"


@pytest.mark.parametrize("holding", ["process", "mock"])
def test_auto_stays_with_whoever_holds_attempts(tmp_path: Path, holding: str) -> None:
    assert choose(tmp_path, "auto", holding=holding).name == holding


def test_auto_waits_for_the_engine_that_holds_attempts(tmp_path: Path) -> None:
    """Processes instead would take the containers for lost and run the jobs a second time."""
    with pytest.raises(EngineUnavailable, match="jobs of this yard run in containers") as caught:
        choose(tmp_path, "auto", holding="docker")
    assert "--executor process" in caught.value.hint


def test_the_owner_may_give_them_up(tmp_path: Path) -> None:
    assert choose(tmp_path, "process", holding="docker").name == "process"

"""A yard to kill, on each engine. BATCHYARD_REQUIRE_ENGINES=1 makes a missing engine a failure."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from engines.conftest import daemon, docker_socket
from faults.killable_yard import KillableYard
from faults.load import Load

__all__ = ["daemon", "docker_socket"]


@pytest.fixture
def load(tmp_path: Path) -> Iterator[Load]:
    load = Load(tmp_path / "ledger")
    yield load
    load.close()


@pytest.fixture
def process_yard(tmp_path: Path, load: Load) -> Iterator[KillableYard]:
    yield from _yard(KillableYard(tmp_path / "yard", "process"), load)


@pytest.fixture
def docker_yard(tmp_path: Path, docker_socket: str, load: Load) -> Iterator[KillableYard]:
    yield from _yard(KillableYard(tmp_path / "yard", "docker"), load)


def _yard(yard: KillableYard, load: Load) -> Iterator[KillableYard]:
    yield yard
    # A failed test leaves jobs behind: they must not live on beside the next test.
    load.open_gate()
    yard.abandon(str(load.ledger))

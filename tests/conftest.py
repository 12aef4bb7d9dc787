"""Every answer of every server in the run is checked against its output shape.

Servers inherit the variable and append to one file; a test whose answers had problems fails.
"""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from batchyard.server.response_check import VARIABLE


@pytest.fixture(scope="session", autouse=True)
def response_problems_file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    file = tmp_path_factory.mktemp("responses") / "problems"
    file.touch()
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = str(file)
    yield file
    if before is None:
        del os.environ[VARIABLE]
    else:
        os.environ[VARIABLE] = before


@pytest.fixture(scope="session", autouse=True)
def _ctrl_c_works() -> None:
    """A shell that starts the run in the background ignores Ctrl-C, and all below would too."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _responses_have_their_shape(response_problems_file: Path) -> Iterator[None]:
    before = response_problems_file.stat().st_size
    yield
    with response_problems_file.open("rb") as file:
        file.seek(before)
        new = file.read().decode()
    assert not new, f"answers departed from their output shape:\n{new}"

import msgspec
import pytest

from batchyard.executors.docker.doubt import LOOKS_WITHIN_MS, may_be_made_up
from batchyard.executors.docker.inspected import Inspected

BEGAN_MS = 1_767_323_045_678
FOUND = Inspected(
    container_id="7e1d" * 16,
    state="ended",
    created_ms=BEGAN_MS - 9000,
    started_ms=BEGAN_MS - 8000,
    finished_ms=BEGAN_MS + 200,
    exit_code=0,
    oom_killed=False,
    program="sh",
    working_directory="/",
    search_path="/bin",
    attempt_id="a1",
    notes=(),
)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, True),
        ({"exit_code": 255}, True),
        ({"exit_code": 1}, False),
        ({"started_ms": BEGAN_MS}, False),
        ({"finished_ms": BEGAN_MS - 1}, False),
        ({"finished_ms": BEGAN_MS}, True),
        ({"finished_ms": BEGAN_MS + LOOKS_WITHIN_MS}, False),
    ],
)
def test_what_an_engine_makes_up_looks_like_this(change: dict[str, int], expected: bool) -> None:
    assert may_be_made_up(msgspec.structs.replace(FOUND, **change), BEGAN_MS) is expected


def test_of_an_engine_out_of_sight_nothing_is_doubted() -> None:
    assert not may_be_made_up(FOUND, None)

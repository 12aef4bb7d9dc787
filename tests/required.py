"""What a test does where the engine or client that it drives is missing."""

import os
from typing import NoReturn

import pytest


def cannot_run(told: str) -> NoReturn:
    """Skip; with BATCHYARD_REQUIRE_ENGINES=1, as in CI, fail."""
    if os.environ.get("BATCHYARD_REQUIRE_ENGINES") == "1":
        pytest.fail(told)
    pytest.skip(told)

"""Job ids: UUIDs of version 4 in form, whose first 48 bits are the time.

# CHOSEN: AWS draws them at random. In order of time the rows of new jobs lie side by side in the
# store, so that a commit writes a few pages and not one per job and index (ADR 11). The other 74
# bits are random.
"""

import os
from collections.abc import Callable

from batchyard.control.port import Clock


def job_ids(clock: Clock) -> Callable[[], str]:
    """A source of fresh ids in text."""

    def fresh() -> str:
        number = (clock() & 0xFFFF_FFFF_FFFF) << 80 | int.from_bytes(os.urandom(10))
        number = number & ~(0xF << 76) | 4 << 76
        number = number & ~(0x3 << 62) | 2 << 62
        digits = f"{number:032x}"
        return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))

    return fresh

"""Named places where a fault test may kill the server; in a yard nothing happens there.

`BATCHYARD_FAILPOINT=dispatch.after_start:7` makes the seventh passing of that place a SIGKILL of
this process, as real as any.
"""

import os
import signal
from collections.abc import Mapping

from batchyard.control.port import Failpoint, no_failpoint

VARIABLE = "BATCHYARD_FAILPOINT"


def failpoint(environ: Mapping[str, str]) -> Failpoint:
    """The failpoint the environment asks for."""
    wanted = environ.get(VARIABLE, "")
    name, _, count = wanted.partition(":")
    if not name:
        return no_failpoint
    left = int(count or 1)

    def kill_at(passed: str, /) -> None:
        nonlocal left
        if passed == name:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    return kill_at

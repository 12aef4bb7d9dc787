"""Run as a program: submits jobs until killed, telling each id on stdout once it was acknowledged.

Arguments: data directory, failpoint, at which of its calls to die (0: never).
"""

import asyncio
import os
import signal
import sys
from pathlib import Path

from batchyard.kernel.effects import StartAttempt
from batchyard.store.sqlite import open_store
from conformance.ports import store_values as v

TOGETHER = 16


class Dying:
    def __init__(self, name: str, at_call: int) -> None:
        self._name = name
        self._left = at_call

    def __call__(self, name: str, /) -> None:
        if name == self._name:
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)


async def main(directory: Path, failpoint: str, at_call: int) -> None:
    store = open_store(directory, failpoints=Dying(failpoint, at_call))

    async def submit(n: int) -> None:
        name = f"j{n}"
        row = v.job(name, seq=n)
        await store.write(
            v.recording(
                v.submitted(row, v.spec("up")),
                v.placed(name),
                effects=(StartAttempt(job_id=name, attempt=1),),
            )
        )
        os.write(1, f"{name}\n".encode())

    for first in range(1, 100_000, TOGETHER):
        await asyncio.gather(*(submit(n) for n in range(first, first + TOGETHER)))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])))

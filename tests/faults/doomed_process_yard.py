"""A server in its own process, for tests that kill it: starts attempts and never says goodbye.

    python doomed_process_yard.py HOME SPECS.json

Prints the id of each attempt once `start` has returned for it.
"""

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from batchyard.executors.port import AttemptSpec, Observation
from batchyard.executors.process.executor import ProcessExecutor
from batchyard.logs.port import LogLine


class _NoSink:
    def create(self, group: str, stream: str) -> None:
        pass

    def append(self, group: str, stream: str, lines: Sequence[LogLine]) -> None:
        pass

    def position(self, group: str, stream: str) -> int:
        return 0


def _ignore(observation: Observation) -> None:
    pass


async def main(home: Path, specs: list[AttemptSpec]) -> None:
    executor = ProcessExecutor(home=home, sink=_NoSink())
    await executor.open(_ignore)
    for spec in specs:
        await executor.start(spec)
        print(spec.attempt_id, flush=True)
        await asyncio.sleep(0)
    await asyncio.Event().wait()


if __name__ == "__main__":
    read = msgspec.json.decode(Path(sys.argv[2]).read_bytes(), type=list[AttemptSpec])
    asyncio.run(main(Path(sys.argv[1]), read))

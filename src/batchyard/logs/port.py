"""What the rest of Batchyard asks of the log store."""

from collections.abc import Sequence
from typing import Protocol

import msgspec


class LogLine(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One line of a job's output.

    `position` is the producer's own cursor after this line (bytes read of a file, nanoseconds of an
    engine's clock): it grows within a stream and is what a producer resumes from after a crash.
    """

    timestamp_ms: int
    message: str
    position: int


class LogSink(Protocol):
    """Where executors put output. Methods are synchronous, fast, and safe from any thread."""

    def create(self, group: str, stream: str) -> None:
        """Make the stream exist, empty. Idempotent."""

    def append(self, group: str, stream: str, lines: Sequence[LogLine]) -> None:
        """Append lines in order; creates the stream when it is missing.

        Lines whose `position` is not beyond `position(group, stream)` are dropped, so that a
        producer may repeat itself after a crash.
        """

    def position(self, group: str, stream: str) -> int:
        """Cursor of the last line that survived; 0 when there is none."""

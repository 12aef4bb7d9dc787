"""Reading one stream's file through small windows; never a whole file, never a write.

Events of a stream are ordered by time as well as by offset (`writer` sees to it), so a time is
found by bisection.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from batchyard.logs.record import Header, LogEvent, decode, decode_header

WINDOW_BYTES = 64 * 1024
PEEK_BYTES = 4 * 1024
_MAX_HEADER_BYTES = 16 * 1024


class StreamReader:
    """A view of one file as it was when opened: whole records in `[start, end)`.

    Raises FileNotFoundError when the file is missing, or has no header yet.
    """

    header: Header
    start: int
    end: int

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            size = os.fstat(self._fd).st_size
            header, self.start = read_header(self._fd)
            if header is None:
                raise FileNotFoundError(path)
            self.header = header
            self.end = whole_end(self._fd, size=size, start=self.start)
        except BaseException:
            os.close(self._fd)
            raise

    def __enter__(self) -> "StreamReader":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        os.close(self._fd)

    def read(self, start: int, stop: int, *, window_bytes: int) -> tuple[list[LogEvent], int]:
        """Events from `start`, about a window of them, and the offset to go on from."""
        events: list[LogEvent] = []
        carry = b""
        read_at = offset = start
        while read_at < stop and offset == start:
            chunk = os.pread(self._fd, min(window_bytes, stop - read_at), read_at)
            if not chunk:
                return events, stop
            read_at += len(chunk)
            lines = (carry + chunk).split(b"\n")
            carry = lines.pop()
            for line in lines:
                event = decode(line, offset)
                offset += len(line) + 1
                if event is not None:
                    events.append(event)
        return events, stop if offset == start else offset

    def forward(
        self, start: int, stop: int, *, window_bytes: int = WINDOW_BYTES
    ) -> Iterator[LogEvent]:
        """Events of `[start, stop)`, oldest first."""
        while start < stop:
            events, start = self.read(start, stop, window_bytes=window_bytes)
            yield from events

    def backward(
        self, start: int, stop: int, *, window_bytes: int = WINDOW_BYTES
    ) -> Iterator[LogEvent]:
        """Events of `[start, stop)`, newest first."""
        tail = b""
        at = stop
        while at > start:
            size = min(window_bytes, at - start)
            at -= size
            block = os.pread(self._fd, size, at) + tail
            # The first line of the block may have begun before it: keep it for the next round.
            cut = 0 if at == start else block.find(b"\n") + 1
            if cut == 0 and at > start:
                tail = block
                continue
            tail = block[:cut]
            offset = at + len(block)
            for line in reversed(block[cut:].split(b"\n")[:-1]):
                offset -= len(line) + 1
                event = decode(line, offset)
                if event is not None:
                    yield event

    def first(self) -> LogEvent | None:
        return next(self.forward(self.start, self.end, window_bytes=PEEK_BYTES), None)

    def last(self) -> LogEvent | None:
        return next(self.backward(self.start, self.end, window_bytes=PEEK_BYTES), None)

    def is_boundary(self, offset: int) -> bool:
        """Whether a record starts, or the file ends, exactly at `offset`."""
        if not self.start <= offset <= self.end:
            return False
        return os.pread(self._fd, 1, offset - 1) == b"\n"

    def seek_time(self, timestamp_ms: int) -> int:
        """Offset of the first event at or after the time; `end` when there is none."""
        low, high = self.start, self.end
        while high - low > WINDOW_BYTES:
            middle = self._boundary_after((low + high) // 2, high)
            if middle >= high:
                break
            probe = next(self.forward(middle, high, window_bytes=PEEK_BYTES), None)
            if probe is None or probe.timestamp_ms >= timestamp_ms:
                high = middle
            else:
                low = probe.offset
        for event in self.forward(low, high):
            if event.timestamp_ms >= timestamp_ms:
                return event.offset
        return high

    def _boundary_after(self, offset: int, stop: int) -> int:
        while offset < stop:
            chunk = os.pread(self._fd, min(PEEK_BYTES, stop - offset), offset)
            found = chunk.find(b"\n")
            if found >= 0:
                return offset + found + 1
            offset += max(len(chunk), 1)
        return stop


def read_header(fd: int) -> tuple[Header | None, int]:
    """The header and the offset just after it; (None, 0) when there is none."""
    head = os.pread(fd, PEEK_BYTES, 0)
    if len(head) == PEEK_BYTES and b"\n" not in head:
        head = os.pread(fd, _MAX_HEADER_BYTES, 0)
    line, newline, _ = head.partition(b"\n")
    header = decode_header(line) if newline else None
    return (None, 0) if header is None else (header, len(line) + 1)


def whole_end(fd: int, *, size: int, start: int) -> int:
    """Offset just after the last whole record; what follows it was torn by a crash."""
    at = size
    while at > start:
        step = min(PEEK_BYTES, at - start)
        found = os.pread(fd, step, at - step).rfind(b"\n")
        if found >= 0:
            return at - step + found + 1
        at -= step
    return start

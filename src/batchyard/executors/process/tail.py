"""Follows the file a command writes to and hands its lines to the log store.

Lines are stamped with the time they were read. The position of a line is the byte after it, so
a successor goes on exactly where the store's last line ended.
"""

import os

from batchyard.logs.port import LogLine, LogSink

MAX_LINE_BYTES = 256 * 1024
"""Longer lines are cut. # AWS: CloudWatch Logs takes events of at most 256 KiB."""
CHUNK_BYTES = 1 << 20


class Tail:
    def __init__(self, path: str, sink: LogSink, *, group: str, stream: str) -> None:
        self._path = path
        self._sink = sink
        self._group = group
        self._stream = stream
        self._position = 0
        self._partial = b""
        self._last_ms = 0
        self._made = False

    def resume(self) -> None:
        """Go on after what the store already holds."""
        self._position = self._sink.position(self._group, self._stream)
        self._partial = b""

    def make_stream(self) -> None:
        if not self._made:
            self._sink.create(self._group, self._stream)
            self._made = True

    def step(self, *, now_ms: int) -> bool:
        """Read at most one chunk; True when there may be more to read now."""
        read_from = self._position + len(self._partial)
        try:
            if os.stat(self._path).st_size <= read_from:
                return False
            fd = os.open(self._path, os.O_RDONLY)
        except FileNotFoundError:
            return False
        try:
            chunk = os.pread(fd, CHUNK_BYTES, read_from)
        finally:
            os.close(fd)
        *whole, rest = (self._partial + chunk).split(b"\n")
        lines: list[LogLine] = []
        position = self._position
        now_ms = self._last_ms = max(now_ms, self._last_ms)
        for raw in whole:
            if len(raw) > MAX_LINE_BYTES:
                raw = self._cut(raw, position, lines=lines, now_ms=now_ms)
                position = lines[-1].position
            position += len(raw) + 1
            text = raw.decode("utf-8", "replace")
            lines.append(LogLine(timestamp_ms=now_ms, message=text, position=position))
        if len(rest) > MAX_LINE_BYTES:
            rest = self._cut(rest, position, lines=lines, now_ms=now_ms)
            position = lines[-1].position
        if lines:
            self._sink.append(self._group, self._stream, lines)
            self._made = True
        # ORDER: after the append, so that a store that failed gets the same lines again.
        self._position, self._partial = position, rest
        return bool(chunk)

    def finish(self, *, now_ms: int) -> None:
        """After the last `step`: a last line without its newline, or the empty stream."""
        if self._partial:
            position = self._position + len(self._partial)
            text = self._partial.decode("utf-8", "replace")
            line = LogLine(timestamp_ms=max(now_ms, self._last_ms), message=text, position=position)
            self._sink.append(self._group, self._stream, [line])
            self._made = True
            self._position, self._partial = position, b""
        self.make_stream()

    def _cut(self, raw: bytes, position: int, *, lines: list[LogLine], now_ms: int) -> bytes:
        """Turn a line that is too long into pieces of whole characters; returns the last one."""
        while len(raw) > MAX_LINE_BYTES:
            end = MAX_LINE_BYTES
            while end > MAX_LINE_BYTES - 4 and raw[end] & 0xC0 == 0x80:
                end -= 1
            position += end
            text = raw[:end].decode("utf-8", "replace")
            lines.append(LogLine(timestamp_ms=now_ms, message=text, position=position))
            raw = raw[end:]
        return raw

"""The engine's multiplexed log stream as lines with positions. Pure: bytes in, LogLines out.

A frame is an 8-byte header (stream number, three zeros, big-endian length), then a timestamp, a
space, and one line or a part of one. A part does not end in a newline; the rest follows in later
frames of the same stream.

Invariant: positions grow strictly, and reading the same frames again from the start of any whole
second gives the same positions. Timestamps alone would not do: Docker stamps stdout and stderr
apart, so they may step back, and Podman's API cuts them to whole seconds.
"""

import struct
from datetime import datetime

from batchyard.logs.port import LogLine

MOST_BYTES_PER_LINE = 262_118
"""AWS: CloudWatch Logs takes events of up to 256 KiB, 26 bytes of which are its own."""

_HEADER = struct.Struct(">B3xI")
_NS = 1_000_000_000


class FrameReader:
    """Feed chunks of the stream in order; each call returns the lines completed by it."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._parts: dict[int, bytearray] = {}
        self._stamps: dict[int, int] = {}
        self._position = 0

    def feed(self, chunk: bytes) -> list[LogLine]:
        self._buffer += chunk
        lines: list[LogLine] = []
        at = 0
        while len(self._buffer) - at >= _HEADER.size:
            stream, length = _HEADER.unpack_from(self._buffer, at)
            end = at + _HEADER.size + length
            if len(self._buffer) < end:
                break
            self._frame(stream, bytes(self._buffer[at + _HEADER.size : end]), lines)
            at = end
        del self._buffer[:at]
        return lines

    def finish(self) -> list[LogLine]:
        """Lines whose newline never came."""
        lines: list[LogLine] = []
        for stream in sorted(self._parts):
            self._flush(stream, lines)
        return lines

    def _frame(self, stream: int, payload: bytes, lines: list[LogLine]) -> None:
        stamp, _, text = payload.partition(b" ")
        part = self._parts.get(stream)
        if part is None:
            part = self._parts[stream] = bytearray()
            self._stamps[stream] = parse_time_ns(stamp.decode("ascii", "replace"))
        part += text
        if part.endswith(b"\n"):
            del part[-1:]
            self._flush(stream, lines)
        elif len(part) >= MOST_BYTES_PER_LINE:
            self._flush(stream, lines)

    def _flush(self, stream: int, lines: list[LogLine]) -> None:
        text = bytes(self._parts.pop(stream))
        stamp_ns = self._stamps.pop(stream)
        for start in range(0, len(text) or 1, MOST_BYTES_PER_LINE):
            self._position = max(stamp_ns, self._position + 1)
            piece = text[start : start + MOST_BYTES_PER_LINE]
            lines.append(
                LogLine(
                    timestamp_ms=stamp_ns // 1_000_000,
                    message=piece.decode("utf-8", "replace"),
                    position=self._position,
                )
            )


def parse_time_ns(text: str) -> int:
    """RFC 3339 with up to nine decimals as epoch nanoseconds; 0 for the engine's "never".

    Raises:
        ValueError: it is no such time.
    """
    # datetime stops at microseconds, so the fraction is read by hand.
    base, _, rest = text.partition(".")
    fraction = rest[: len(rest) - len(rest.lstrip("0123456789"))]
    zone = rest[len(fraction) :]
    whole = datetime.fromisoformat(base + zone)
    if whole.year < 1970:
        return 0
    return int(whole.timestamp()) * _NS + int(fraction.ljust(9, "0")[:9] or 0)

"""The bytes of a log file: one header line, then one line per event.

    #1 <created_ms> <escaped name>\\n
    <timestamp_ms> <delay_ms> <position> <message>\\n

`delay_ms` is ingestion minus timestamp. In a message, backslash and newline are escaped, so a
newline ends a record and nothing else does: a file that does not end in one was torn.
"""

import re
from collections.abc import Iterator

import msgspec

from batchyard.logs import names

# AWS: an event is at most 256 KiB, of which 26 bytes count for the envelope.
EVENT_OVERHEAD_BYTES = 26
MAX_MESSAGE_BYTES = 256 * 1024 - EVENT_OVERHEAD_BYTES

_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)


class Header(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    created_ms: int
    name: str


class LogEvent(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One stored event. `offset` is its address in the file, `next_offset` its successor's."""

    timestamp_ms: int
    ingested_ms: int
    message: str
    position: int
    offset: int
    next_offset: int


def encode_header(header: Header) -> bytes:
    return f"#1 {header.created_ms} {names.escape(header.name)}\n".encode()


def decode_header(line: bytes) -> Header | None:
    """Read a header line without its newline; None when it is not one."""
    parts = line.split(b" ")
    if len(parts) != 3 or parts[0] != b"#1" or not parts[1].isdigit():
        return None
    return Header(
        created_ms=int(parts[1]), name=names.unescape(parts[2].decode("ascii", "replace"))
    )


def encode(*, timestamp_ms: int, ingested_ms: int, position: int, message: bytes) -> bytes:
    if b"\\" in message or b"\n" in message:
        message = message.replace(b"\\", b"\\\\").replace(b"\n", b"\\n")
    return b"%d %d %d %b\n" % (timestamp_ms, ingested_ms - timestamp_ms, position, message)


def decode(line: bytes, offset: int) -> LogEvent | None:
    """Read a record without its newline; None when the line is damaged."""
    parts = line.split(b" ", 3)
    if len(parts) != 4:
        return None
    try:
        timestamp_ms, delay_ms, position = int(parts[0]), int(parts[1]), int(parts[2])
    except ValueError:
        return None
    message = parts[3]
    if b"\\" in message:
        message = _ESCAPED.sub(_unescape, message)
    return LogEvent(
        timestamp_ms=timestamp_ms,
        ingested_ms=timestamp_ms + delay_ms,
        message=message.decode("utf-8", "replace"),
        position=position,
        offset=offset,
        next_offset=offset + len(line) + 1,
    )


def pieces(message: str) -> Iterator[bytes]:
    """The message as UTF-8, cut between characters into events of the size AWS allows."""
    data = message.encode("utf-8", "replace")
    while len(data) > MAX_MESSAGE_BYTES:
        cut = MAX_MESSAGE_BYTES
        while data[cut] & 0xC0 == 0x80:
            cut -= 1
        yield data[:cut]
        data = data[cut:]
    yield data


def _unescape(match: re.Match[bytes]) -> bytes:
    escaped = match.group(1)
    return b"\n" if escaped == b"n" else escaped

"""The log store: streams in append-only files below one folder, written and read concurrently.

    <root>/<escaped group>/<escaped stream>.log

Survives SIGKILL at any moment; a power cut may lose the last seconds, because nothing is fsynced.
Tokens `f/<offset>` and `b/<offset>` are addresses in the file: stable for as long as it exists.
"""

import base64
import os
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from batchyard.kernel.faults import InvalidRequest, NotFound, StoreUnavailable
from batchyard.logs import listing, names, record
from batchyard.logs.listing import GroupPage, OrderBy, StreamFile, StreamPage
from batchyard.logs.pattern import compile_pattern
from batchyard.logs.port import LogLine
from batchyard.logs.reader import StreamReader
from batchyard.logs.record import LogEvent
from batchyard.logs.search import FoundPage, Mark, search
from batchyard.logs.writer import StreamWriters

MAX_PAGE_EVENTS = 10_000
MAX_PAGE_BYTES = 1024 * 1024
_MAX_KNOWN_GROUPS = 1_000
_OFFSET: Final = re.compile("[0-9]{1,18}")


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """Events oldest first, and the tokens that lead on from both ends."""

    events: tuple[LogEvent, ...]
    forward_token: str
    backward_token: str


def epoch_ms() -> int:
    return time.time_ns() // 1_000_000


class FileLogStore:
    """Implements `logs.port.LogSink`, and reads back what was written. Safe from any thread."""

    def __init__(
        self, root: Path, *, clock: Callable[[], int] = epoch_ms, max_open: int = 256
    ) -> None:
        self._root = root
        self._clock = clock
        self._writers = StreamWriters(clock=clock, max_open=max_open)
        self._known_groups: set[str] = set()
        self._groups_lock = threading.Lock()

    # -- writing

    def create(self, group: str, stream: str) -> None:
        self._ensure_group(group)
        self._writers.create(self._path(group, stream), stream)

    def append(self, group: str, stream: str, lines: Sequence[LogLine]) -> None:
        self._ensure_group(group)
        self._writers.append(self._path(group, stream), stream, lines)

    def position(self, group: str, stream: str) -> int:
        return self._writers.position(self._path(group, stream))

    def delete_stream(self, group: str, stream: str) -> None:
        """Raises NotFound when there is no such stream."""
        if not self._writers.delete(self._path(group, stream)):
            raise self._missing(group)

    def close(self) -> None:
        """Close every open file. The store stays usable."""
        self._writers.close()

    # -- reading

    def groups(
        self,
        *,
        prefix: str = "",
        text: str = "",
        after: str | None = None,
        limit: int = 50,
    ) -> GroupPage:
        """Groups whose name starts with `prefix` and contains `text`, in order of name."""
        return listing.list_groups(self._root, text=text, prefix=prefix, after=after, limit=limit)

    def streams(
        self,
        group: str,
        *,
        prefix: str = "",
        order_by: OrderBy = "name",
        descending: bool = False,
        after: str | None = None,
        limit: int = 50,
    ) -> StreamPage:
        """A page of the group's streams. Raises NotFound when there is no such group."""
        return listing.list_streams(
            self._existing(group),
            prefix=prefix,
            order_by=order_by,
            descending=descending,
            after=after,
            limit=limit,
        )

    def events(
        self,
        group: str,
        stream: str,
        *,
        start_ms: int | None = None,
        end_ms: int | None = None,
        token: str | None = None,
        from_head: bool = False,
        limit: int = MAX_PAGE_EVENTS,
        max_bytes: int = MAX_PAGE_BYTES,
    ) -> Page:
        """Read events of `[start_ms, end_ms)`, from the head, from the tail, or from a token.

        A token that leads nowhere (yet) comes back unchanged with no events.

        Raises:
            NotFound: no such group or stream.
            InvalidRequest: the token was not given out for this stream.
        """
        try:
            reader = StreamReader(self._path(group, stream))
        except FileNotFoundError:
            raise self._missing(group) from None
        with reader:
            low = reader.start if start_ms is None else reader.seek_time(start_ms)
            high = reader.end if end_ms is None else max(low, reader.seek_time(end_ms))
            if token is None:
                forward, at = from_head, low if from_head else high
            else:
                forward, at = _read_token(token, reader)
            if forward:
                events = _take(reader.forward(max(at, low), high), limit, max_bytes)
            else:
                events = _take(reader.backward(low, min(at, high)), limit, max_bytes)[::-1]
            if events:
                first, last = events[0].offset, events[-1].next_offset
            else:
                first = last = at
        return Page(events=tuple(events), forward_token=f"f/{last}", backward_token=f"b/{first}")

    def filter(
        self,
        group: str,
        *,
        streams: Sequence[str] = (),
        prefix: str = "",
        start_ms: int = 0,
        end_ms: int | None = None,
        pattern: str = "",
        limit: int = MAX_PAGE_EVENTS,
        max_bytes: int = MAX_PAGE_BYTES,
        token: str | None = None,
    ) -> FoundPage:
        """Events of several streams (named, by prefix, or all), interleaved by time.

        Raises:
            NotFound: no such group, or a named stream does not exist.
            InvalidRequest: malformed pattern or token.
        """
        matches = compile_pattern(pattern)
        after = None if token is None else _decode_mark(token)
        folder = self._existing(group)
        files: Iterable[StreamFile]
        files = self._named(group, streams) if streams else listing.stream_files(folder, prefix)
        events, mark = search(
            files,
            group=group,
            start_ms=start_ms,
            end_ms=end_ms,
            matches=matches,
            limit=limit,
            max_bytes=max_bytes,
            after=after,
        )
        return FoundPage(events=events, next_token=None if mark is None else _encode_mark(mark))

    # -- where things are

    def _path(self, group: str, stream: str) -> Path:
        return self._root / names.folder_name(group) / names.file_name(stream)

    def _named(self, group: str, streams: Sequence[str]) -> Iterator[StreamFile]:
        for name in dict.fromkeys(streams):
            path = self._path(group, name)
            try:
                mtime_ms = path.stat().st_mtime_ns // 1_000_000
            except FileNotFoundError:
                raise self._missing(group) from None
            yield StreamFile(name=name, path=path, mtime_ms=mtime_ms)

    def _existing(self, group: str) -> Path:
        folder = self._root / names.folder_name(group)
        if listing.read_group(folder) is None:
            raise self._missing(group)
        return folder

    def _missing(self, group: str) -> NotFound:
        folder = self._root / names.folder_name(group)
        kind = "group" if listing.read_group(folder) is None else "stream"
        return NotFound(
            f"The specified log {kind} does not exist.",
            hint="A job's stream exists once its container has started: "
            "take the name from container.logStreamName of DescribeJobs.",
            group=group,
        )

    def _ensure_group(self, group: str) -> None:
        if group in self._known_groups:
            return
        folder = self._root / names.folder_name(group)
        with self._groups_lock:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                if listing.read_group(folder) is None:
                    header = record.Header(created_ms=self._clock(), name=group)
                    # ORDER: written aside, then renamed: a group exists whole or not at all.
                    draft = folder / f"{listing.GROUP_FILE}.new"
                    draft.write_bytes(record.encode_header(header))
                    os.replace(draft, folder / listing.GROUP_FILE)
            except OSError as error:
                raise StoreUnavailable(
                    f"Cannot create the log folder {folder}: {error.strerror}.",
                    hint="Free disk space, or give the yard write access to its logs folder.",
                    path=str(folder),
                ) from error
            if len(self._known_groups) >= _MAX_KNOWN_GROUPS:
                self._known_groups.clear()
            self._known_groups.add(group)


def _take(events: Iterator[LogEvent], limit: int, max_bytes: int) -> list[LogEvent]:
    taken: list[LogEvent] = []
    size = 0
    for event in events:
        # AWS: an event counts for its text and 26 bytes; a record's own envelope is about that.
        size += event.next_offset - event.offset
        if taken and (len(taken) >= limit or size > max_bytes):
            break
        taken.append(event)
    return taken


def _read_token(token: str, reader: StreamReader) -> tuple[bool, int]:
    direction, slash, digits = token.partition("/")
    if direction in ("f", "b") and slash and _OFFSET.fullmatch(digits):
        offset = int(digits)
        if reader.is_boundary(offset):
            return direction == "f", offset
    raise _bad_token()


def _encode_mark(mark: Mark) -> str:
    data = msgspec.json.encode((mark.timestamp_ms, mark.stream, mark.offset))
    return base64.urlsafe_b64encode(data).decode()


def _decode_mark(token: str) -> Mark:
    try:
        data = base64.b64decode(token, altchars=b"-_", validate=True)
        timestamp_ms, stream, offset = msgspec.json.decode(data, type=tuple[int, str, int])
    except (ValueError, msgspec.DecodeError):
        raise _bad_token() from None
    return Mark(timestamp_ms=timestamp_ms, stream=stream, offset=offset)


def _bad_token() -> InvalidRequest:
    return InvalidRequest(
        "The specified nextToken is invalid.",
        field="nextToken",
        hint="Use a token of an earlier answer for the same stream, or none to start anew.",
    )

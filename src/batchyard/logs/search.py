"""Events of many streams in order of time, filtered: what FilterLogEvents needs.

Events are ordered by (time, stream, offset), a total order, so the last event looked at is the
whole state between two pages. A stream is loaded only when its time has come, its window shrinks as
more streams overlap, and no file stays open: memory and descriptors are bounded by bytes, not by
the number of streams.
"""

import hashlib
import heapq
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from batchyard.logs.listing import StreamFile
from batchyard.logs.pattern import Match
from batchyard.logs.reader import WINDOW_BYTES, StreamReader
from batchyard.logs.record import LogEvent

_MIN_WINDOW_BYTES = 512
_MTIME_SLACK_MS = 2_000  # File systems keep modification times as coarsely as this.
_BUFFERED_BYTES = 16 * 1024 * 1024
_SCANNED_BYTES_PER_PAGE = 64 * 1024 * 1024


class FoundEvent(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    stream: str
    event: LogEvent
    event_id: str


class FoundPage(msgspec.Struct, frozen=True, kw_only=True):
    """`next_token` is None only at the end; a page may be empty before it."""

    events: tuple[FoundEvent, ...]
    next_token: str | None


class Mark(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """Place of an event in the order of the search."""

    timestamp_ms: int
    stream: str
    offset: int


def search(
    files: Iterable[StreamFile],
    *,
    group: str,
    start_ms: int,
    end_ms: int | None,
    matches: Match,
    limit: int,
    max_bytes: int,
    after: Mark | None,
    scan_bytes: int = _SCANNED_BYTES_PER_PAGE,
) -> tuple[tuple[FoundEvent, ...], Mark | None]:
    """Find up to `limit` events of `[start_ms, end_ms)` beyond `after`.

    Returns:
        The events, and the mark to go on from (None when nothing is left). A page that looked at
        `scan_bytes` of events ends early, so that a rare pattern cannot hold a thread for long.

    Cost: one directory scan, one small read per stream that may hold an event beyond `after`, then
    the bytes looked at.
    """
    from_ms = start_ms if after is None else max(start_ms, after.timestamp_ms)
    found: list[FoundEvent] = []
    found_bytes = scanned_bytes = 0
    mark = after
    for file, event in _merge(files, from_ms=from_ms, end_ms=end_ms, after=after):
        size = event.next_offset - event.offset
        hit = matches(event.message)
        if hit and found and (len(found) >= limit or found_bytes + size > max_bytes):
            return tuple(found), mark
        mark = Mark(timestamp_ms=event.timestamp_ms, stream=file.name, offset=event.offset)
        scanned_bytes += size
        if hit:
            found_bytes += size
            event_id = event_id_of(group, mark)
            found.append(FoundEvent(stream=file.name, event=event, event_id=event_id))
        if scanned_bytes >= scan_bytes:
            return tuple(found), mark
    return tuple(found), None


def event_id_of(group: str, mark: Mark) -> str:
    """56 digits like CloudWatch's: stable, unique, and ordered by time."""
    digest = hashlib.sha256(f"{group}\0{mark.stream}".encode("utf-8", "surrogatepass")).digest()
    stream = int.from_bytes(digest[:12]) % 10**24
    return f"{mark.timestamp_ms:014d}{stream:024d}{mark.offset:018d}"


def _merge(
    files: Iterable[StreamFile], *, from_ms: int, end_ms: int | None, after: Mark | None
) -> Iterator[tuple[StreamFile, LogEvent]]:
    heap: list[tuple[int, str, int, _Cursor]] = []
    for file in files:
        if file.mtime_ms + _MTIME_SLACK_MS < from_ms:
            continue
        earliest_ms = _first_ms(file.path)
        if earliest_ms is not None and (end_ms is None or earliest_ms < end_ms):
            heap.append((max(earliest_ms, from_ms), file.name, -1, _Cursor(file)))
    heapq.heapify(heap)
    loaded = 0
    while heap:
        _, name, offset, cursor = heap[0]
        if offset < 0:
            loaded += 1
            cursor.load(from_ms, after=after)
        else:
            yield cursor.file, cursor.events.popleft()
        if not cursor.events:
            cursor.refill(max(_MIN_WINDOW_BYTES, min(WINDOW_BYTES, _BUFFERED_BYTES // loaded)))
        event = cursor.events[0] if cursor.events else None
        if event is None or (end_ms is not None and event.timestamp_ms >= end_ms):
            heapq.heappop(heap)
            loaded -= 1
        else:
            heapq.heapreplace(heap, (event.timestamp_ms, name, event.offset, cursor))


class _Cursor:
    """Where the search stands in one stream; holds a few parsed events and no open file."""

    __slots__ = ("_after", "_next_offset", "events", "file")

    def __init__(self, file: StreamFile) -> None:
        self.file = file
        self.events: deque[LogEvent] = deque()
        self._next_offset = 0
        self._after: int = -1

    def load(self, from_ms: int, *, after: Mark | None) -> None:
        try:
            with StreamReader(self.file.path) as reader:
                self._next_offset = reader.seek_time(from_ms)
        except FileNotFoundError:
            return
        if after is not None and from_ms == after.timestamp_ms:
            # Events of the mark's own millisecond are done up to the mark, stream by stream.
            if self.file.name == after.stream:
                self._after = after.offset
            elif self.file.name < after.stream:
                self._seek_beyond(from_ms)

    def refill(self, window_bytes: int) -> None:
        try:
            with StreamReader(self.file.path) as reader:
                while not self.events and self._next_offset < reader.end:
                    events, self._next_offset = reader.read(
                        self._next_offset, reader.end, window_bytes=window_bytes
                    )
                    self.events.extend(event for event in events if event.offset > self._after)
        except FileNotFoundError:
            return

    def _seek_beyond(self, timestamp_ms: int) -> None:
        try:
            with StreamReader(self.file.path) as reader:
                self._next_offset = reader.seek_time(timestamp_ms + 1)
        except FileNotFoundError:
            return


def _first_ms(path: Path) -> int | None:
    try:
        with StreamReader(path) as reader:
            first = reader.first()
            return None if first is None else first.timestamp_ms
    except FileNotFoundError:
        return None

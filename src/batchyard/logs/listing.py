"""Which groups and streams exist, a page at a time, straight from the folders.

Nothing is kept in memory between calls, so 100,000 streams cost a scan and not a cache.
"""

import heapq
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec

from batchyard.kernel.faults import InvalidRequest
from batchyard.logs import names
from batchyard.logs.reader import StreamReader
from batchyard.logs.record import decode_header

OrderBy = Literal["name", "last_event_time"]
GROUP_FILE = ".group"


class GroupInfo(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    created_ms: int
    stored_bytes: int


class GroupPage(msgspec.Struct, frozen=True, kw_only=True):
    groups: tuple[GroupInfo, ...]
    next_after: str | None


class StreamInfo(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    created_ms: int
    first_event_ms: int | None
    last_event_ms: int | None
    last_ingestion_ms: int | None
    stored_bytes: int


class StreamPage(msgspec.Struct, frozen=True, kw_only=True):
    streams: tuple[StreamInfo, ...]
    next_after: str | None


class StreamFile(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A stream as its folder shows it, unopened. `mtime_ms` is its last event's time."""

    name: str
    path: Path
    mtime_ms: int


def list_groups(root: Path, *, text: str, prefix: str, after: str | None, limit: int) -> GroupPage:
    """Groups in order of name, whose name starts with `prefix` and contains `text`."""
    found: list[tuple[str, int, Path]] = []
    for entry in _entries(root):
        header = read_group(Path(entry.path))
        if header is None:
            continue
        name, created_ms = header
        if name.startswith(prefix) and text in name and (after is None or name > after):
            found.append((name, created_ms, Path(entry.path)))
    page = heapq.nsmallest(limit, found)
    return GroupPage(
        groups=tuple(
            GroupInfo(name=name, created_ms=created_ms, stored_bytes=_stored_bytes(folder))
            for name, created_ms, folder in page
        ),
        next_after=page[-1][0] if len(found) > limit else None,
    )


def read_group(folder: Path) -> tuple[str, int] | None:
    """Name and creation time of the group in a folder; None when there is no group."""
    try:
        line = (folder / GROUP_FILE).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    header = decode_header(line.removesuffix(b"\n"))
    return None if header is None else (header.name, header.created_ms)


def stream_files(folder: Path, prefix: str = "") -> Iterator[StreamFile]:
    """Streams of a group in no order."""
    escaped_prefix = names.escape(prefix)
    for entry in _entries(folder):
        file = entry.name
        if not file.endswith(names.SUFFIX) or not names.may_start_with(file, escaped_prefix):
            continue
        path = Path(entry.path)
        try:
            mtime_ms = entry.stat().st_mtime_ns // 1_000_000
            name = names.name_of_file(file)
            if name is None:
                with StreamReader(path) as reader:
                    name = reader.header.name
        except FileNotFoundError:
            continue
        if name.startswith(prefix):
            yield StreamFile(name=name, path=path, mtime_ms=mtime_ms)


def list_streams(
    folder: Path,
    *,
    prefix: str,
    order_by: OrderBy,
    descending: bool,
    after: str | None,
    limit: int,
) -> StreamPage:
    """One page of a group's streams; pass `next_after` back as `after` for the next one."""
    by_time = order_by == "last_event_time"
    bound = None if after is None else _bound(after, by_time=by_time)
    keyed = (
        ((file.mtime_ms if by_time else 0), file.name, file.path)
        for file in stream_files(folder, prefix)
    )
    if bound is None:
        beyond = keyed
    elif descending:
        beyond = (key for key in keyed if key[:2] < bound)
    else:
        beyond = (key for key in keyed if key[:2] > bound)
    pick = heapq.nlargest if descending else heapq.nsmallest
    page = pick(limit + 1, beyond)
    streams = [info for _, _, path in page[:limit] if (info := describe(path)) is not None]
    next_after = None
    if len(page) > limit:
        mtime_ms, name, _ = page[limit - 1]
        next_after = f"{mtime_ms}:{name}" if by_time else name
    return StreamPage(streams=tuple(streams), next_after=next_after)


def describe(path: Path) -> StreamInfo | None:
    """What the file says of its stream; None when the stream is gone."""
    try:
        with StreamReader(path) as reader:
            first, last = reader.first(), reader.last()
            return StreamInfo(
                name=reader.header.name,
                created_ms=reader.header.created_ms,
                first_event_ms=None if first is None else first.timestamp_ms,
                last_event_ms=None if last is None else last.timestamp_ms,
                last_ingestion_ms=None if last is None else last.ingested_ms,
                stored_bytes=reader.end - reader.start,
            )
    except FileNotFoundError:
        return None


def _bound(after: str, *, by_time: bool) -> tuple[int, str]:
    if not by_time:
        return 0, after
    mtime_ms, colon, name = after.partition(":")
    if not colon or not mtime_ms.isdecimal():
        raise InvalidRequest(
            "The specified nextToken is invalid.",
            field="nextToken",
            hint="Use the token of the previous page with the same orderBy, or none at all.",
        )
    return int(mtime_ms), name


def _entries(folder: Path) -> Iterator["os.DirEntry[str]"]:
    try:
        with os.scandir(folder) as entries:
            yield from entries
    except FileNotFoundError:
        return


def _stored_bytes(folder: Path) -> int:
    total = 0
    for entry in _entries(folder):
        try:
            total += entry.stat().st_size
        except FileNotFoundError:
            continue
    return total

"""Appending to stream files from any thread, with a bounded number of open files.

An append is one write() call. A record torn by SIGKILL is cut off when its file is next opened for
writing; readers never see it. Within a stream, time and position never run backwards.
"""

import os
import threading
import zlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path

from batchyard.kernel.faults import StoreUnavailable
from batchyard.logs import record
from batchyard.logs.port import LogLine
from batchyard.logs.reader import StreamReader, read_header, whole_end

_SHARDS = 16
_MAX_MTIME_MS = 4_102_444_800_000  # The year 2100: a wild timestamp must not upset the file system.


class _OpenStream:
    __slots__ = ("fd", "position", "size", "timestamp_ms")

    def __init__(self, *, fd: int, size: int, position: int, timestamp_ms: int) -> None:
        self.fd = fd
        self.size = size
        self.position = position
        self.timestamp_ms = timestamp_ms


class _Shard:
    """A part of the streams under one lock, so that threads seldom wait for each other."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.open: OrderedDict[Path, _OpenStream] = OrderedDict()


class StreamWriters:
    """All open writers of a log store. `max_open` bounds the file descriptors held."""

    def __init__(self, *, clock: Callable[[], int], max_open: int) -> None:
        self._clock = clock
        self._shards = tuple(_Shard() for _ in range(min(_SHARDS, max_open)))
        self._open_per_shard = max(1, max_open // len(self._shards))

    def create(self, path: Path, name: str) -> None:
        """Make the file exist with its header; does not keep it open."""
        shard = self._shard(path)
        with shard.lock:
            if path not in shard.open:
                os.close(self._open(path, name).fd)

    def append(self, path: Path, name: str, lines: Sequence[LogLine]) -> None:
        shard = self._shard(path)
        with shard.lock:
            stream = self._borrow(shard, path, name)
            ingested_ms = self._clock()
            timestamp_ms, position = stream.timestamp_ms, stream.position
            out: list[bytes] = []
            for line in lines:
                if line.position <= stream.position:
                    continue
                # CHOSEN: time never runs backwards within a stream, so that order of arrival is
                # order of time: tokens stay stable and a time is found without reading the file
                # (ADR 11).
                timestamp_ms = max(timestamp_ms, line.timestamp_ms)
                *heads, last = record.pieces(line.message)
                for piece in heads:
                    # Not yet the line's position: a crash between pieces repeats, never loses.
                    out.append(_encode(piece, timestamp_ms, ingested_ms, position))
                position = max(position, line.position)
                out.append(_encode(last, timestamp_ms, ingested_ms, position))
            if out:
                self._write(stream, path, b"".join(out))
                stream.timestamp_ms, stream.position = timestamp_ms, position
                # The file's modification time is the last event's: streams are ordered and
                # skipped by it without opening them.
                mtime_ns = min(timestamp_ms, _MAX_MTIME_MS) * 1_000_000
                os.utime(stream.fd, ns=(mtime_ns, mtime_ns))

    def position(self, path: Path) -> int:
        shard = self._shard(path)
        with shard.lock:
            stream = shard.open.get(path)
            if stream is not None:
                return stream.position
            try:
                with StreamReader(path) as reader:
                    last = reader.last()
            except FileNotFoundError:
                return 0
            return 0 if last is None else last.position

    def delete(self, path: Path) -> bool:
        """Remove the file; False when there was none."""
        shard = self._shard(path)
        with shard.lock:
            stream = shard.open.pop(path, None)
            if stream is not None:
                os.close(stream.fd)
            try:
                path.unlink()
            except FileNotFoundError:
                return False
            return True

    def close(self) -> None:
        for shard in self._shards:
            with shard.lock:
                while shard.open:
                    os.close(shard.open.popitem()[1].fd)

    def open_count(self) -> int:
        return sum(len(shard.open) for shard in self._shards)

    def _shard(self, path: Path) -> _Shard:
        return self._shards[zlib.crc32(os.fsencode(path)) % len(self._shards)]

    def _borrow(self, shard: _Shard, path: Path, name: str) -> _OpenStream:
        stream = shard.open.get(path)
        if stream is not None:
            shard.open.move_to_end(path)
            return stream
        while len(shard.open) >= self._open_per_shard:
            os.close(shard.open.popitem(last=False)[1].fd)
        stream = self._open(path, name)
        shard.open[path] = stream
        return stream

    def _open(self, path: Path, name: str) -> _OpenStream:
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        try:
            fd = os.open(path, flags, 0o640)
        except OSError as error:
            raise _unwritable(path, error) from error
        try:
            size = os.fstat(fd).st_size
            header, start = read_header(fd) if size else (None, 0)
            stream = _OpenStream(fd=fd, size=0, position=0, timestamp_ms=0)
            if header is None:
                if size:
                    os.ftruncate(fd, 0)
                fresh = record.Header(created_ms=self._clock(), name=name)
                self._write(stream, path, record.encode_header(fresh))
                return stream
            stream.size = whole_end(fd, size=size, start=start)
            if stream.size < size:
                os.ftruncate(fd, stream.size)
            if stream.size > start:
                with StreamReader(path) as reader:
                    last = reader.last()
                if last is not None:
                    stream.position, stream.timestamp_ms = last.position, last.timestamp_ms
            return stream
        except BaseException:
            os.close(fd)
            raise

    def _write(self, stream: _OpenStream, path: Path, data: bytes) -> None:
        written = 0
        try:
            while written < len(data):
                # One call in practice; a short write happens only near a full disk.
                written += os.write(stream.fd, data[written:] if written else data)
        except OSError as error:
            os.ftruncate(stream.fd, stream.size)
            raise _unwritable(path, error) from error
        stream.size += written


def _encode(message: bytes, timestamp_ms: int, ingested_ms: int, position: int) -> bytes:
    return record.encode(
        timestamp_ms=timestamp_ms, ingested_ms=ingested_ms, position=position, message=message
    )


def _unwritable(path: Path, error: OSError) -> StoreUnavailable:
    return StoreUnavailable(
        f"Cannot write the log file {path}: {error.strerror}.",
        hint="Free disk space, or give the yard write access to its logs folder.",
        path=str(path),
    )

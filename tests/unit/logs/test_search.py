"""FilterLogEvents' engine: order, paging and completeness over several streams."""

from pathlib import Path

import pytest

from batchyard.kernel.faults import InvalidRequest
from batchyard.logs.listing import stream_files
from batchyard.logs.port import LogLine
from batchyard.logs.search import Mark, search
from batchyard.logs.store import FileLogStore

GROUP = "/aws/batch/job"


@pytest.fixture
def store(tmp_path: Path) -> FileLogStore:
    return FileLogStore(tmp_path / "logs", clock=lambda: 5_000)


def put(store: FileLogStore, stream: str, *times_ms: int) -> None:
    store.append(
        GROUP,
        stream,
        [
            LogLine(timestamp_ms=at, message=f"{stream}{n} at {at}", position=n + 1)
            for n, at in enumerate(times_ms)
        ],
    )


def walk(store: FileLogStore, **options: object) -> list[str]:
    seen: list[str] = []
    ids: list[str] = []
    token: str | None = None
    while True:
        page = store.filter(GROUP, token=token, **options)  # type: ignore[arg-type]
        seen += [found.event.message.split()[0] for found in page.events]
        ids += [found.event_id for found in page.events]
        token = page.next_token
        if token is None:
            break
    assert len(set(ids)) == len(ids)
    assert sorted(event_id[:14] for event_id in ids) == [event_id[:14] for event_id in ids]
    assert all(len(event_id) == 56 and event_id.isdecimal() for event_id in ids)
    return seen


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
def test_streams_are_interleaved_by_time(store: FileLogStore, limit: int) -> None:
    put(store, "a", 10, 40, 40, 70)
    put(store, "b", 20, 40, 50)
    put(store, "c", 5, 90)
    store.create(GROUP, "empty")
    expected = ["c0", "a0", "b0", "a1", "a2", "b1", "b2", "a3", "c1"]
    assert walk(store, limit=limit) == expected


@pytest.mark.parametrize("limit", [1, 2, 100])
def test_a_range_a_prefix_and_names_narrow(store: FileLogStore, limit: int) -> None:
    put(store, "a", 10, 20, 30)
    put(store, "ab", 15, 25, 35)
    put(store, "b", 20)
    assert walk(store, limit=limit, start_ms=20, end_ms=30, prefix="a") == ["a1", "ab1"]
    assert walk(store, limit=limit, streams=["b", "a", "b"]) == ["a0", "a1", "b0", "a2"]
    assert walk(store, limit=limit, start_ms=36) == []
    assert walk(store, limit=limit, start_ms=5_000) == []


def test_a_pattern_narrows_and_pages_stay_full(store: FileLogStore) -> None:
    put(store, "a", *range(50))
    assert walk(store, pattern='"a4"') == ["a4", *(f"a4{n}" for n in range(10))]
    page = store.filter(GROUP, pattern='"a4"', limit=11)
    assert len(page.events) == 11


def test_an_early_end_of_a_long_search_loses_nothing(store: FileLogStore) -> None:
    put(store, "a", *range(0, 400, 2))
    put(store, "b", *range(1, 400, 2))
    seen: list[int] = []
    pages = 0
    after: Mark | None = None
    while True:
        found, after = search(
            stream_files(store._path(GROUP, "a").parent),
            group=GROUP,
            start_ms=0,
            end_ms=None,
            matches=lambda message: message.endswith("7"),
            limit=10_000,
            max_bytes=2**20,
            after=after,
            scan_bytes=300,
        )
        seen += [event.event.timestamp_ms for event in found]
        pages += 1
        if after is None:
            break
    assert seen == list(range(7, 400, 10))
    assert pages > 10


def test_the_same_event_keeps_its_id(store: FileLogStore) -> None:
    put(store, "a", 10)
    (before,) = store.filter(GROUP).events
    put(store, "a", 10, 11)
    put(store, "b", 5)
    ids = [found.event_id for found in store.filter(GROUP).events]
    assert before.event_id in ids
    assert len(set(ids)) == 3


def test_events_of_the_last_millisecond_are_found_after_a_mark_in_another_stream(
    store: FileLogStore,
) -> None:
    for stream in ("a", "b", "c"):
        put(store, stream, 10, 10, 10)
    assert walk(store, limit=1) == [f"{stream}{n}" for stream in "abc" for n in range(3)]


@pytest.mark.parametrize("token", ["", "zzz", "é", "bm90IGpzb24=", "WzEsMl0="])
def test_a_foreign_token_is_refused(store: FileLogStore, token: str) -> None:
    put(store, "a", 1)
    with pytest.raises(InvalidRequest, match="nextToken"):
        store.filter(GROUP, token=token)


def test_a_stream_deleted_during_a_search_ends_and_harms_no_other(store: FileLogStore) -> None:
    put(store, "a", 10, 1_000_000)
    put(store, "b", *range(20, 6_000))
    put(store, "c", 900_000)

    def delete_while_reading(message: str) -> bool:
        if message == "b3 at 23":
            store.delete_stream(GROUP, "b")
            store.delete_stream(GROUP, "c")
        return True

    files = list(stream_files(store._path(GROUP, "a").parent))
    found, after = search(
        files,
        group=GROUP,
        start_ms=0,
        end_ms=None,
        matches=delete_while_reading,
        limit=10_000,
        max_bytes=2**20,
        after=None,
    )
    assert after is None
    streams = [event.stream for event in found]
    assert streams[:2] == ["a", "b"]
    assert streams[-1] == "a"
    assert "c" not in streams
    # What a window held already is still told; the rest of the stream is gone.
    assert 4 <= streams.count("b") < 5_980
    remaining, _ = search(
        files,
        group=GROUP,
        start_ms=0,
        end_ms=None,
        matches=lambda _: True,
        limit=10,
        max_bytes=2**20,
        after=None,
    )
    assert [event.stream for event in remaining] == ["a", "a"]

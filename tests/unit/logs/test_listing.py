"""Names on disk, and the listing of groups and streams."""

from pathlib import Path

import pytest

from batchyard.kernel.faults import InvalidRequest
from batchyard.logs import names
from batchyard.logs.listing import OrderBy
from batchyard.logs.port import LogLine
from batchyard.logs.store import FileLogStore

GROUP = "/aws/batch/job"


@pytest.fixture
def store(tmp_path: Path) -> FileLogStore:
    return FileLogStore(tmp_path / "logs", clock=lambda: 5_000)


def put(store: FileLogStore, stream: str, *times_ms: int) -> None:
    store.append(
        GROUP,
        stream,
        [LogLine(timestamp_ms=at, message="m", position=n + 1) for n, at in enumerate(times_ms)],
    )


def walk(
    store: FileLogStore,
    *,
    order_by: OrderBy = "name",
    descending: bool = False,
    prefix: str = "",
    limit: int = 2,
) -> list[str]:
    seen: list[str] = []
    after: str | None = None
    while True:
        page = store.streams(
            GROUP,
            prefix=prefix,
            order_by=order_by,
            descending=descending,
            after=after,
            limit=limit,
        )
        assert len(page.streams) <= limit
        seen += [info.name for info in page.streams]
        after = page.next_after
        if after is None:
            return seen


HARD_NAMES = [
    "plain",
    "a/b",
    "..",
    ".",
    ".group",
    "100%",
    "%2F",
    "~tilde~",
    "日本語",
    "sp ace",
    "x.log",
    "n" * 512,
    "n" * 511 + "m",
    "é" * 512,
    "☃" * 512,
    "a" * 197 + "/b",
]


def test_hard_names_are_kept_apart_and_come_back(store: FileLogStore) -> None:
    for name in HARD_NAMES:
        put(store, name, 1)
    assert walk(store) == sorted(HARD_NAMES)
    for name in HARD_NAMES:
        assert len(store.events(GROUP, name).events) == 1
        assert name in walk(store, prefix=name[:300])


@pytest.mark.parametrize("name", HARD_NAMES)
def test_a_file_name_fits_every_file_system(name: str) -> None:
    assert len(names.file_name(name).encode()) <= 255
    assert names.file_name(name).isascii()
    assert "/" not in names.file_name(name)


def test_hard_group_names_come_back(store: FileLogStore) -> None:
    for name in HARD_NAMES:
        store.create(name, "s")
    seen: list[str] = []
    after = None
    while True:
        page = store.groups(after=after, limit=4)
        seen += [group.name for group in page.groups]
        after = page.next_after
        if after is None:
            break
    assert seen == sorted(HARD_NAMES)
    assert [group.name for group in store.groups(prefix="%").groups] == ["%2F"]
    assert [group.name for group in store.groups(text="lai").groups] == ["plain"]


def test_streams_are_ordered_by_name_both_ways(store: FileLogStore) -> None:
    for name in "cabed":
        put(store, name, 1)
    assert walk(store) == list("abcde")
    assert walk(store, descending=True) == list("edcba")


def test_streams_are_ordered_by_their_last_event_both_ways(store: FileLogStore) -> None:
    for name, last_ms in {"a": 3_000, "b": 1_000, "c": 9_000, "d": 1_000}.items():
        put(store, name, 500, last_ms)
    assert walk(store, order_by="last_event_time") == ["b", "d", "a", "c"]
    assert walk(store, order_by="last_event_time", descending=True) == ["c", "a", "d", "b"]


def test_a_prefix_narrows(store: FileLogStore) -> None:
    for name in ("job/1", "job/10", "job-1", "other"):
        put(store, name, 1)
    assert walk(store, prefix="job/1") == ["job/1", "job/10"]
    assert walk(store, prefix="none") == []


def test_a_stream_tells_its_times_and_size(store: FileLogStore) -> None:
    put(store, "full", 1_000, 2_000)
    store.create(GROUP, "empty")
    empty, full = store.streams(GROUP).streams
    assert (full.created_ms, full.first_event_ms, full.last_event_ms) == (5_000, 1_000, 2_000)
    assert full.last_ingestion_ms == 5_000
    assert full.stored_bytes == len("1000 4000 1 m\n2000 3000 2 m\n")
    assert (empty.created_ms, empty.first_event_ms, empty.stored_bytes) == (5_000, None, 0)
    (group,) = store.groups().groups
    assert (group.name, group.created_ms) == (GROUP, 5_000)
    assert group.stored_bytes > full.stored_bytes


def test_a_foreign_mark_is_refused(store: FileLogStore) -> None:
    store.create(GROUP, "s")
    with pytest.raises(InvalidRequest, match="nextToken"):
        store.streams(GROUP, order_by="last_event_time", after="s")


def test_a_store_without_a_folder_is_empty(tmp_path: Path) -> None:
    assert FileLogStore(tmp_path / "none").groups().groups == ()


def test_foreign_files_are_not_streams(store: FileLogStore, tmp_path: Path) -> None:
    store.create(GROUP, "s")
    folder = store._path(GROUP, "s").parent
    (folder / "notes.txt").write_text("mine")
    (folder / "empty.log").touch()
    (tmp_path / "logs" / "stray").write_text("mine")
    assert walk(store) == ["s"]
    assert [group.name for group in store.groups().groups] == [GROUP]

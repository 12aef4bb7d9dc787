"""The log store through its public face: writing, surviving, reading."""

import os
import resource
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from batchyard.kernel.faults import InvalidRequest, NotFound, StoreUnavailable
from batchyard.logs.port import LogLine, LogSink
from batchyard.logs.store import FileLogStore, Page

GROUP = "/aws/batch/job"
STREAM = "align/default/0123456789abcdef"
NOW_MS = 1_700_000_000_500


@pytest.fixture
def store(tmp_path: Path) -> FileLogStore:
    return FileLogStore(tmp_path / "logs", clock=lambda: NOW_MS)


def lines(*messages: str, first: int = 1, start_ms: int = 1_700_000_000_000) -> list[LogLine]:
    return [
        LogLine(timestamp_ms=start_ms + n, message=message, position=first + n)
        for n, message in enumerate(messages)
    ]


def messages(page: Page) -> list[str]:
    return [event.message for event in page.events]


def stream_file(store: FileLogStore, stream: str = STREAM) -> Path:
    return store._path(GROUP, stream)


def test_the_store_is_a_log_sink(store: FileLogStore) -> None:
    sink: LogSink = store
    sink.create(GROUP, STREAM)
    assert sink.position(GROUP, STREAM) == 0


@pytest.mark.parametrize(
    "message",
    [
        "",
        " ",
        "plain",
        "two\nlines\n",
        "back\\slash \\n",
        "tab\t\r",
        "nul\0",
        "日本語 ☃",
        "1 2 3 4",
    ],
)
def test_a_message_comes_back_as_it_went_in(store: FileLogStore, message: str) -> None:
    store.append(GROUP, STREAM, lines(message))
    (event,) = store.events(GROUP, STREAM).events
    assert event.message == message
    assert event.timestamp_ms == 1_700_000_000_000
    assert event.ingested_ms == NOW_MS


def test_unencodable_text_is_replaced_and_harms_nothing_else(store: FileLogStore) -> None:
    store.append(GROUP, STREAM, lines("bad \udcff byte", "next"))
    assert messages(store.events(GROUP, STREAM)) == ["bad ? byte", "next"]


def test_a_repeated_line_is_dropped_and_a_new_one_is_kept(store: FileLogStore) -> None:
    store.append(GROUP, STREAM, lines("a", "b"))
    store.append(GROUP, STREAM, lines("a", "b", "c"))
    assert messages(store.events(GROUP, STREAM)) == ["a", "b", "c"]
    assert store.position(GROUP, STREAM) == 3


def test_lines_of_one_batch_may_share_a_position(store: FileLogStore) -> None:
    store.append(GROUP, STREAM, [LogLine(timestamp_ms=1, message=m, position=7) for m in "ab"])
    assert messages(store.events(GROUP, STREAM)) == ["a", "b"]


def test_time_never_runs_backwards_within_a_stream(store: FileLogStore) -> None:
    store.append(GROUP, STREAM, lines("a", start_ms=2_000))
    store.append(GROUP, STREAM, lines("b", first=2, start_ms=1_000))
    assert [event.timestamp_ms for event in store.events(GROUP, STREAM).events] == [2_000, 2_000]


def test_create_is_idempotent_and_keeps_what_is_there(store: FileLogStore) -> None:
    store.create(GROUP, STREAM)
    store.append(GROUP, STREAM, lines("a"))
    store.create(GROUP, STREAM)
    assert messages(store.events(GROUP, STREAM)) == ["a"]


def test_position_of_a_missing_stream_is_zero_and_creates_nothing(store: FileLogStore) -> None:
    assert store.position(GROUP, STREAM) == 0
    with pytest.raises(NotFound, match="log group"):
        store.events(GROUP, STREAM)


def test_every_torn_tail_is_cut_and_writing_goes_on(tmp_path: Path) -> None:
    """Cut the file at every byte, as SIGKILL in the middle of a write would."""
    root = tmp_path / "logs"
    store = FileLogStore(root, clock=lambda: NOW_MS)
    store.append(GROUP, STREAM, lines("first", "sec\nond", "third"))
    store.close()
    path = stream_file(store)
    whole = path.read_bytes()
    ends = [n + 1 for n, byte in enumerate(whole) if byte == ord("\n")]
    for length in range(len(whole) + 1):
        path.write_bytes(whole[:length])
        survivors = max(0, sum(1 for end in ends if end <= length) - 1)
        reopened = FileLogStore(root, clock=lambda: NOW_MS)
        assert reopened.position(GROUP, STREAM) == survivors
        if length >= ends[0]:
            assert len(reopened.events(GROUP, STREAM).events) == survivors
        reopened.append(GROUP, STREAM, lines("first", "sec\nond", "third", "fourth"))
        assert messages(reopened.events(GROUP, STREAM, from_head=True)) == [
            "first",
            "sec\nond",
            "third",
            "fourth",
        ]
        reopened.close()


_ENDLESS_WRITER = """
import sys
from pathlib import Path
from batchyard.logs.port import LogLine
from batchyard.logs.store import FileLogStore

store, position = FileLogStore(Path(sys.argv[1])), 0
while True:
    batch = [
        LogLine(timestamp_ms=1, message=f"{n} " + "x" * 50_000, position=n)
        for n in range(position + 1, position + 6)
    ]
    store.append(sys.argv[2], sys.argv[3], batch)
    position += 5
    print(position, flush=True)
"""


def test_a_killed_writer_loses_nothing_that_was_appended(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _ENDLESS_WRITER, str(tmp_path), GROUP, STREAM],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if int(line) >= 50:
                process.kill()
                break
        acknowledged = max([50, *(int(line) for line in process.stdout)])
    assert process.returncode == -signal.SIGKILL
    store = FileLogStore(tmp_path)
    survived = store.position(GROUP, STREAM)
    assert survived >= acknowledged
    store.append(GROUP, STREAM, lines("after", first=survived + 1))
    page = store.events(GROUP, STREAM, from_head=True, max_bytes=2**30)
    assert [event.position for event in page.events] == list(range(1, survived + 2))
    assert {len(event.message.split(" ")[1]) for event in page.events[:-1]} == {50_000}


def test_a_damaged_line_is_skipped_in_both_directions(store: FileLogStore) -> None:
    store.append(GROUP, STREAM, lines("a"))
    store.close()
    with stream_file(store).open("ab") as file:
        file.write(b"\0\0\0 garbage\nx y z w\n")
    store.append(GROUP, STREAM, lines("a", "b"))
    assert messages(store.events(GROUP, STREAM, from_head=True)) == ["a", "b"]
    assert messages(store.events(GROUP, STREAM)) == ["a", "b"]


def test_a_full_disk_leaves_no_half_record(store: FileLogStore) -> None:
    store.append(GROUP, STREAM, lines("a"))
    size = stream_file(store).stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10, hard))
    try:
        with pytest.raises(StoreUnavailable) as caught:
            store.append(GROUP, STREAM, lines("b" * 100, first=2))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert "disk space" in caught.value.hint
    assert stream_file(store).stat().st_size == size
    store.append(GROUP, STREAM, lines("b", first=2))
    assert messages(store.events(GROUP, STREAM)) == ["a", "b"]


def test_a_message_beyond_256_kib_is_cut_between_characters(store: FileLogStore) -> None:
    text = "☃" * 200_000
    store.append(GROUP, STREAM, [LogLine(timestamp_ms=1, message=text, position=9)])
    page = store.events(GROUP, STREAM, from_head=True, max_bytes=2**24)
    assert "".join(messages(page)) == text
    assert [len(message.encode()) for message in messages(page)] == [262_116, 262_116, 75_768]
    assert [event.position for event in page.events] == [0, 0, 9]


def test_open_files_are_bounded(tmp_path: Path) -> None:
    store = FileLogStore(tmp_path / "logs", max_open=32)
    for n in range(300):
        store.append(GROUP, f"job/default/{n}", lines("x"))
    assert store._writers.open_count() <= 32
    for n in range(300):
        store.append(GROUP, f"job/default/{n}", lines("x", "y"))
    assert messages(store.events(GROUP, "job/default/0")) == ["x", "y"]
    store.close()
    assert store._writers.open_count() == 0


def test_no_file_stays_open_after_close(store: FileLogStore) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for n in range(20):
        store.append(GROUP, f"{n}", lines("x"))
        store.events(GROUP, f"{n}")
    store.filter(GROUP)
    store.close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_threads_append_without_losing_or_mixing(store: FileLogStore) -> None:
    def write(stream: str) -> None:
        for n in range(200):
            store.append(GROUP, stream, lines(f"{stream} {n}", first=n + 1))

    threads = [threading.Thread(target=write, args=(f"s{n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    for n in range(8):
        assert messages(store.events(GROUP, f"s{n}")) == [f"s{n} {k}" for k in range(200)]


def test_forward_tokens_walk_the_stream_and_repeat_at_the_end(store: FileLogStore) -> None:
    store.append(GROUP, STREAM, lines(*"abcde"))
    seen: list[str] = []
    page = store.events(GROUP, STREAM, from_head=True, limit=2)
    while page.events:
        seen += messages(page)
        page = store.events(GROUP, STREAM, token=page.forward_token, limit=2)
    assert seen == list("abcde")
    again = store.events(GROUP, STREAM, token=page.forward_token)
    assert (again.events, again.forward_token) == ((), page.forward_token)
    store.append(GROUP, STREAM, lines(*"abcdef"))
    assert messages(store.events(GROUP, STREAM, token=page.forward_token)) == ["f"]


def test_backward_tokens_walk_from_the_tail_and_repeat_at_the_head(store: FileLogStore) -> None:
    store.append(GROUP, STREAM, lines(*"abcde"))
    pages: list[list[str]] = []
    page = store.events(GROUP, STREAM, limit=2)
    while page.events:
        pages.append(messages(page))
        page = store.events(GROUP, STREAM, token=page.backward_token, limit=2)
    assert pages == [["d", "e"], ["b", "c"], ["a"]]
    again = store.events(GROUP, STREAM, token=page.backward_token)
    assert (again.events, again.backward_token) == ((), page.backward_token)


def test_a_page_turns_around(store: FileLogStore) -> None:
    store.append(GROUP, STREAM, lines(*"abcd"))
    page = store.events(GROUP, STREAM, limit=2)
    assert messages(store.events(GROUP, STREAM, token=page.backward_token)) == ["a", "b"]
    back = store.events(GROUP, STREAM, token=page.backward_token, limit=1)
    assert messages(store.events(GROUP, STREAM, token=back.forward_token)) == ["c", "d"]


def test_an_empty_stream_hands_out_tokens_that_see_its_first_line(store: FileLogStore) -> None:
    store.create(GROUP, STREAM)
    page = store.events(GROUP, STREAM)
    assert page.events == ()
    store.append(GROUP, STREAM, lines("a"))
    assert messages(store.events(GROUP, STREAM, token=page.forward_token)) == ["a"]


def test_a_page_is_bounded_by_bytes_but_never_empty(store: FileLogStore) -> None:
    store.append(GROUP, STREAM, lines(*["x" * 1_000] * 10))
    assert len(store.events(GROUP, STREAM, from_head=True, max_bytes=3_500).events) == 3
    assert len(store.events(GROUP, STREAM, max_bytes=1).events) == 1


@pytest.mark.parametrize("from_head", [True, False])
def test_a_time_range_includes_its_start_and_not_its_end(
    store: FileLogStore, from_head: bool
) -> None:
    store.append(GROUP, STREAM, lines(*"abcde", start_ms=1_000))
    page = store.events(GROUP, STREAM, start_ms=1_001, end_ms=1_003, from_head=from_head)
    assert messages(page) == ["b", "c"]
    after = store.events(GROUP, STREAM, start_ms=1_001, end_ms=1_003, token=page.forward_token)
    assert after.events == ()
    backwards = store.events(GROUP, STREAM, start_ms=5_000, end_ms=10, from_head=from_head)
    assert backwards.events == ()


def test_a_time_is_found_in_a_file_of_many_windows(store: FileLogStore) -> None:
    store.append(
        GROUP,
        STREAM,
        [
            # Every time occurs three times; some records are larger than a window.
            LogLine(
                timestamp_ms=10 * (n // 3),
                message="z" * (70_000 if n % 1_000 == 7 else 30),
                position=n + 1,
            )
            for n in range(9_000)
        ],
    )
    for at in (0, 1, 10, 4_995, 5_000, 23_331, 29_990, 29_991):
        page = store.events(GROUP, STREAM, start_ms=at, from_head=True, limit=1)
        expected = [] if at > 29_990 else [3 * -(-at // 10) + 1]
        assert [event.position for event in page.events] == expected


@pytest.mark.parametrize(
    "token", ["", "f", "f/", "x/60", "f/-1", "f/61", "f/999999", "f/" + "9" * 99, "b/1", "f/٣"]
)
def test_a_foreign_token_is_refused(store: FileLogStore, token: str) -> None:
    store.append(GROUP, STREAM, lines("some message that is long enough"))
    with pytest.raises(InvalidRequest, match="nextToken is invalid") as caught:
        store.events(GROUP, STREAM, token=token)
    assert caught.value.hint


def test_missing_group_and_missing_stream_are_told_apart(store: FileLogStore) -> None:
    with pytest.raises(NotFound, match=r"The specified log group does not exist\."):
        store.events("/none", "s")
    store.create(GROUP, STREAM)
    with pytest.raises(NotFound, match=r"The specified log stream does not exist\."):
        store.events(GROUP, "s")
    with pytest.raises(NotFound, match="log stream"):
        store.filter(GROUP, streams=["s"])
    with pytest.raises(NotFound, match="log group"):
        store.filter("/none")
    with pytest.raises(NotFound, match="log group"):
        store.streams("/none")


def test_a_deleted_stream_is_gone_and_may_begin_anew(store: FileLogStore) -> None:
    store.append(GROUP, STREAM, lines("a"))
    store.delete_stream(GROUP, STREAM)
    with pytest.raises(NotFound, match="log stream"):
        store.delete_stream(GROUP, STREAM)
    assert store.position(GROUP, STREAM) == 0
    store.append(GROUP, STREAM, lines("b"))
    assert messages(store.events(GROUP, STREAM)) == ["b"]


def test_a_group_torn_at_birth_is_made_whole(tmp_path: Path) -> None:
    store = FileLogStore(tmp_path)
    store.create(GROUP, STREAM)
    (stream_file(store).parent / ".group").unlink()
    assert FileLogStore(tmp_path).groups().groups == ()
    reopened = FileLogStore(tmp_path)
    reopened.create(GROUP, STREAM)
    assert [group.name for group in reopened.groups().groups] == [GROUP]


def test_an_unwritable_root_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file where a folder should be")
    with pytest.raises(StoreUnavailable) as caught:
        FileLogStore(tmp_path / "logs").create(GROUP, STREAM)
    assert "write access" in caught.value.hint

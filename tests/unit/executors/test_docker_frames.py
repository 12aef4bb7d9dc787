import struct
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchyard.executors.docker.frames import MOST_BYTES_PER_LINE, FrameReader, parse_time_ns
from batchyard.logs.port import LogLine

SECOND = 1_000_000_000


def frame(text: bytes, *, at_ns: int = 1_700_000_000 * SECOND, stream: int = 1) -> bytes:
    whole = datetime.fromtimestamp(at_ns // SECOND, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    payload = f"{whole}.{at_ns % SECOND:09d}Z ".encode() + text
    return struct.pack(">B3xI", stream, len(payload)) + payload


def read(raw: bytes, sizes: list[int] | None = None) -> list[LogLine]:
    reader = FrameReader()
    lines: list[LogLine] = []
    for size in sizes or []:
        lines += reader.feed(raw[:size])
        raw = raw[size:]
    return lines + reader.feed(raw) + reader.finish()


def test_a_line_keeps_the_engines_time() -> None:
    (line,) = read(frame(b"hello\n", at_ns=1_700_000_000 * SECOND + 123_456_789))
    assert line == LogLine(
        timestamp_ms=1_700_000_000_123, message="hello", position=1_700_000_000_123_456_789
    )


def test_parts_are_joined_within_their_stream() -> None:
    raw = frame(b"a") + frame(b"error\n", stream=2) + frame(b"b\n")
    assert [line.message for line in read(raw)] == ["error", "ab"]


def test_a_last_line_without_newline_is_kept() -> None:
    assert [line.message for line in read(frame(b"a\n") + frame(b"tail"))] == ["a", "tail"]


def test_an_empty_line_is_a_line() -> None:
    assert [line.message for line in read(frame(b"\n") + frame(b"x\n"))] == ["", "x"]


def test_what_is_no_utf8_becomes_replacement_characters() -> None:
    assert read(frame(b"a\xffb\n"))[0].message == "a\ufffdb"


def test_a_line_beyond_the_limit_is_split() -> None:
    raw = b"".join(frame(b"x" * 16_384) for _ in range(40)) + frame(b"end\n")
    lines = read(raw)
    assert "".join(line.message for line in lines) == "x" * 40 * 16_384 + "end"
    assert max(len(line.message) for line in lines) <= MOST_BYTES_PER_LINE


def test_times_that_stand_still_or_step_back_still_give_growing_positions() -> None:
    at_ns = 1_700_000_000 * SECOND
    raw = frame(b"a\n", at_ns=at_ns) + frame(b"b\n", at_ns=at_ns) + frame(b"c\n", at_ns=at_ns - 7)
    assert [line.position for line in read(raw)] == [at_ns, at_ns + 1, at_ns + 2]


@given(
    texts=st.lists(st.binary(max_size=40).map(lambda raw: raw.replace(b"\n", b"")), max_size=12),
    sizes=st.lists(st.integers(0, 60), max_size=20),
)
def test_how_the_stream_is_cut_into_chunks_does_not_matter(
    texts: list[bytes], sizes: list[int]
) -> None:
    raw = b"".join(frame(text + b"\n") for text in texts)
    lines = read(raw, sizes)
    assert lines == read(raw)
    assert [line.message for line in lines] == [text.decode("utf-8", "replace") for text in texts]


@given(
    steps_ns=st.lists(st.integers(-2_000, 3 * SECOND), min_size=1, max_size=30),
    cut=st.integers(0, 29),
    granularity_ns=st.sampled_from([1, 1_000, SECOND]),
)
def test_reading_again_from_a_second_before_gives_the_same_positions(
    steps_ns: list[int], cut: int, granularity_ns: int
) -> None:
    at_ns = 1_700_000_000 * SECOND + SECOND // 2
    times = []
    for step_ns in steps_ns:
        at_ns += step_ns
        times.append(at_ns // granularity_ns * granularity_ns)
    whole = read(b"".join(frame(b"x\n", at_ns=time) for time in times))
    stored = whole[min(cut, len(whole) - 1)].position
    since_ns = (stored // SECOND - 1) * SECOND
    again = read(b"".join(frame(b"x\n", at_ns=time) for time in times if time >= since_ns))
    assert [line for line in again if line.position > stored] == [
        line for line in whole if line.position > stored
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1970-01-01T00:00:01Z", SECOND),
        ("1970-01-01T00:00:01.5Z", SECOND + SECOND // 2),
        ("1970-01-01T01:00:01.000000007+01:00", SECOND + 7),
        ("0001-01-01T00:00:00Z", 0),
    ],
)
def test_times(text: str, expected: int) -> None:
    assert parse_time_ns(text) == expected


def test_what_is_no_time_is_an_error() -> None:
    with pytest.raises(ValueError):
        parse_time_ns("yesterday")

"""The tail of an output file: the same lines however the bytes arrive and it is restarted."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from batchyard.executors.process import tail as tail_module
from batchyard.executors.process.tail import MAX_LINE_BYTES, Tail
from batchyard.logs.port import LogLine


class Store:
    """A log store that can fail once, and that survives the tail."""

    def __init__(self) -> None:
        self.lines: list[LogLine] = []
        self.created = False
        self.fail_next = False

    def create(self, group: str, stream: str) -> None:
        self.created = True

    def append(self, group: str, stream: str, lines: Sequence[LogLine]) -> None:
        if self.fail_next:
            self.fail_next = False
            raise OSError(28, "No space left on device")
        last = self.position(group, stream)
        self.lines += [line for line in lines if line.position > last]

    def position(self, group: str, stream: str) -> int:
        return self.lines[-1].position if self.lines else 0


def follow(store: Store, path: Path) -> Tail:
    tail = Tail(str(path), store, group="g", stream="s")
    tail.resume()
    return tail


def drain(tail: Tail, now_ms: int) -> None:
    while True:
        try:
            if not tail.step(now_ms=now_ms):
                return
        except OSError:
            continue


pieces = st.lists(
    st.tuples(
        st.binary(max_size=12)
        | st.sampled_from([b"\n", b"a\nb", b"\n\n", "ü\n".encode(), b"\xff"]),
        st.sampled_from(["go on", "restart", "store fails"]),
    ),
    max_size=12,
)


@given(pieces=pieces)
def test_the_same_lines_however_the_bytes_arrive(pieces: list[tuple[bytes, str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path, store = Path(folder) / "output", Store()
        tail = follow(store, path)
        whole = b""
        for number, (piece, then) in enumerate(pieces):
            whole += piece
            path.write_bytes(whole)
            store.fail_next = then == "store fails"
            drain(tail, number)
            store.fail_next = False
            if then == "restart":
                tail = follow(store, path)
        drain(tail, 99)
        tail.finish(now_ms=99)
        *lines, rest = whole.split(b"\n")
        expected = [*lines, rest] if rest else lines
        assert [line.message for line in store.lines] == [
            line.decode("utf-8", "replace") for line in expected
        ]
        assert store.created or store.lines
        assert store.position("g", "s") == len(whole)
        stamps = [line.timestamp_ms for line in store.lines]
        assert stamps == sorted(stamps)


@given(
    character=st.sampled_from(["x", "ü", "€", "😀"]),
    extra=st.integers(-3, 3),
    times=st.integers(1, 3),
)
def test_long_lines_are_cut_between_characters(character: str, extra: int, times: int) -> None:
    count = times * MAX_LINE_BYTES // len(character.encode()) + extra
    text = "a" + character * count
    with tempfile.TemporaryDirectory() as folder:
        path, store = Path(folder) / "output", Store()
        path.write_text(text + "\nnext\n", encoding="utf-8")
        tail = follow(store, path)
        drain(tail, 1)
        tail.finish(now_ms=1)
    *cut, last = [line.message for line in store.lines]
    assert last == "next"
    assert "".join(cut) == text
    assert all(len(piece.encode()) <= MAX_LINE_BYTES for piece in cut)
    positions = [line.position for line in store.lines]
    assert positions == sorted(set(positions))


def test_a_line_is_longer_than_a_chunk() -> None:
    text = "x" * (2 * tail_module.CHUNK_BYTES)
    with tempfile.TemporaryDirectory() as folder:
        path, store = Path(folder) / "output", Store()
        path.write_text(text + "\n")
        tail = follow(store, path)
        drain(tail, 1)
        tail.finish(now_ms=1)
    assert "".join(line.message for line in store.lines) == text

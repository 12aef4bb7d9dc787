"""Whatever is appended, in whatever pieces and across crashes, reads back in full and in order."""

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from batchyard.logs.port import LogLine
from batchyard.logs.store import FileLogStore

GROUP = "/aws/batch/job"
texts = st.text(max_size=30).map(lambda text: text.encode("utf-8", "replace").decode())
# Per stream: batches of (time step, message); a cut tears that many bytes off the file's end.
batches = st.lists(st.lists(st.tuples(st.integers(0, 3), texts), max_size=5), max_size=5)


def build(batch_list: list[list[tuple[int, str]]]) -> list[list[LogLine]]:
    at_ms, position, out = 1_000, 0, []
    for batch in batch_list:
        lines = []
        for step_ms, message in batch:
            at_ms += step_ms
            position += 1
            lines.append(LogLine(timestamp_ms=at_ms, message=message, position=position))
        out.append(lines)
    return out


@settings(max_examples=60, deadline=None)
@given(batches=batches, limit=st.integers(1, 4), torn=st.integers(0, 40))
def test_a_producer_that_repeats_itself_after_a_crash_loses_and_doubles_nothing(
    batches: list[list[tuple[int, str]]], limit: int, torn: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = FileLogStore(Path(folder), clock=lambda: 2_000)
        store.create(GROUP, "s")
        everything = [line for lines in build(batches) for line in lines]
        for lines in build(batches):
            store.append(GROUP, "s", lines)
        store.close()
        path = store._path(GROUP, "s")
        data = path.read_bytes()
        path.write_bytes(data[: max(0, len(data) - torn)])

        revived = FileLogStore(Path(folder), clock=lambda: 3_000)
        resume = revived.position(GROUP, "s")
        revived.append(GROUP, "s", everything[max(0, resume - 1) :])
        expected = [(line.timestamp_ms, line.message, line.position) for line in everything]

        forward, page = [], revived.events(GROUP, "s", from_head=True, limit=limit)
        while page.events:
            forward += [(e.timestamp_ms, e.message, e.position) for e in page.events]
            page = revived.events(GROUP, "s", token=page.forward_token, limit=limit)
        assert forward == expected

        backward, page = [], revived.events(GROUP, "s", limit=limit)
        while page.events:
            backward += [(e.timestamp_ms, e.message, e.position) for e in reversed(page.events)]
            page = revived.events(GROUP, "s", token=page.backward_token, limit=limit)
        assert backward[::-1] == expected
        revived.close()


@settings(max_examples=60, deadline=None)
@given(
    streams=st.dictionaries(st.text("ab/%", min_size=1, max_size=3), batches, max_size=4),
    limit=st.integers(1, 4),
    window=st.tuples(st.integers(998, 1_020), st.integers(998, 1_020)),
)
def test_a_search_equals_sorting_everything(
    streams: dict[str, list[list[tuple[int, str]]]], limit: int, window: tuple[int, int]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = FileLogStore(Path(folder), clock=lambda: 2_000)
        store.create(GROUP, "always")
        expected = []
        for name, batch_list in streams.items():
            for lines in build(batch_list):
                store.append(GROUP, name, lines)
                expected += [(ln.timestamp_ms, name, ln.position, ln.message) for ln in lines]
        expected = [row for row in sorted(expected) if window[0] <= row[0] < window[1]]

        seen, token = [], None
        while True:
            page = store.filter(
                GROUP, start_ms=window[0], end_ms=window[1], limit=limit, token=token
            )
            seen += [
                (f.event.timestamp_ms, f.stream, f.event.position, f.event.message)
                for f in page.events
            ]
            token = page.next_token
            if token is None:
                break
        assert seen == expected
        store.close()

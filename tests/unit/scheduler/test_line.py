"""A queue's line: who stands where, whatever came and went before."""

from typing import Any

import pytest

from batchyard.kernel.resources import Shape
from batchyard.scheduler.line import FRESH, RETRY, Waiting, WaitingLine
from batchyard.scheduler.snapshot import Head

SHAPE = Shape(vcpu_milli=1000, memory_mib=128)
ALL = 1000


def single(seq: int, **members: Any) -> Waiting:
    return Waiting(shape=SHAPE, seq=seq, **members)


def array(seq: int, *ranges: tuple[int, int]) -> Waiting:
    return Waiting(shape=SHAPE, seq=seq, ready=ranges)


def ids(line: WaitingLine, limit: int = ALL) -> list[str]:
    return [head.job_id for head in line.heads(limit)]


def test_an_empty_line_has_no_heads() -> None:
    line = WaitingLine()
    assert line.heads(ALL) == ()
    assert len(line) == 0
    assert line.get("a") is None


def test_jobs_stand_in_order_of_submission_whenever_they_came() -> None:
    line = WaitingLine()
    for seq in (3, 1, 2):
        line.put(f"j{seq}", single(seq))
    assert ids(line) == ["j1", "j2", "j3"]
    assert len(line) == 3


def test_heads_say_all_a_pass_needs() -> None:
    line = WaitingLine()
    line.put("j", single(5, attempt=3, rank=RETRY, index=4))
    line.put("a", array(6, (2, 3)))
    assert line.heads(ALL) == (
        Head(job_id="j", attempt=3, shape=SHAPE, order=(RETRY, 5, 4)),
        Head(job_id="a:2", attempt=1, shape=SHAPE, order=(FRESH, 6, 2)),
    )


def test_retries_stand_in_front() -> None:
    line = WaitingLine()
    line.put("fresh", single(1))
    line.put("retry", single(9, rank=RETRY, attempt=2))
    assert ids(line) == ["retry", "fresh"]


def test_an_array_stands_where_it_was_submitted_with_its_children_in_order() -> None:
    line = WaitingLine()
    line.put("after", single(3))
    line.put("a", array(2, (1, 3), (7, 8)))
    line.put("before", single(1))
    assert ids(line) == ["before", "a:1", "a:2", "a:7", "after"]


@pytest.mark.parametrize("limit", range(1, 6))
def test_no_more_heads_than_asked_for(limit: int) -> None:
    line = WaitingLine()
    line.put("a", array(1, (0, 2)))
    line.put("b", single(2))
    line.put("c", array(3, (0, 2)))
    assert ids(line, limit) == ["a:0", "a:1", "b", "c:0", "c:1"][:limit]
    assert ids(line) == ["a:0", "a:1", "b", "c:0", "c:1"]


def test_looking_takes_nobody_out() -> None:
    line = WaitingLine()
    for seq in range(5):
        line.put(f"j{seq}", single(seq))
    assert [ids(line, 2) for _ in range(3)] == [["j0", "j1"]] * 3


def test_who_left_is_not_seen_again() -> None:
    line = WaitingLine()
    for seq in range(3):
        line.put(f"j{seq}", single(seq))
    line.remove("j0")
    line.remove("j0")
    line.remove("unknown")
    assert ids(line) == ["j1", "j2"]
    assert line.get("j0") is None
    assert len(line) == 2


def test_who_moved_stands_only_where_he_stands_now() -> None:
    line = WaitingLine()
    line.put("a", array(1, (0, 9)))
    line.put("a", array(1, (4, 9)))
    assert line.heads(1)[0].job_id == "a:4"
    line.put("j", single(2))
    line.put("j", single(2, rank=RETRY, attempt=2))
    assert ids(line, 2) == ["j", "a:4"]


def test_who_came_back_to_his_place_stands_there_once() -> None:
    line = WaitingLine()
    line.put("j", single(2))
    line.put("j", single(2, rank=RETRY))
    line.put("j", single(2))
    line.remove("j")
    line.put("j", single(2))
    line.put("k", single(3))
    assert ids(line) == ["j", "k"]
    assert ids(line) == ["j", "k"]


def test_a_change_that_moves_nobody_is_taken_in() -> None:
    line = WaitingLine()
    line.put("a", array(1, (0, 2)))
    line.put("a", array(1, (0, 5)))
    assert len(ids(line)) == 5


def test_a_line_from_which_most_have_gone_is_made_anew() -> None:
    line = WaitingLine()
    for seq in range(2000):
        line.put(f"j{seq}", single(seq))
    for seq in range(1990):
        line.remove(f"j{seq}")
    assert line.entries < 100
    assert ids(line) == [f"j{seq}" for seq in range(1990, 2000)]


def test_a_placed_array_does_not_let_the_line_grow() -> None:
    line = WaitingLine()
    for index in range(10_000):
        line.put("a", array(1, (index, 10_000)))
        if index % 100 == 0:
            assert ids(line, 1) == [f"a:{index}"]
    assert line.entries < 200


def test_many_who_come_to_the_front_go_back_behind_it() -> None:
    line = WaitingLine()
    for seq in range(1000, 2000):
        line.put(f"j{seq}", single(seq))
    assert ids(line, 3) == ["j1000", "j1001", "j1002"]
    for seq in range(999, 800, -1):
        line.put(f"j{seq}", single(seq))
    assert ids(line, 3) == ["j801", "j802", "j803"]
    assert ids(line, 5000) == [f"j{seq}" for seq in range(801, 2000)]


def test_a_line_that_is_looked_at_again_unchanged_is_not_made_again() -> None:
    line = WaitingLine()
    for seq in range(10):
        line.put(f"j{seq}", single(seq))
    first = line.heads(5)
    line.put("behind", single(50))
    line.remove("behind")
    assert line.heads(5) is first


@pytest.mark.parametrize(
    ("order", "ahead"),
    [
        ((RETRY, 0, 0), 0),
        ((RETRY, 9, 1), 1),
        ((FRESH, 0, 0), 2),
        ((FRESH, 1, 0), 2),
        ((FRESH, 2, 0), 3),
        ((FRESH, 2, 1), 3),
        ((FRESH, 2, 2), 4),
        ((FRESH, 2, 8), 5),
        ((FRESH, 3, 0), 6),
        ((FRESH, 4, 0), 7),
    ],
)
def test_how_many_stand_ahead(order: tuple[int, int, int], ahead: int) -> None:
    line = WaitingLine()
    line.put("a:9", single(2, rank=RETRY, index=9))
    line.put("r", single(9, rank=RETRY, index=1))
    line.put("j", single(1))
    line.put("a", array(2, (1, 3), (8, 9)))
    line.put("k", single(3))
    assert line.ahead_of(order) == ahead


def test_an_array_at_the_front_of_the_retries_counts_as_fresh() -> None:
    line = WaitingLine()
    line.put("a", array(2, (0, 5)))
    assert line.ahead_of((RETRY, 2, 3)) == 0
    assert line.ahead_of((FRESH, 2, 3)) == 3

"""Ranges against the sets they stand for."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchyard.kernel import ranges as rg

SETS = st.frozensets(st.integers(0, 24))


@pytest.mark.parametrize(
    ("indexes", "ranges"),
    [
        ([], ()),
        ([3], ((3, 4),)),
        ([0, 1, 2], ((0, 3),)),
        ([5, 1, 2, 1], ((1, 3), (5, 6))),
        ([4, 2, 0], ((0, 1), (2, 3), (4, 5))),
    ],
)
def test_indexes_in_any_order_become_the_fewest_ranges(
    indexes: list[int], ranges: rg.Ranges
) -> None:
    assert rg.of(indexes) == ranges


def test_a_span_of_nothing_is_empty() -> None:
    assert rg.span(0, 3) == ((0, 3),)
    assert rg.span(3, 4) == ((3, 4),)
    assert rg.span(3, 3) == rg.EMPTY
    assert rg.span(4, 3) == rg.EMPTY


@given(SETS)
def test_a_set_survives_the_journey(indexes: frozenset[int]) -> None:
    ranges = rg.of(indexes)
    assert list(rg.indexes(ranges)) == sorted(indexes)
    assert rg.count(ranges) == len(indexes)
    assert [i for i in range(-1, 27) if rg.contains(ranges, i)] == sorted(indexes)
    assert all(b < c for (_, b), (c, _) in pairwise(ranges))


@given(SETS, SETS)
def test_union_intersection_and_difference_are_those_of_sets(
    left: frozenset[int], right: frozenset[int]
) -> None:
    a, b = rg.of(left), rg.of(right)
    assert rg.union(a, b) == rg.of(left | right)
    assert rg.intersection(a, b) == rg.of(left & right)
    assert rg.difference(a, b) == rg.of(left - right)


def test_thousands_of_ranges_are_walked_once() -> None:
    """Two passes over 5,000 ranges each: a product of the two would not end within the timeout."""
    even, odd = rg.of(range(0, 100_000, 2)), rg.of(range(1, 100_000, 2))
    assert rg.intersection(even, odd) == rg.EMPTY
    assert rg.difference(even, odd) == even
    assert rg.union(even, odd) == rg.span(0, 100_000)

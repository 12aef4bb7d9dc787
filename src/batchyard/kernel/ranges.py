"""Sets of array indexes as sorted, disjoint, half-open ranges: 10,000 children in a few numbers."""

from collections.abc import Iterable, Iterator

Ranges = tuple[tuple[int, int], ...]
"""Sorted, disjoint, non-adjacent, each `(first, past_last)` with `first < past_last`."""

EMPTY: Ranges = ()


def span(first: int, past_last: int) -> Ranges:
    return ((first, past_last),) if first < past_last else EMPTY


def of(indexes: Iterable[int]) -> Ranges:
    """Ranges of arbitrary indexes, in any order."""
    out: list[tuple[int, int]] = []
    for i in sorted(set(indexes)):
        if out and out[-1][1] == i:
            out[-1] = (out[-1][0], i + 1)
        else:
            out.append((i, i + 1))
    return tuple(out)


def count(ranges: Ranges) -> int:
    return sum(b - a for a, b in ranges)


def contains(ranges: Ranges, index: int) -> bool:
    return any(a <= index < b for a, b in ranges)


def indexes(ranges: Ranges) -> Iterator[int]:
    for a, b in ranges:
        yield from range(a, b)


def union(left: Ranges, right: Ranges) -> Ranges:
    out: list[tuple[int, int]] = []
    for a, b in sorted(left + right):
        if out and a <= out[-1][1]:
            out[-1] = (out[-1][0], max(out[-1][1], b))
        else:
            out.append((a, b))
    return tuple(out)


def intersection(left: Ranges, right: Ranges) -> Ranges:
    """Cost: O(left + right), as arrays can fall into thousands of ranges."""
    out: list[tuple[int, int]] = []
    i = j = 0
    while i < len(left) and j < len(right):
        lo, hi = max(left[i][0], right[j][0]), min(left[i][1], right[j][1])
        if lo < hi:
            out.append((lo, hi))
        if left[i][1] < right[j][1]:
            i += 1
        else:
            j += 1
    return tuple(out)


def difference(left: Ranges, right: Ranges) -> Ranges:
    """Cost: O(left + right)."""
    out: list[tuple[int, int]] = []
    j = 0
    for a, b in left:
        lo = a
        while j < len(right) and right[j][0] < b:
            c, d = right[j]
            if lo < c:
                out.append((lo, c))
            lo = max(lo, d)
            if d > b:
                # It reaches into what follows and is needed again there.
                break
            j += 1
        if lo < b:
            out.append((lo, b))
    return tuple(out)

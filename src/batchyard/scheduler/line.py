"""One queue's line of waiting attempts: a heap with lazy deletion beside the truth.

A waiting job costs a few hundred bytes; a waiting array the same, however many children it has.
"""

from bisect import bisect_left, insort
from collections.abc import Iterator
from heapq import heapify, heappop, heappush

import msgspec

from batchyard.kernel import ranges as rg
from batchyard.kernel.ids import child_id
from batchyard.kernel.ranges import Ranges
from batchyard.kernel.resources import Shape
from batchyard.scheduler.snapshot import Head

RETRY, FRESH = 0, 1
Order = tuple[int, int, int]
"""(RETRY or FRESH, seq, array index). AWS: a retried job goes to the front of its queue."""


class Waiting(msgspec.Struct, gc=False, kw_only=True):
    """One attempt in line, or (`ready` is set) an array with the children that may start."""

    shape: Shape
    seq: int
    attempt: int = 1
    rank: int = FRESH
    index: int = 0
    ready: Ranges | None = None

    @property
    def order(self) -> Order:
        """Where it stands; an array stands where its first ready child does."""
        return self.rank, self.seq, self.index if self.ready is None else self.ready[0][0]


Entry = tuple[Order, str]
KEPT = 64
"""Entries at the front that are kept sorted; more go back to the heap."""


class WaitingLine:
    """The waiting attempts of one queue, in order.

    The first few entries stand sorted in `_front`; all others are in a heap with lazy deletion.
    No valid entry of the heap comes before one of the front.
    """

    def __init__(self) -> None:
        self._members: dict[str, Waiting] = {}
        self._front: list[Entry] = []
        self._heap: list[Entry] = []
        self._heads: tuple[Head, ...] | None = None
        self._limit = 0

    def __len__(self) -> int:
        return len(self._members)

    @property
    def entries(self) -> int:
        """How many it keeps, dead ones among them: what the line costs."""
        return len(self._front) + len(self._heap)

    def get(self, job_id: str) -> Waiting | None:
        return self._members.get(job_id)

    def put(self, job_id: str, waiting: Waiting) -> None:
        """Add, or replace what stands there under the same id. Cost: O(log waiting)."""
        self.remove(job_id)
        self._members[job_id] = waiting
        entry = (waiting.order, job_id)
        if self._front and entry < self._front[-1]:
            insort(self._front, entry)
            self._heads = None
            if len(self._front) > KEPT:
                heappush(self._heap, self._front.pop())
        else:
            heappush(self._heap, entry)
            if len(self._front) < self._limit:
                self._heads = None

    def remove(self, job_id: str) -> None:
        """Take out of line; an unknown id is no error. Cost: O(log waiting), amortised."""
        known = self._members.pop(job_id, None)
        if known is None:
            return
        at = self._place((known.order, job_id))
        if at is not None:
            del self._front[at]
            self._heads = None
        # Dead entries go when they surface; a heap that is mostly dead is rebuilt at once, so that
        # a million cancelled jobs do not linger.
        if len(self._heap) > 64 and len(self._heap) > 4 * len(self._members):
            front = {entry[1] for entry in self._front}
            self._heap = [(w.order, j) for j, w in self._members.items() if j not in front]
            heapify(self._heap)

    def heads(self, limit: int) -> tuple[Head, ...]:
        """The first `limit` attempts. Cost: O(changes since the last call * log waiting)."""
        if self._heads is None or self._limit != limit:
            self._fill(limit)
            out: list[Head] = []
            for _, job_id in self._front:
                out.extend(_attempts(job_id, self._members[job_id], limit - len(out)))
                if len(out) == limit:
                    break
            self._heads = tuple(out)
            self._limit = limit
        return self._heads

    def _fill(self, limit: int) -> None:
        """Move the smallest valid entries of the heap to the front until it has `limit`."""
        while self._heap and len(self._front) < limit:
            entry = heappop(self._heap)
            waiting = self._members.get(entry[1])
            # An entry is true when it says where the job stands now; a job that went and came
            # back may have two.
            if waiting is not None and waiting.order == entry[0] and self._place(entry) is None:
                insort(self._front, entry)

    def _place(self, entry: Entry) -> int | None:
        at = bisect_left(self._front, entry)
        return at if at < len(self._front) and self._front[at] == entry else None

    def ahead_of(self, order: Order) -> int:
        """How many attempts stand before `order`. Cost: O(members); asked by people only."""
        total = 0
        for waiting in self._members.values():
            if waiting.ready is None:
                total += waiting.order < order
            else:
                before = rg.span(0, order[2]) if waiting.seq == order[1] else waiting.ready
                if (waiting.rank, waiting.seq) <= order[:2]:
                    total += rg.count(rg.intersection(waiting.ready, before))
        return total


def _attempts(job_id: str, waiting: Waiting, limit: int) -> Iterator[Head]:
    if waiting.ready is None:
        yield Head(job_id=job_id, attempt=waiting.attempt, shape=waiting.shape, order=waiting.order)
        return
    for index, _ in zip(rg.indexes(waiting.ready), range(limit), strict=False):
        yield Head(
            job_id=child_id(job_id, index),
            attempt=1,
            shape=waiting.shape,
            order=(waiting.rank, waiting.seq, index),
        )

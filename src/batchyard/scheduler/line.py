"""One queue's line of waiting attempts: a heap with lazy deletion beside the truth.

A waiting job costs a few hundred bytes; a waiting array the same, however many children it has.
"""

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


class WaitingLine:
    """The waiting attempts of one queue, in order."""

    def __init__(self) -> None:
        self._heap: list[tuple[Order, str]] = []
        self._members: dict[str, Waiting] = {}

    def __len__(self) -> int:
        return len(self._members)

    def get(self, job_id: str) -> Waiting | None:
        return self._members.get(job_id)

    def put(self, job_id: str, waiting: Waiting) -> None:
        """Add, or replace what stands there under the same id."""
        known = self._members.get(job_id)
        self._members[job_id] = waiting
        if known is None or known.order != waiting.order:
            heappush(self._heap, (waiting.order, job_id))

    def remove(self, job_id: str) -> None:
        self._members.pop(job_id, None)
        # Dead entries go when they surface; a heap that is mostly dead is rebuilt at once, so that
        # a million cancelled jobs do not linger. Amortised O(1).
        if len(self._heap) > 64 and len(self._heap) > 4 * len(self._members):
            self._heap = [(w.order, j) for j, w in self._members.items()]
            heapify(self._heap)

    def heads(self, limit: int) -> tuple[Head, ...]:
        """The first `limit` attempts. Cost: O(limit log waiting)."""
        out: list[Head] = []
        seen: list[tuple[Order, str]] = []
        while self._heap and len(out) < limit:
            entry = heappop(self._heap)
            order, job_id = entry
            waiting = self._members.get(job_id)
            # An entry is true when it says where the job stands now, and counts once.
            if waiting is None or waiting.order != order or (seen and seen[-1] == entry):
                continue
            seen.append(entry)
            out.extend(_attempts(job_id, waiting, limit - len(out)))
        for entry in seen:
            heappush(self._heap, entry)
        return tuple(out)

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

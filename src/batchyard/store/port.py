"""The contract of the durable store: what a write may do, what a read may ask.

A reply to `write` means the facts are on disk. Rows, events and effects of one callable are written
together or not at all, whatever kills the process.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Literal, Protocol, TypeVar

import msgspec

from batchyard.kernel.decision import Decision
from batchyard.kernel.definition import JobDefinition
from batchyard.kernel.effects import Effect
from batchyard.kernel.environment import ComputeEnvironment, JobQueue
from batchyard.kernel.events import Event, Kind
from batchyard.kernel.ids import Realm
from batchyard.kernel.job import Job, JobSpec
from batchyard.kernel.states import Status
from batchyard.kernel.view import View

T = TypeVar("T")


class Failpoints(Protocol):
    """Called at named places, so that a test can stop the world there. Does nothing in a yard.

    `store.before_commit`: all of a group is written, none of it is on disk yet; raising here is a
    failed commit. `store.after_commit`: it is on disk and no reply has gone out; must not raise.
    """

    def __call__(self, name: str, /) -> None: ...


class AccessKey(msgspec.Struct, frozen=True, kw_only=True):
    """Credentials that sign requests. The secret is kept as it is: SigV4 needs it in the clear."""

    access_key_id: str
    secret_access_key: str
    arn: str
    created_at_ms: int


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """An event with its place in the yard's history."""

    seq: int
    at_ms: int
    event: Event


class Match(msgspec.Struct, frozen=True, kw_only=True):
    """A text to compare with: the whole of it, or a prefix (`foo*` on the wire)."""

    text: str
    prefix: bool = False


class Cursor(msgspec.Struct, frozen=True, kw_only=True):
    """The last job of a page of `list_jobs`."""

    created_at_ms: int
    seq: int


class JobQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which single jobs and array parents to list; every condition given must hold."""

    queue: str | None = None
    """None: of every queue."""
    statuses: tuple[Status, ...] = ()
    """Empty: in any state."""
    name: Match | None = None
    """Case-insensitive."""
    definition: Match | None = None
    """Name of the definition, case-sensitive, any revision unless `revision` is given."""
    revision: int | None = None
    created_before_ms: int | None = None
    created_after_ms: int | None = None
    share: Match | None = None


class JobPage(msgspec.Struct, frozen=True, kw_only=True):
    """Newest first. `next` is absent on the last page."""

    jobs: list[Job]
    next: Cursor | None = None


class JobCount(msgspec.Struct, frozen=True, kw_only=True):
    """How many rows of a queue are of that kind and in that state."""

    queue: str
    kind: Literal["single", "array", "child"]
    status: Status
    count: int


class Transaction(View, Protocol):
    """What a callable of `Store.write` is given; valid only while the callable runs."""

    def record(self, decision: Decision) -> tuple[int, ...]:
        """Write everything a decision holds; the outbox ids of its effects, in order."""

    def acknowledge(self, outbox_ids: Iterable[int]) -> None:
        """These effects are done: forget them. Unknown ids are ignored."""

    def next_seq(self) -> int:
        """A `seq` no submitted job has had."""

    def purge(self, *, before_ms: int, limit: int) -> int:
        """Forget jobs that ended before a moment: rows, spec, events and edges.

        An array goes when all its children have gone.

        Returns:
            How many rows went, about `limit` at most; 0 when nothing is left to purge.
        """

    def meta(self, key: str) -> str | None: ...

    def put_meta(self, key: str, value: str) -> None: ...

    def put_access_key(self, key: AccessKey) -> None: ...


class Reader(Protocol):
    """Queries on one snapshot; valid only while the callable it was given to runs."""

    realm: Realm

    def job(self, job_id: str) -> Job | None: ...

    def jobs(self, job_ids: Iterable[str]) -> dict[str, Job]:
        """Those that exist as rows, by id."""

    def spec(self, root_id: str) -> JobSpec | None: ...

    def specs(self, root_ids: Iterable[str]) -> dict[str, JobSpec]: ...

    def list_jobs(self, query: JobQuery, *, cursor: Cursor | None = None, limit: int) -> JobPage:
        """Single jobs and array parents, newest first.

        Cost: O(limit) per queue and state when nothing but queue, states and times is asked.
        """

    def children(
        self, parent_id: str, *, status: Status | None = None, after: int = -1, limit: int
    ) -> list[Job]:
        """Child rows of an array with indexes greater than `after`, in order of index."""

    def job_counts(self) -> list[JobCount]:
        """Rows per queue, kind and state; zeros may be left out. Cost: independent of the jobs."""

    def queues(self) -> list[JobQueue]: ...

    def compute_environments(self) -> list[ComputeEnvironment]: ...

    def definition(self, key: str) -> JobDefinition | None:
        """By `name:revision`."""

    def definitions(
        self,
        *,
        name: str | None = None,
        status: Literal["ACTIVE", "INACTIVE"] | None = None,
        after: str | None = None,
        limit: int,
    ) -> list[JobDefinition]:
        """By name, newest revision first, following the `name:revision` given as `after`."""

    def events_of(self, kind: Kind, name: str) -> list[Recorded]:
        """The story of one row, oldest first."""

    def events_after(self, seq: int, *, limit: int) -> list[Recorded]: ...

    def open_jobs(self) -> Iterator[Job]:
        """Every row that has not ended, children included. Decodes one job at a time."""

    def live_attempts(self) -> list[Job]:
        """Rows in STARTING or RUNNING."""

    def pending_effects(self) -> list[tuple[int, Effect]]:
        """Effects not acknowledged, with their outbox ids, oldest first."""

    def next_seq(self) -> int: ...

    def access_key(self, access_key_id: str) -> AccessKey | None: ...

    def access_keys(self) -> list[AccessKey]: ...

    def meta(self, key: str) -> str | None: ...


class Store(Protocol):
    async def write(self, fn: Callable[[Transaction], T]) -> T:
        """Run `fn` in the writer thread; return its value once it is on disk.

        Callables run in the order in which they were handed in and many may share a commit. An
        exception in one undoes that one alone and is delivered to its caller. Cancelling the wait
        does not cancel the write.

        Raises:
            StoreUnavailable: nothing was written: the disk refused, or the store is closed.
        """

    async def read(self, fn: Callable[[Reader], T]) -> T:
        """Run `fn` on a snapshot in a small thread pool; it sees every write replied to before."""

    def read_now(self, fn: Callable[[Reader], T]) -> T:
        """Like `read`, on the calling thread: for start-up and tests."""

    async def close(self) -> None:
        """Finish what was handed in, then close. A second call does nothing."""

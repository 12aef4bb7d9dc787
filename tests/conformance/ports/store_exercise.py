"""What every store must do, whatever it is made of: one coroutine per promise of `store.port`."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Literal

import msgspec
import pytest

from batchyard.kernel import events as ev
from batchyard.kernel.commands import ReleaseDependents
from batchyard.kernel.decision import Decision
from batchyard.kernel.effects import FollowUp, RemoveAttempt, StartAttempt
from batchyard.kernel.evolve import evolve
from batchyard.kernel.faults import InvariantBroken, NotFound, StoreUnavailable
from batchyard.kernel.job import Dependency, Job
from batchyard.kernel.states import STATUSES, Status
from batchyard.store.port import (
    AccessKey,
    Cursor,
    JobPage,
    JobQuery,
    Match,
    Reader,
    Store,
    Transaction,
)
from conformance.ports import store_values as v

Exercise = Callable[[Store], Awaitable[None]]
DEADLINE_S = 20.0


class Held:
    """Keeps the writer busy, so that everything handed in meanwhile becomes one group."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._reached = threading.Event()
        self._go = threading.Event()

    async def __aenter__(self) -> None:
        self._first = asyncio.ensure_future(self._store.write(self._hold))
        assert await asyncio.to_thread(self._reached.wait, DEADLINE_S)

    async def __aexit__(self, *_: object) -> None:
        await asyncio.sleep(0)  # Lets what was handed in reach the writer's queue.
        self._go.set()
        await self._first

    def _hold(self, _tx: Transaction) -> None:
        self._reached.set()
        assert self._go.wait(DEADLINE_S)


async def grouped(store: Store, *writes: Callable[[Transaction], object]) -> list[object]:
    """Results or exceptions of callables that share one commit."""
    held = Held(store)
    await held.__aenter__()
    waiting = [asyncio.ensure_future(store.write(write)) for write in writes]
    await asyncio.gather(held.__aexit__(), return_exceptions=True)
    return list(await asyncio.gather(*waiting, return_exceptions=True))


async def a_write_is_read_by_everyone_once_it_returned(store: Store) -> None:
    row = v.job("a", tags={"k": "ü"})
    await store.write(v.recording(v.submitted(row, v.spec("up"))))
    assert await store.read(lambda r: r.job("a")) == row
    assert store.read_now(lambda r: r.spec("a")) == v.spec("up")
    assert await store.write(lambda tx: tx.job("a")) == row
    assert await store.write(lambda tx: tx.spec("a")) == v.spec("up")
    assert store.read_now(lambda r: r.job("b")) is None
    assert store.read_now(lambda r: r.jobs(["b", "a", "a"])) == {"a": row}
    assert store.read_now(lambda r: r.specs(["a", "b"])) == {"a": v.spec("up")}


async def an_exception_undoes_its_own_callable_alone(store: Store) -> None:
    def fails_late(tx: Transaction) -> None:
        v.recording(v.placed("a"), v.submitted(v.job("bad", seq=9)))(tx)
        tx.put_meta("m", "bad")
        raise NotFound("no such thing")

    def fails_after_a_query(tx: Transaction) -> None:
        """The query has brought the writes of the whole group to the database."""
        v.recording(v.placed("a"), v.submitted(v.job("bad", seq=9), v.spec("a")))(tx)
        assert [j.job_id for j in tx.open_jobs("q", 0, 10)] == ["a", "bad"]
        assert tx.dependents("a", "", 10) == [("bad", "PLAIN")]
        v.recording(v.started("a"), v.submitted(v.job("worse", seq=10)))(tx)
        raise NotFound("no such thing either")

    async with Held(store):
        before = asyncio.ensure_future(store.write(v.recording(v.submitted(v.job("a")))))
        late = asyncio.ensure_future(store.write(fails_late))
        query = asyncio.ensure_future(store.write(fails_after_a_query))
        seq = asyncio.ensure_future(store.write(lambda tx: tx.next_seq()))
        after = asyncio.ensure_future(store.write(v.recording(v.placed("a"))))
    await before
    with pytest.raises(NotFound):
        await late
    with pytest.raises(NotFound):
        await query
    assert await seq == 2
    await after
    assert store.read_now(lambda r: r.meta("m")) is None
    assert store.read_now(lambda r: sorted(r.jobs(["a", "bad", "worse"]))) == ["a"]
    assert store.read_now(lambda r: r.events_of("job", "bad")) == []
    assert [e.event for e in store.read_now(lambda r: r.events_of("job", "a"))] == [
        v.submitted(v.job("a")),
        v.placed("a"),
    ]
    assert await store.write(lambda tx: tx.dependents("a", "", 10)) == []
    assert counts(store) == {("q", "single", "STARTING"): 1}


async def each_query_sees_what_the_group_and_the_callable_wrote_before(store: Store) -> None:
    def expect(query: Callable[[Transaction], object], want: object) -> None:
        queries.append((query, want))

    def ids(jobs: list[Job]) -> list[str]:
        return [job.job_id for job in jobs]

    queries: list[tuple[Callable[[Transaction], object], object]] = []
    expect(lambda tx: [name for name, _ in tx.dependents("up", "", 9)], ["a", "b"])
    expect(lambda tx: ids(tx.open_jobs("q", 0, 9)), ["a", "p", "b"])
    expect(lambda tx: ids(tx.open_children("p", -1, 9)), ["p:0", "p:1"])
    expect(lambda tx: tx.child_indexes("p", "RUNNABLE"), ((0, 2),))

    def asks(query: Callable[[Transaction], object]) -> Callable[[Transaction], None]:
        def write(tx: Transaction) -> None:
            v.recording(
                v.submitted(v.job("b", seq=3), v.spec("up")),
                ev.ChildSpawned(job=v.child("p", 1)),
            )(tx)
            found.append(query(tx))
            raise NotFound("so that the next query finds nothing flushed")

        return write

    def starts(tx: Transaction) -> None:
        if tx.job("a") is None:
            v.recording(
                v.submitted(v.job("a"), v.spec("up")),
                v.submitted(v.array("p", 2, seq=2)),
                ev.ChildSpawned(job=v.child("p", 0)),
            )(tx)

    found: list[object] = []
    for query, want in queries:
        first, second = await grouped(store, starts, asks(query))
        assert first is None
        assert isinstance(second, NotFound)
        assert found.pop() == want


async def a_group_keeps_the_order_of_its_callables(store: Store) -> None:
    def submit(n: int) -> Callable[[Transaction], int]:
        def write(tx: Transaction) -> int:
            seq = tx.next_seq()
            assert len(tx.open_jobs("q", 0, 1_000)) == n
            v.recording(v.submitted(v.job(f"j{n}", seq=seq)))(tx)
            return seq

        return write

    async with Held(store):
        many = asyncio.gather(*(store.write(submit(n)) for n in range(300)))
    assert await many == list(range(1, 301))
    assert store.read_now(lambda r: r.next_seq()) == 301
    recorded = store.read_now(lambda r: r.events_after(0, limit=1_000))
    assert [r.event.key[1] for r in recorded] == [f"j{n}" for n in range(300)]
    assert [r.seq for r in recorded] == sorted({r.seq for r in recorded})
    tail = store.read_now(lambda r: r.events_after(recorded[-3].seq, limit=1))
    assert tail == [recorded[-2]]


async def a_caller_who_left_disturbs_nobody(store: Store) -> None:
    async with Held(store):
        leaves = asyncio.ensure_future(store.write(v.recording(v.submitted(v.job("a")))))
        stays = asyncio.ensure_future(store.write(v.recording(v.submitted(v.job("b", seq=2)))))
        await asyncio.sleep(0)
        leaves.cancel()
    await stays
    with pytest.raises(asyncio.CancelledError):
        await leaves
    assert sorted(store.read_now(lambda r: r.jobs(["a", "b"]))) == ["a", "b"]


async def stop_iteration_reaches_its_caller_as_an_error(store: Store) -> None:
    def stops(_tx: Transaction) -> None:
        raise StopIteration

    with pytest.raises(RuntimeError, match="StopIteration"):
        await store.write(stops)
    assert await store.write(lambda tx: tx.queue_names()) == []


async def effects_wait_in_the_outbox_until_acknowledged(store: Store) -> None:
    start = StartAttempt(job_id="a", attempt=1)
    follow = FollowUp(command=ReleaseDependents(upstream="a"))
    first = await store.write(v.recording(v.submitted(v.job("a")), effects=(start, follow)))
    second = await store.write(v.recording(effects=(RemoveAttempt(job_id="a", attempt=1),)))
    assert len({*first, *second}) == 3
    assert store.read_now(lambda r: r.pending_effects()) == [
        (first[0], start),
        (first[1], follow),
        (second[0], RemoveAttempt(job_id="a", attempt=1)),
    ]
    await store.write(lambda tx: tx.acknowledge([first[0], second[0], 99_999]))
    assert store.read_now(lambda r: r.pending_effects()) == [(first[1], follow)]


async def dependents_come_in_pages(store: Store) -> None:
    names = [f"d{n:02}" for n in range(25)]
    for seq, name in enumerate(names, start=2):
        await store.write(v.recording(v.submitted(v.job(name, seq=seq), v.spec("up", "other"))))
    seen: list[str] = []

    def next_page(tx: Transaction) -> list[str]:
        return [name for name, _ in tx.dependents("up", seen[-1] if seen else "", 10)]

    while page := await store.write(next_page):
        seen += page
    assert seen == names
    assert await store.write(lambda tx: tx.dependents("nobody", "", 10)) == []


async def a_dependent_under_several_types_is_never_parted(store: Store) -> None:
    both = msgspec.structs.replace(
        v.spec("up"),
        depends_on=(Dependency(job_id="up"), Dependency(job_id="up", type="N_TO_N")),
    )
    await store.write(v.recording(v.submitted(v.array("a", 2), both)))
    await store.write(v.recording(v.submitted(v.array("b", 2, seq=2), both)))
    assert await store.write(lambda tx: tx.dependents("up", "", 1)) == [
        ("a", "N_TO_N"),
        ("a", "PLAIN"),
    ]
    assert len(await store.write(lambda tx: tx.dependents("up", "a", 100))) == 2


async def children_are_found_by_index_and_state(store: Store) -> None:
    await store.write(v.recording(v.submitted(v.array("p", 30))))
    for index in reversed(range(20)):
        await store.write(
            v.recording(
                ev.ChildSpawned(job=v.child("p", index)),
                ev.ChildMoved(job_id="p", index=index, source=None, target="RUNNABLE", at_ms=5),
            )
        )
    await store.write(v.recording(*(v.placed(f"p:{i}") for i in (3, 4, 5, 12))))
    await store.write(v.recording(v.started("p:12"), v.ended("p:12")))

    def look(tx: Transaction) -> None:
        assert tx.child_indexes("p", "STARTING") == ((3, 6),)
        assert tx.child_indexes("p", "RUNNABLE") == ((0, 3), (6, 12), (13, 20))
        assert [c.index for c in tx.open_children("p", 10, 3)] == [11, 13, 14]
        assert tx.open_children("q", -1, 3) == []

    await store.write(look)
    everyone = store.read_now(lambda r: r.children("p", limit=100))
    assert [c.index for c in everyone] == list(range(20))
    assert [c.index for c in store.read_now(lambda r: r.children("p", after=7, limit=2))] == [8, 9]
    live = store.read_now(lambda r: r.children("p", status="STARTING", after=3, limit=9))
    assert [c.job_id for c in live] == ["p:4", "p:5"]
    assert {j.job_id for j in store.read_now(lambda r: r.live_attempts())} == {"p:3", "p:4", "p:5"}
    still_open = store.read_now(lambda r: [j.job_id for j in r.open_jobs()])
    assert still_open == ["p", *(f"p:{i}" for i in range(20) if i != 12)]
    assert counts(store) == {
        ("q", "array", "PENDING"): 1,
        ("q", "child", "RUNNABLE"): 16,
        ("q", "child", "STARTING"): 3,
        ("q", "child", "SUCCEEDED"): 1,
    }


async def listing_pages_are_complete_and_newest_first(store: Store) -> None:
    # Many jobs of the same millisecond: the order must not depend on the clock.
    rows = [
        v.job(
            f"j{n}",
            seq=n,
            queue=("q", "r")[n % 2],
            created_at_ms=1_000 + n // 10,
            status=("RUNNABLE", "PENDING", "SUBMITTED")[n % 3],
        )
        for n in range(1, 80)
    ]
    for row in rows:
        await store.write(v.recording(v.submitted(row)))
    await store.write(v.recording(v.submitted(v.array("p", 3, seq=80)), v.placed("j3")))
    await store.write(v.recording(ev.ChildSpawned(job=v.child("p", 0))))
    newest = sorted(
        (*rows, v.array("p", 3, seq=80)), key=lambda j: (j.created_at_ms, j.seq), reverse=True
    )
    statuses: tuple[Status, ...]
    for queue in ("q", "r", None, "nowhere"):
        for statuses in ((), ("PENDING",), ("RUNNABLE", "SUBMITTED", "RUNNABLE")):
            asked = JobQuery(queue=queue, statuses=statuses)
            want = [
                j.job_id
                for j in newest
                if queue in (None, j.queue)
                and (not statuses or ("STARTING" if j.job_id == "j3" else j.status) in statuses)
            ]
            for limit in (1, 7, 100):
                assert [j.job_id for j in pages(store, asked, limit)] == want


async def listing_filters(store: Store) -> None:
    await store.write(v.recording(v.submitted(v.job("a", name="Align_1", created_at_ms=10))))
    await store.write(v.recording(v.submitted(v.job("b", seq=2, name="align-2", created_at_ms=20))))
    await store.write(
        v.recording(
            v.submitted(
                v.job("c", seq=3, name="call", definition="Other:12", created_at_ms=30),
                v.spec(share="s1"),
            )
        )
    )

    def found(**asked: object) -> list[str]:
        query = msgspec.structs.replace(JobQuery(queue="q"), **asked)
        return [job.job_id for job in store.read_now(lambda r: r.list_jobs(query, limit=9)).jobs]

    assert found(name=Match(text="ALIGN", prefix=True)) == ["b", "a"]
    assert found(name=Match(text="aLIGN_1")) == ["a"]
    assert found(name=Match(text="align")) == []
    assert found(name=Match(text="", prefix=True)) == ["c", "b", "a"]
    # `_` and `%` are letters here, not patterns.
    assert found(name=Match(text="align%", prefix=True)) == []
    assert found(name=Match(text="align_", prefix=True)) == ["a"]
    assert found(definition=Match(text="other")) == []
    assert found(definition=Match(text="Other")) == ["c"]
    assert found(definition=Match(text="Ot", prefix=True)) == ["c"]
    assert found(definition=Match(text="Other"), revision=1) == []
    assert found(definition=Match(text="Other"), revision=12) == ["c"]
    assert found(created_before_ms=20) == ["a"]
    assert found(created_after_ms=20) == ["c"]
    assert found(created_after_ms=10, created_before_ms=30) == ["b"]
    assert found(share=Match(text="s1")) == ["c"]
    assert found(share=Match(text="s", prefix=True), statuses=("RUNNABLE",)) == ["c"]
    assert found(share=Match(text="s", prefix=True), statuses=("FAILED",)) == []
    cursor = Cursor(created_at_ms=30, seq=3)
    page = store.read_now(
        lambda r: r.list_jobs(JobQuery(name=Match(text="a", prefix=True)), cursor=cursor, limit=1)
    )
    assert [job.job_id for job in page.jobs] == ["b"]
    assert page.next == Cursor(created_at_ms=20, seq=2)


async def catalogue_is_kept_and_undone(store: Store) -> None:
    ce, q1, q2 = v.environment("ce"), v.queue("q1", "ce"), v.queue("q2", "other", "ce")
    saved = (
        ev.ComputeEnvironmentSaved(compute_environment=ce),
        ev.QueueSaved(queue=q2),
        ev.QueueSaved(queue=q1),
        ev.DefinitionSaved(definition=v.definition("d", 1)),
        ev.DefinitionSaved(definition=v.definition("d", 2)),
    )
    await store.write(v.recording(*saved))

    def check(tx: Transaction) -> None:
        assert tx.queue_names() == ["q1", "q2"]
        assert tx.queue("q1") == q1
        assert tx.compute_environment_names() == ["ce"]
        assert tx.compute_environment("ce") == ce
        assert tx.queues_of("ce") == ["q1", "q2"]
        assert tx.queues_of("other") == ["q2"]
        assert tx.latest_revision("d") == 2
        assert tx.latest_active("d") == v.definition("d", 2)
        assert tx.latest_active("e") is None
        assert tx.latest_revision("e") == 0
        assert tx.definition("d", 3) is None

    def changes_all_and_fails(tx: Transaction) -> None:
        v.recording(
            ev.QueueRemoved(name="q1"),
            ev.QueueSaved(queue=v.queue("q3", "ce")),
            ev.ComputeEnvironmentRemoved(name="ce"),
            ev.DefinitionSaved(definition=v.definition("d", 2, "INACTIVE")),
            ev.DefinitionSaved(definition=v.definition("e", 1)),
        )(tx)
        assert tx.queue_names() == ["q2", "q3"]
        assert tx.latest_active("d") == v.definition("d", 1)
        raise NotFound("undo")

    await store.write(check)
    with pytest.raises(NotFound):
        await store.write(changes_all_and_fails)
    await store.write(check)
    await store.write(v.recording(ev.QueueRemoved(name="q1")))
    await store.write(v.recording(ev.DefinitionSaved(definition=v.definition("d", 2, "INACTIVE"))))
    assert store.read_now(lambda r: r.queues()) == [q2]
    assert store.read_now(lambda r: r.compute_environments()) == [ce]
    await store.write(v.recording(ev.ComputeEnvironmentRemoved(name="ce")))
    assert store.read_now(lambda r: r.compute_environments()) == []
    assert store.read_now(lambda r: r.definition("d:2")) == v.definition("d", 2, "INACTIVE")
    assert store.read_now(lambda r: r.definition("d:9")) is None
    assert store.read_now(lambda r: r.definition("d")) is None
    assert await store.write(lambda tx: tx.latest_active("d")) == v.definition("d", 1)
    assert await store.write(lambda tx: tx.latest_revision("d")) == 2


async def definitions_come_in_pages(store: Store) -> None:
    every = [
        v.definition(name, revision, "INACTIVE" if revision == 3 else "ACTIVE")
        for name in ("a", "b", "c")
        for revision in (11, 10, 3, 2, 1)
    ]
    await store.write(v.recording(*(ev.DefinitionSaved(definition=d) for d in reversed(every))))

    def all_pages(name: str | None, status: Literal["ACTIVE", "INACTIVE"] | None) -> list[str]:
        seen: list[str] = []

        def next_page(reader: Reader) -> list[str]:
            after = seen[-1] if seen else None
            found = reader.definitions(name=name, status=status, after=after, limit=2)
            return [d.key for d in found]

        while page := store.read_now(next_page):
            seen += page
        return seen

    assert all_pages(None, None) == [d.key for d in every]
    assert all_pages("b", None) == ["b:11", "b:10", "b:3", "b:2", "b:1"]
    assert all_pages(None, "INACTIVE") == ["a:3", "b:3", "c:3"]
    assert all_pages("c", "ACTIVE") == ["c:11", "c:10", "c:2", "c:1"]


async def purge_forgets_what_ended_long_ago(store: Store) -> None:
    await store.write(v.recording(*v.whole_life(v.job("old"), at_ms=5_000)))
    await store.write(v.recording(v.submitted(v.job("downstream", seq=2), v.spec("old"))))
    await store.write(v.recording(*v.whole_life(v.job("new", seq=3), at_ms=9_000)))
    await store.write(v.recording(v.submitted(v.array("p", 6, seq=4), v.spec("downstream"))))
    for index in range(6):
        await store.write(
            v.recording(
                ev.ChildSpawned(job=v.child("p", index)),
                v.placed(f"p:{index}"),
                v.started(f"p:{index}"),
                v.ended(f"p:{index}", at_ms=5_500),
            )
        )
    await store.write(
        v.recording(ev.JobEnded(job_id="p", status="SUCCEEDED", status_reason=None, at_ms=6_000))
    )

    def purge_and_fail(tx: Transaction) -> None:
        assert tx.purge(before_ms=8_000, limit=100) == 8
        assert tx.job("old") is None
        raise NotFound("undo")

    with pytest.raises(NotFound):
        await store.write(purge_and_fail)
    assert await store.write(lambda tx: tx.job("old")) is not None
    last_event = store.read_now(lambda r: r.events_after(0, limit=1_000))[-1].seq
    gone: list[int] = []
    while n := await store.write(lambda tx: tx.purge(before_ms=8_000, limit=3)):
        gone.append(n)
        left = store.read_now(lambda r: r.children("p", limit=10))
        assert not left or store.read_now(lambda r: r.job("p")) is not None
    assert sum(gone) == 8
    assert all(n <= 4 for n in gone)
    names = ["old", "downstream", "new", "p", *(f"p:{i}" for i in range(6))]
    assert sorted(store.read_now(lambda r: r.jobs(names))) == ["downstream", "new"]
    assert sorted(store.read_now(lambda r: r.specs(names))) == ["downstream", "new"]
    assert store.read_now(lambda r: r.events_of("job", "p:2")) == []
    assert await store.write(lambda tx: tx.dependents("old", "", 9)) == []
    assert await store.write(lambda tx: tx.dependents("downstream", "", 9)) == []
    assert counts(store) == {("q", "single", "RUNNABLE"): 1, ("q", "single", "SUCCEEDED"): 1}
    assert await store.write(lambda tx: tx.next_seq()) == 5
    await store.write(v.recording(v.placed("downstream")))
    assert store.read_now(lambda r: r.events_after(last_event, limit=9))[0].seq == last_event + 1


async def meta_and_access_keys(store: Store) -> None:
    def write(tx: Transaction) -> None:
        assert tx.meta("boot") is None
        tx.put_meta("boot", "1")
        assert tx.meta("boot") == "1"

    await store.write(write)
    assert await store.write(lambda tx: tx.meta("boot")) == "1"
    await store.write(lambda tx: tx.put_meta("boot", "2"))
    assert store.read_now(lambda r: r.meta("boot")) == "2"
    assert store.read_now(lambda r: r.meta("account")) == store.read_now(lambda r: r.realm.account)
    key = AccessKey(access_key_id="AK", secret_access_key="s", arn="arn", created_at_ms=1)
    await store.write(lambda tx: tx.put_access_key(key))
    newer = msgspec.structs.replace(key, secret_access_key="t")
    await store.write(lambda tx: tx.put_access_key(newer))
    assert store.read_now(lambda r: r.access_key("AK")) == newer
    assert store.read_now(lambda r: r.access_key("ak")) is None
    assert store.read_now(lambda r: r.access_keys()) == [newer]


async def a_snapshot_does_not_move_while_it_is_read(store: Store) -> None:
    await store.write(v.recording(v.submitted(v.job("a"))))
    looked, written = threading.Event(), threading.Event()

    def look_twice(reader: Reader) -> tuple[Job | None, Job | None]:
        first = reader.job("a")
        looked.set()
        assert written.wait(DEADLINE_S)
        return first, reader.job("a")

    reading = asyncio.ensure_future(store.read(look_twice))
    assert await asyncio.to_thread(looked.wait, DEADLINE_S)
    await asyncio.wait_for(store.write(v.recording(v.placed("a"))), DEADLINE_S)
    written.set()
    first, second = await reading
    assert first == second
    assert first is not None
    assert first.status == "RUNNABLE"
    after = await store.read(lambda r: r.job("a"))
    assert after is not None
    assert after.status == "STARTING"


async def readers_never_see_half_a_write(store: Store) -> None:
    """Rows, counts and events agree in every snapshot taken while many writes go on."""
    done = asyncio.Event()

    def consistent(reader: Reader) -> int:
        rows = list(reader.open_jobs())
        listed = sum(c.count for c in reader.job_counts())
        recorded = len(reader.events_after(0, limit=100_000))
        assert len(rows) == listed
        assert recorded == 2 * listed
        return listed

    async def watch() -> int:
        looks = 0
        while not done.is_set():
            await store.read(consistent)
            looks += 1
        return looks

    async with asyncio.TaskGroup() as group:
        watchers = [group.create_task(watch()) for _ in range(3)]
        for start in range(1, 400, 20):
            await asyncio.gather(
                *(
                    store.write(v.recording(v.submitted(v.job(f"j{n}", seq=n)), v.placed(f"j{n}")))
                    for n in range(start, start + 20)
                )
            )
        done.set()
    assert all(w.result() > 0 for w in watchers)
    assert store.read_now(consistent) == 400


async def a_reader_cannot_write_and_a_fault_in_it_is_harmless(store: Store) -> None:
    def fails(_reader: Reader) -> None:
        raise NotFound("nothing here")

    with pytest.raises(NotFound):
        await store.read(fails)
    with pytest.raises(NotFound):
        store.read_now(fails)
    assert store.read_now(lambda r: r.queues()) == []


async def rows_do_not_vanish_by_a_decision(store: Store) -> None:
    await store.write(v.recording(v.submitted(v.job("a"))))
    vanish = Decision(events=(v.placed("a"),), rows={("job", "a"): None})
    with pytest.raises(InvariantBroken, match="vanish"):
        await store.write(lambda tx: tx.record(vanish))
    with pytest.raises(InvariantBroken, match="no spec"):
        await store.write(lambda tx: tx.spec("nobody"))
    assert len(store.read_now(lambda r: r.events_of("job", "a"))) == 1


async def a_value_that_cannot_be_encoded_fails_alone(store: Store) -> None:
    good = v.recording(v.submitted(v.job("a")))
    bad = v.recording(v.submitted(v.job("b", seq=2, name="\ud800")))
    async with Held(store):
        first = asyncio.ensure_future(store.write(good))
        second = asyncio.ensure_future(store.write(bad))
    await first
    with pytest.raises(UnicodeEncodeError):
        await second
    assert sorted(store.read_now(lambda r: r.jobs(["a", "b"]))) == ["a"]


async def closing_finishes_what_was_handed_in(store: Store) -> None:
    async with Held(store):
        pending = [asyncio.ensure_future(store.write(lambda tx: tx.next_seq())) for _ in range(5)]
    closing = asyncio.ensure_future(store.close())
    assert await asyncio.gather(*pending) == [1] * 5
    await closing
    await store.close()
    with pytest.raises(StoreUnavailable, match="closed"):
        await store.write(lambda tx: tx.next_seq())
    with pytest.raises(StoreUnavailable, match="closed"):
        await store.read(lambda r: r.next_seq())
    with pytest.raises(StoreUnavailable, match="closed"):
        store.read_now(lambda r: r.next_seq())


def counts(store: Store) -> dict[tuple[str, str, str], int]:
    return {(c.queue, c.kind, c.status): c.count for c in store.read_now(lambda r: r.job_counts())}


def pages(store: Store, query: JobQuery, limit: int) -> list[Job]:
    out: list[Job] = []
    cursor: Cursor | None = None

    def next_page(reader: Reader) -> JobPage:
        return reader.list_jobs(query, cursor=cursor, limit=limit)

    while True:
        page = store.read_now(next_page)
        assert len(page.jobs) <= limit
        out += page.jobs
        cursor = page.next
        if cursor is None:
            return out


def check_rows_are_the_fold_of_their_events(store: Store) -> None:
    """The law of the whole design; counts and lists must agree with the rows too."""
    rows: dict[ev.Key, ev.Row | None] = {}
    for recorded in store.read_now(lambda r: r.events_after(0, limit=1_000_000)):
        key = recorded.event.key
        rows[key] = evolve(rows.get(key), recorded.event)
    jobs = {name: row for (kind, name), row in rows.items() if kind == "job"}
    assert store.read_now(lambda r: r.jobs(jobs)) == jobs
    tally: dict[tuple[str, str, str], int] = {}
    for job in jobs.values():
        assert isinstance(job, Job)
        key_of_count = (job.queue, job.kind, job.status)
        tally[key_of_count] = tally.get(key_of_count, 0) + 1
    assert counts(store) == tally
    for status in STATUSES:
        listed = {j.job_id for j in pages(store, JobQuery(statuses=(status,)), 3)}
        assert listed == {
            name
            for name, job in jobs.items()
            if isinstance(job, Job) and job.kind != "child" and job.status == status
        }


EXERCISES: tuple[Exercise, ...] = (
    a_write_is_read_by_everyone_once_it_returned,
    an_exception_undoes_its_own_callable_alone,
    each_query_sees_what_the_group_and_the_callable_wrote_before,
    a_group_keeps_the_order_of_its_callables,
    a_caller_who_left_disturbs_nobody,
    stop_iteration_reaches_its_caller_as_an_error,
    effects_wait_in_the_outbox_until_acknowledged,
    dependents_come_in_pages,
    a_dependent_under_several_types_is_never_parted,
    children_are_found_by_index_and_state,
    listing_pages_are_complete_and_newest_first,
    listing_filters,
    catalogue_is_kept_and_undone,
    definitions_come_in_pages,
    purge_forgets_what_ended_long_ago,
    meta_and_access_keys,
    a_snapshot_does_not_move_while_it_is_read,
    readers_never_see_half_a_write,
    a_reader_cannot_write_and_a_fault_in_it_is_harmless,
    rows_do_not_vanish_by_a_decision,
    a_value_that_cannot_be_encoded_fails_alone,
    closing_finishes_what_was_handed_in,
)

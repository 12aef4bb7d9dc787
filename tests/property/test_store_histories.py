"""Random histories, in random groups, some of them failing: rows stay the fold of their events."""

import asyncio
from collections.abc import Callable

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batchyard.kernel import events as ev
from batchyard.kernel.decision import Draft
from batchyard.kernel.effects import StartAttempt
from batchyard.kernel.faults import NotFound
from batchyard.kernel.job import Job
from batchyard.kernel.states import TERMINAL
from batchyard.store.port import Transaction
from batchyard.store.sqlite import open_memory_store
from conformance.ports import store_exercise
from conformance.ports import store_values as v

NAMES = [f"j{n}" for n in range(6)]
PARENTS = ["p0", "p1"]
Step = tuple[str, str, int]

STEPS = st.tuples(
    st.sampled_from(["submit", "array", "spawn", "advance", "retry", "explain", "query", "watch"]),
    st.sampled_from(NAMES),
    st.integers(0, 4),
)
CALLABLES = st.tuples(st.lists(STEPS, max_size=6), st.booleans())
GROUPS = st.lists(st.lists(CALLABLES, min_size=1, max_size=5), min_size=1, max_size=6)


def advance(job: Job, *, retry: bool) -> ev.Event | None:
    """The next fact in the life of a job, if it has one."""
    match job.status:
        case "RUNNABLE":
            return ev.AttemptPlaced(job_id=job.job_id, attempt=v.attempt(job.next_attempt))
        case "STARTING":
            return v.started(job.job_id)
        case "RUNNING":
            return v.ended(job.job_id, "RUNNABLE" if retry else "FAILED")
        case _:
            return None


def apply(draft: Draft, tx: Transaction, step: Step) -> None:
    what, name, number = step
    parent = PARENTS[number % 2]
    job = draft.job(name)
    match what:
        case "submit" if job is None:
            draft.emit(v.submitted(v.job(name, seq=tx.next_seq()), v.spec(*NAMES[:number])))
        case "array" if draft.job(parent) is None:
            draft.emit(v.submitted(v.array(parent, 5, seq=tx.next_seq())))
        case "spawn":
            child = v.child(parent, number)
            if draft.job(parent) is not None and draft.job(child.job_id) is None:
                draft.emit(ev.ChildSpawned(job=child))
                draft.emit(
                    ev.ChildMoved(
                        job_id=parent, index=number, source=None, target="RUNNABLE", at_ms=1
                    )
                )
        case "advance" | "retry":
            for job_id in (name, f"{parent}:{number}"):
                row = draft.job(job_id)
                event = None if row is None else advance(row, retry=what == "retry")
                if event is not None:
                    draft.emit(event)
                    draft.effect(StartAttempt(job_id=job_id, attempt=number))
        case "explain" if job is not None:
            draft.emit(ev.Explained(job_id=name, status_reason=f"because {number}"))
        case "watch" if job is not None:
            draft.emit(ev.Watched(job_id=name))
        case _:
            pass


def callable_of(steps: list[Step], fails: bool) -> Callable[[Transaction], None]:
    def write(tx: Transaction) -> None:
        for step in steps:
            if step[0] == "query":
                check_view(tx)
            draft = Draft(tx, 0)
            apply(draft, tx, step)
            tx.record(draft.done())
        if fails:
            raise NotFound("the last word of this callable")

    return write


def check_view(tx: Transaction) -> None:
    """Queries of the view agree with its rows, whatever is flushed and whatever is not."""
    rows = [row for name in (*NAMES, *PARENTS) if (row := tx.job(name)) is not None]
    still_open = sorted(
        (row for row in rows if row.status not in TERMINAL), key=lambda row: row.seq
    )
    assert tx.open_jobs("q", 0, 100) == still_open
    for parent in PARENTS:
        children = [row for n in range(5) if (row := tx.job(f"{parent}:{n}")) is not None]
        assert tx.open_children(parent, -1, 100) == [
            row for row in children if row.status not in TERMINAL
        ]
        for row in children:
            assert row.index is not None
            indexes = tx.child_indexes(parent, row.status)
            assert any(first <= row.index < past for first, past in indexes)
    upstream = NAMES[0]
    downstream = sorted(
        row.job_id
        for row in rows
        if row.kind == "single"
        and any(edge.job_id == upstream for edge in tx.spec(row.job_id).depends_on)
    )
    assert [name for name, _ in tx.dependents(upstream, "", 100)] == downstream


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(GROUPS, st.sampled_from([0, 2, 1_000]))
def test_rows_are_the_fold_of_their_events(
    groups: list[list[tuple[list[Step], bool]]], jobs_cached: int
) -> None:
    async def go() -> None:
        store = open_memory_store(jobs_cached=jobs_cached)
        try:
            for group in groups:
                results = await store_exercise.grouped(
                    store, *(callable_of(steps, fails) for steps, fails in group)
                )
                for (_, fails), result in zip(group, results, strict=True):
                    assert isinstance(result, NotFound) if fails else result is None, result
                store_exercise.check_rows_are_the_fold_of_their_events(store)
                await store.write(check_view)
        finally:
            await store.close()

    asyncio.run(go())

"""The laws that the rows of jobs obey between any two transactions, as a check that tells.

Pure and for reading only: tests call it after every step; a yard may at start. `decide` and
`evolve` never call it.
"""

from collections.abc import Iterator, Mapping

from batchyard.kernel import ranges as rg
from batchyard.kernel.ids import split_child
from batchyard.kernel.job import ArrayState, Job, JobSpec
from batchyard.kernel.states import LIVE, TERMINAL, Status


def check(
    jobs: Mapping[str, Job], specs: Mapping[str, JobSpec], *, at_rest: bool = False
) -> list[str]:
    """Every breach found, each as a sentence that begins with the job's id.

    Args:
        jobs: All rows of jobs by id.
        specs: Specs by id of single jobs and array parents.
        at_rest: No follow-up is outstanding, so that everybody has heard of every end.
    """
    children: dict[str, list[Job]] = {}
    for job in jobs.values():
        if job.kind == "child":
            children.setdefault(job.root_id, []).append(job)
    found: list[str] = []
    for job in jobs.values():
        spec = specs.get(job.root_id)
        if spec is None:
            found.append(f"{job.job_id}: has no spec")
            continue
        breaches = [*_attempts(job, spec), *_ending(job), *_waiting(job)]
        if job.kind == "child":
            breaches += _child(job, jobs.get(job.root_id))
        elif job.array is not None:
            breaches += _array(job, job.array, children.get(job.job_id, []))
        if at_rest:
            breaches += _at_rest(job, jobs)
        found.extend(f"{job.job_id}: {breach}" for breach in breaches)
    return found


def _attempts(job: Job, spec: JobSpec) -> Iterator[str]:
    if (job.current is not None) != (job.status in LIVE):
        yield f"is {job.status} and its live attempt is {job.current}"
    every = job.attempts if job.current is None else (*job.attempts, job.current)
    if [a.number for a in every] != list(range(1, len(every) + 1)):
        yield f"numbers its attempts {[a.number for a in every]}"
    if len(every) > spec.retry.attempts:
        yield f"has {len(every)} attempts of at most {spec.retry.attempts}"
    if any(a.stopped_at_ms is None for a in job.attempts):
        yield "has a finished attempt that did not stop"
    if job.array is not None and every:
        yield "is an array with attempts of its own"


def _ending(job: Job) -> Iterator[str]:
    if (job.stopped_at_ms is not None) != (job.status in TERMINAL):
        yield f"is {job.status} and stopped at {job.stopped_at_ms}"
    if job.stop is None:
        if job.cancelled or job.terminated:
            yield "is marked cancelled or terminated without a stop"
    elif job.array is None and job.status in ("RUNNABLE", "SUCCEEDED"):
        yield f"is {job.status} after a {job.stop.kind}"


def _waiting(job: Job) -> Iterator[str]:
    # A transaction leaves SUBMITTED behind: an array or a job without a reason to wait goes on.
    if job.status == "SUBMITTED":
        yield "rests in SUBMITTED"
    if job.array is None and job.status == "PENDING" and not job.unmet:
        yield "is PENDING and waits for nothing"
    if job.unmet and job.status not in ("PENDING", *TERMINAL):
        yield f"is {job.status} before {', '.join(job.unmet)}"


def _child(job: Job, parent: Job | None) -> Iterator[str]:
    if parent is None or parent.array is None:
        yield "has no parent"
    elif job.index is None or not 0 <= job.index < parent.array.size:
        yield f"has index {job.index} of {parent.array.size}"
    if job.status == "PENDING":
        yield "has a row though it never left its initial state"


def _array(job: Job, array: ArrayState, children: list[Job]) -> Iterator[str]:
    rows = rg.of(child.index for child in children if child.index is not None)
    parts = [array.held, array.ready, *(d.ranges for d in array.dropped), rows]
    whole = rg.EMPTY
    for part in parts:
        if rg.of(rg.indexes(part)) != part:
            yield f"keeps ranges that are not in normal form: {part}"
        whole = rg.union(whole, part)
    if whole != rg.span(0, array.size) or sum(map(rg.count, parts)) != array.size:
        yield f"has children that are not in exactly one place: {parts}"
    counted: dict[Status, int] = {}
    for child in children:
        counted[child.status] = counted.get(child.status, 0) + 1
    if counted != {status: n for status, n in array.rows.items() if n}:
        yield f"counts its rows as {array.rows}, but they are {counted}"
    yield from _array_status(job, array)
    yield from _gates(job, array, children)


def _array_status(job: Job, array: ArrayState) -> Iterator[str]:
    # AWS: never RUNNABLE, STARTING or RUNNING; ended once all children are terminal.
    tally = array.tally()
    if tally["SUCCEEDED"] + tally["FAILED"] < array.size:
        due: Status = "PENDING"
    else:
        due = "FAILED" if tally["FAILED"] else "SUCCEEDED"
    if job.status != due:
        yield f"is {job.status} and should be {due}, as its children are {tally}"


def _gates(job: Job, array: ArrayState, children: list[Job]) -> Iterator[str]:
    passed = array.held if not job.unmet else rg.EMPTY
    for gate in array.gates:
        passed = rg.intersection(passed, gate.passed)
        opened = rg.difference(array.ready, gate.passed)
        if opened:
            yield f"has opened children {opened} before the gate of '{gate.upstream}'"
    if passed:
        yield f"holds children {passed} that nothing holds back"
    if job.unmet and array.ready:
        yield f"has opened children {array.ready} before {', '.join(job.unmet)}"
    if any(gate.upstream == "" for gate in array.gates):
        done = rg.of(c.index for c in children if c.index is not None and c.status == "SUCCEEDED")
        after = tuple((a + 1, b + 1) for a, b in done)
        early = rg.difference(array.ready, rg.union(rg.span(0, 1), after))
        if early:
            yield f"has opened children {early} before the one in front of them SUCCEEDED"


def _at_rest(job: Job, jobs: Mapping[str, Job]) -> Iterator[str]:
    """Whoever waits does so for somebody who is still open."""
    if job.status in TERMINAL:
        return
    for upstream in job.unmet:
        if _ended(upstream, jobs):
            yield f"waits for {upstream}, which has ended"
    if job.array is not None:
        for gate in job.array.gates:
            if gate.upstream:
                yield from _n_to_n(job.array.held, gate.upstream, jobs)


def _ended(job_id: str, jobs: Mapping[str, Job]) -> bool:
    row = jobs.get(job_id)
    if row is not None:
        return row.status in TERMINAL
    root, index = split_child(job_id)
    parent = jobs.get(root)
    if index is None or parent is None or parent.array is None:
        # Nobody will ever tell of its end.
        return True
    return not rg.contains(rg.union(parent.array.held, parent.array.ready), index)


def _n_to_n(held: rg.Ranges, upstream: str, jobs: Mapping[str, Job]) -> Iterator[str]:
    failed = rg.of(
        index
        for index in rg.indexes(held)
        if (row := jobs.get(f"{upstream}:{index}")) is not None and row.status == "FAILED"
    )
    partner = jobs.get(upstream)
    array = None if partner is None else partner.array
    for dropped in () if array is None else array.dropped:
        failed = rg.union(failed, rg.intersection(held, dropped.ranges))
    if failed:
        yield f"holds children {failed} whose partners of {upstream} FAILED"

"""`evolve(row, event) -> row`: the only place where new state is made.

Pure folding: a row of the store always equals the fold of its own events. Events were judged by
`decide`, so a move that is not in `states.MOVES` is a defect of the kernel, not of a caller.
"""

from typing import assert_never

from msgspec.structs import replace

from batchyard.kernel import events as ev
from batchyard.kernel import ranges as rg
from batchyard.kernel.faults import InvariantBroken
from batchyard.kernel.job import ArrayState, Dropped, Job, Stop
from batchyard.kernel.states import MOVES, Status


def evolve(row: ev.Row | None, event: ev.Event) -> ev.Row | None:
    """Fold one event into its row; None is a row that does not exist (yet, or any more).

    Raises:
        InvariantBroken: the event does not follow from the row.
    """
    match event:
        case ev.JobSubmitted() | ev.ChildSpawned():
            if row is not None:
                raise InvariantBroken(f"{event.key[1]} exists already")
            return event.job
        case ev.QueueSaved():
            return event.queue
        case ev.ComputeEnvironmentSaved():
            return event.compute_environment
        case ev.DefinitionSaved():
            return event.definition
        case ev.QueueRemoved() | ev.ComputeEnvironmentRemoved():
            return None
        case _:
            if not isinstance(row, Job):
                raise InvariantBroken(
                    f"{type(event).__name__} for {event.key[1]}, which has no row"
                )
            return evolve_job(row, event)


JobChange = (
    ev.Watched
    | ev.DependencyMet
    | ev.JobRunnable
    | ev.GatePassed
    | ev.ChildrenReady
    | ev.ChildrenDropped
    | ev.ChildMoved
    | ev.AttemptPlaced
    | ev.AttemptStarted
    | ev.AttemptEnded
    | ev.StopRequested
    | ev.JobEnded
    | ev.Explained
    | ev.JobTagged
)


def evolve_job(job: Job, event: JobChange) -> Job:
    """Fold an event into an existing job."""
    match event:
        case ev.Watched():
            return replace(job, watched=True)
        case ev.DependencyMet(upstream=upstream):
            return replace(job, unmet=tuple(u for u in job.unmet if u != upstream))
        case ev.JobRunnable():
            return _move(job, "RUNNABLE")
        case ev.AttemptPlaced(attempt=attempt):
            return replace(_move(job, "STARTING"), current=attempt, status_reason=None)
        case ev.AttemptStarted():
            return _started(job, event)
        case ev.AttemptEnded():
            return _ended(job, event)
        case ev.StopRequested(kind=kind, reason=reason, at_ms=at_ms):
            return replace(
                job,
                stop=job.stop or Stop(kind=kind, reason=reason, at_ms=at_ms),
                cancelled=job.cancelled or kind == "cancel",
                terminated=job.terminated or kind == "terminate",
            )
        case ev.JobEnded(status=status, status_reason=reason, at_ms=at_ms):
            return replace(_move(job, status), status_reason=reason, stopped_at_ms=at_ms)
        case ev.Explained(status_reason=reason):
            return replace(job, status_reason=reason)
        case ev.JobTagged(tags=tags):
            return replace(job, tags=tags)
        case ev.GatePassed() | ev.ChildrenReady() | ev.ChildrenDropped() | ev.ChildMoved():
            if job.array is None:
                raise InvariantBroken(f"{type(event).__name__} for {job.job_id}, not an array")
            return _array(job, job.array, event)
        case _:
            assert_never(event)


def _move(job: Job, target: Status) -> Job:
    if (job.status, target) not in MOVES:
        raise InvariantBroken(f"job {job.job_id} cannot move from {job.status} to {target}")
    return replace(job, status=target)


def _started(job: Job, event: ev.AttemptStarted) -> Job:
    if job.current is None:
        raise InvariantBroken(f"job {job.job_id} started without a live attempt")
    return replace(
        _move(job, "RUNNING"),
        started_at_ms=event.at_ms,
        current=replace(job.current, started_at_ms=event.at_ms, notes=event.notes),
    )


def _ended(job: Job, event: ev.AttemptEnded) -> Job:
    if job.current is None:
        raise InvariantBroken(f"job {job.job_id} ended an attempt it does not have")
    attempt = replace(
        job.current,
        stopped_at_ms=event.at_ms,
        exit_code=event.exit_code,
        reason=event.reason,
        status_reason=event.status_reason,
        notes=job.current.notes + event.notes,
    )
    # AWS: stoppedAt belongs to a terminal job only; a retrying job must never show one.
    retry = event.next == "RUNNABLE"
    return replace(
        _move(job, event.next),
        current=None,
        attempts=(*job.attempts, attempt),
        status_reason=event.job_reason,
        stopped_at_ms=None if retry else event.at_ms,
    )


def _array(
    job: Job,
    array: ArrayState,
    event: ev.GatePassed | ev.ChildrenReady | ev.ChildrenDropped | ev.ChildMoved,
) -> Job:
    match event:
        case ev.GatePassed(upstream=upstream, ranges=ranges):
            gates = tuple(
                replace(g, passed=rg.union(g.passed, ranges)) if g.upstream == upstream else g
                for g in array.gates
            )
            return replace(job, array=replace(array, gates=gates))
        case ev.ChildrenReady(ranges=ranges, at_ms=at_ms):
            opened = replace(
                array,
                held=rg.difference(array.held, ranges),
                ready=rg.union(array.ready, ranges),
                updated_at_ms=at_ms,
            )
            # AWS: an array parent becomes PENDING when a child becomes RUNNABLE, and stays there.
            moved = _move(job, "PENDING") if job.status == "SUBMITTED" else job
            return replace(moved, array=opened)
        case ev.ChildrenDropped(ranges=ranges, reason=reason, at_ms=at_ms, stop=stop):
            dropped = Dropped(ranges=ranges, reason=reason, at_ms=at_ms, stop=stop)
            return replace(
                job,
                array=replace(
                    array,
                    held=rg.difference(array.held, ranges),
                    ready=rg.difference(array.ready, ranges),
                    dropped=(*array.dropped, dropped),
                    updated_at_ms=at_ms,
                ),
            )
        case ev.ChildMoved(index=index, source=source, target=target, at_ms=at_ms):
            rows = dict(array.rows)
            held, ready = array.held, array.ready
            if source is None:
                one = rg.span(index, index + 1)
                held, ready = rg.difference(held, one), rg.difference(ready, one)
            else:
                rows[source] = rows.get(source, 0) - 1
            rows[target] = rows.get(target, 0) + 1
            return replace(
                job,
                array=replace(array, held=held, ready=ready, rows=rows, updated_at_ms=at_ms),
            )
        case _:
            assert_never(event)

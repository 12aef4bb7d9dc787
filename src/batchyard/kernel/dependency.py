"""Dependencies: what a new job waits for, and what happens to those who wait.

AWS: a plain dependency waits until the other job has SUCCEEDED (an array: all of it); its failure
fails the waiting job with `Dependent Job failed`, and so on down the line.
"""

from itertools import islice

import msgspec

from batchyard.kernel import events as ev
from batchyard.kernel import ranges as rg
from batchyard.kernel.children import synthesise_child
from batchyard.kernel.commands import ReleaseChildren, ReleaseDependents
from batchyard.kernel.decision import Draft
from batchyard.kernel.effects import FollowUp
from batchyard.kernel.ending import (
    DEPENDENT_FAILED,
    drop,
    end,
    open_children,
)
from batchyard.kernel.faults import InvalidRequest
from batchyard.kernel.ids import child_id, split_child
from batchyard.kernel.job import Dependency, Gate, Job, Stop, StopKind
from batchyard.kernel.ranges import Ranges
from batchyard.kernel.states import TERMINAL, Status

PORTION = 200
"""How many dependents or children one transaction touches; the rest follows in the next."""


class Waits(msgspec.Struct, frozen=True, kw_only=True):
    """What the dependsOn of a new job comes to at this moment."""

    unmet: tuple[str, ...] = ()
    failed: bool = False
    gates: tuple[Gate, ...] = ()
    failed_children: Ranges = rg.EMPTY


def status_of(draft: Draft, job_id: str) -> Status | None:
    """State of any job, also of a child that has no row; None for an unknown id."""
    job = draft.job(job_id)
    if job is not None:
        return job.status
    root, index = split_child(job_id)
    parent = draft.job(root)
    if index is None or parent is None or parent.array is None or index >= parent.array.size:
        return None
    return synthesise_child(parent, index).status


def waits_for(draft: Draft, depends_on: tuple[Dependency, ...], *, size: int | None) -> Waits:
    """Judge the dependencies of a new job of `size` children (None: not an array).

    Raises:
        InvalidRequest: an id is unknown, or an N_TO_N partner does not fit.
    """
    unmet: list[str] = []
    gates: list[Gate] = []
    failed = False
    failed_children = rg.EMPTY
    for dependency in depends_on:
        if dependency.type == "SEQUENTIAL":
            gates.append(Gate(upstream="", passed=rg.span(0, 1)))
            continue
        status = status_of(draft, dependency.job_id)
        if status is None:
            # CHOSEN: AWS publishes no text; refusing beats a job that waits for ever (ADR 11).
            raise InvalidRequest(
                f"Job {dependency.job_id} in dependsOn does not exist",
                field="dependsOn",
                hint="List the jobs of the queue; ended jobs are forgotten after some days.",
            )
        if dependency.type == "N_TO_N":
            gate, bad = _gate(draft, dependency.job_id, size=size)
            gates.append(gate)
            failed_children = rg.union(failed_children, bad)
        elif status == "FAILED":
            failed = True
        elif status != "SUCCEEDED":
            unmet.append(dependency.job_id)
    return Waits(
        unmet=tuple(unmet), failed=failed, gates=tuple(gates), failed_children=failed_children
    )


def _gate(draft: Draft, upstream_id: str, *, size: int | None) -> tuple[Gate, Ranges]:
    upstream = draft.job(upstream_id)
    theirs = upstream.array.size if upstream is not None and upstream.array is not None else None
    if upstream is None or upstream.array is None or theirs != size:
        raise InvalidRequest(
            f"N_TO_N dependency on {upstream_id}: "
            + (
                f"it has {theirs} children and this array has {size}"
                if theirs is not None
                else "it is not an array job"
            ),
            field="dependsOn",
            hint="N_TO_N needs two arrays of the same size.",
        )
    bad = draft.view.child_indexes(upstream_id, "FAILED")
    for dropped in upstream.array.dropped:
        bad = rg.union(bad, dropped.ranges)
    passed = draft.view.child_indexes(upstream_id, "SUCCEEDED")
    return Gate(upstream=upstream_id, passed=passed), bad


def watch(draft: Draft, depends_on: tuple[Dependency, ...]) -> None:
    """Mark the jobs that somebody now waits for, so that others skip the search at their end."""
    for dependency in depends_on:
        root = split_child(dependency.job_id)[0]
        # SEQUENTIAL names no job.
        upstream = draft.job(root)
        if upstream is not None and not upstream.watched and upstream.status not in TERMINAL:
            draft.emit(ev.Watched(job_id=root))


def release_dependents(draft: Draft, command: ReleaseDependents) -> None:
    """Tell a portion of the jobs that wait for an ended job."""
    status = status_of(draft, command.upstream)
    found = draft.view.dependents(command.upstream, command.after, PORTION)
    for job_id, _ in found:
        waiting = draft.job(job_id)
        if waiting is None or waiting.status in TERMINAL:
            continue
        if command.upstream in waiting.unmet:
            if status == "SUCCEEDED":
                draft.emit(ev.DependencyMet(job_id=job_id, upstream=command.upstream))
                admit(draft, job_id)
            elif status == "FAILED":
                doom(draft, waiting)
    # ORDER: a page may be longer than asked for, as it never parts the entries of one job.
    if len(found) >= PORTION:
        following = ReleaseDependents(upstream=command.upstream, after=found[-1][0])
        draft.effect(FollowUp(command=following))


def admit(draft: Draft, job_id: str) -> None:
    """Make a job RUNNABLE (or its children) if nothing is unmet any more."""
    job = draft.job(job_id)
    if job is None or job.unmet or job.status in TERMINAL:
        return
    if job.stop is not None:
        # AWS: a cancelled PENDING job is finalised when its dependencies have completed.
        _stop_waiting(draft, job, job.stop)
    elif job.array is not None:
        open_children(draft, job_id)
    else:
        draft.emit(ev.JobRunnable(job_id=job_id, at_ms=draft.now_ms))


def doom(draft: Draft, job: Job) -> None:
    """A dependency of a waiting job failed."""
    if job.stop is not None:
        _stop_waiting(draft, job, job.stop)
    else:
        fail_waiting(draft, job, reason=DEPENDENT_FAILED)


def _stop_waiting(draft: Draft, job: Job, stop: Stop) -> None:
    fail_waiting(draft, job, reason=stop.reason, stop=stop.kind)


def fail_waiting(draft: Draft, job: Job, *, reason: str, stop: StopKind | None = None) -> None:
    """End a job that has not started, or the children of an array that have not."""
    if job.array is not None:
        drop(draft, job.job_id, ranges=job.array.held, reason=reason, stop=stop)
    else:
        end(draft, job, status="FAILED", reason=reason)


def release_children(draft: Draft, command: ReleaseChildren) -> None:
    """Tell the arrays that wait N_TO_N, and the jobs that wait for single children."""
    portion = rg.of(islice(rg.indexes(command.ranges), PORTION))
    after = ""
    while found := draft.view.dependents(command.upstream, after, PORTION):
        for job_id, kind in found:
            if kind == "N_TO_N":
                _pass_gate(draft, job_id, command.upstream, portion, command.succeeded)
        after = found[-1][0]
    for index in rg.indexes(portion):
        child = child_id(command.upstream, index)
        if draft.view.dependents(child, "", 1):
            draft.effect(FollowUp(command=ReleaseDependents(upstream=child)))
    if rest := rg.difference(command.ranges, portion):
        following = ReleaseChildren(
            upstream=command.upstream, ranges=rest, succeeded=command.succeeded
        )
        draft.effect(FollowUp(command=following))


def _pass_gate(draft: Draft, job_id: str, upstream: str, ranges: Ranges, succeeded: bool) -> None:
    waiting = draft.job(job_id)
    if waiting is None or waiting.status in TERMINAL:
        return
    if not succeeded:
        drop(draft, job_id, ranges=ranges, reason=DEPENDENT_FAILED)
        return
    draft.emit(ev.GatePassed(job_id=job_id, upstream=upstream, ranges=ranges))
    if waiting.stop is None:
        open_children(draft, job_id)

"""One pass: choose placements over a frozen snapshot."""

from heapq import heapify, heappop, heappush

import msgspec

from batchyard.kernel.resources import Shape
from batchyard.scheduler.explain import Explanation, explain
from batchyard.scheduler.fit import Fit, fit
from batchyard.scheduler.snapshot import Environment, Head, InstanceUse, Line, Snapshot


class Placement(msgspec.Struct, frozen=True, kw_only=True):
    queue: str
    job_id: str
    attempt: int
    shape: Shape
    compute_environment: str
    instance_id: str
    gpu_ids: tuple[str, ...] = ()


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """The head of a queue could not be placed; everything behind it waits."""

    queue: str
    job_id: str
    explanation: Explanation


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    placements: tuple[Placement, ...]
    refusals: tuple[Refusal, ...]
    unfinished: bool = False
    """A window ran out before the capacity did: another pass shall follow."""


class _Room:
    """Capacity as the pass uses it up."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.environments = dict(snapshot.environments)
        self.instances = dict(snapshot.instances)

    def fits(self, shape: Shape, names: tuple[str, ...]) -> tuple[Fit, ...]:
        """Judge in order and stop at the first that fits."""
        out: list[Fit] = []
        for name in names:
            environment = self.environments.get(name)
            if environment is None:
                continue
            judged = fit(shape, environment, self.instances)
            out.append(judged)
            if judged.verdict == "fits":
                break
        return tuple(out)

    def take(self, head: Head, chosen: Fit, *, queue: str) -> Placement:
        shape = head.shape
        use = self.instances[chosen.instance_id]
        gpus = use.free_gpu_ids[: shape.gpus]
        self.instances[chosen.instance_id] = InstanceUse(
            instance=use.instance,
            free=Shape(
                vcpu_milli=use.free.vcpu_milli - shape.vcpu_milli,
                memory_mib=use.free.memory_mib - shape.memory_mib,
                gpus=use.free.gpus - shape.gpus,
            ),
            free_gpu_ids=use.free_gpu_ids[shape.gpus :],
        )
        environment = self.environments[chosen.compute_environment]
        self.environments[environment.name] = Environment(
            name=environment.name,
            usable=environment.usable,
            trouble=environment.trouble,
            instance_ids=environment.instance_ids,
            max_vcpu_milli=environment.max_vcpu_milli,
            used_vcpu_milli=environment.used_vcpu_milli + shape.vcpu_milli,
        )
        return Placement(
            queue=queue,
            job_id=head.job_id,
            attempt=head.attempt,
            shape=shape,
            compute_environment=environment.name,
            instance_id=chosen.instance_id,
            gpu_ids=gpus,
        )


def plan(snapshot: Snapshot) -> Plan:
    """Choose placements for one pass.

    AWS: queues of higher priority are served first; a job goes to the first of its queue's compute
    environments that can take it; within a queue the order is first in, first out, and a head that
    cannot be placed holds back those behind it, while the pass goes on with other queues.

    Args:
        snapshot: Frozen view; capacities in milli-vCPU and MiB.

    Returns:
        Plan whose placements never exceed free capacity; every head not placed is explained. The
        plan is unfinished where a queue's window ran out: what is behind it goes before whatever
        comes later in order, so the pass ends there.

    Cost: O(placed + queues), independent of how many jobs wait.
    Source: AWS Batch User Guide, "Job scheduling"; ADR 6.
    """
    room = _Room(snapshot)
    placements: list[Placement] = []
    refusals: list[Refusal] = []
    for lines in by_priority(snapshot.lines):
        if not _serve(lines, room, placements, refusals):
            return Plan(placements=tuple(placements), refusals=tuple(refusals), unfinished=True)
    return Plan(placements=tuple(placements), refusals=tuple(refusals))


def by_priority(lines: tuple[Line, ...]) -> list[list[Line]]:
    """Groups of equal priority, highest first."""
    groups: dict[int, list[Line]] = {}
    for line in lines:
        groups.setdefault(line.priority, []).append(line)
    return [groups[priority] for priority in sorted(groups, reverse=True)]


def _serve(
    lines: list[Line], room: _Room, placements: list[Placement], refusals: list[Refusal]
) -> bool:
    """Serve queues of one priority together, in order of submission across them.

    Returns:
        False when the window of a queue ran out while there was still room for its head.
    """
    # CHOSEN: AWS says nothing about equal priorities; submission order starves nobody (ADR 6).
    heads = [(line.heads[0].order, i, 0) for i, line in enumerate(lines)]
    heapify(heads)
    while heads:
        _, i, at = heappop(heads)
        line = lines[i]
        head = line.heads[at]
        fits = room.fits(head.shape, line.compute_environments)
        if not fits or fits[-1].verdict != "fits":
            explanation = explain(head.shape, fits, queue=line.queue)
            refusals.append(Refusal(queue=line.queue, job_id=head.job_id, explanation=explanation))
            continue
        placements.append(room.take(head, fits[-1], queue=line.queue))
        if at + 1 < len(line.heads):
            heappush(heads, (line.heads[at + 1].order, i, at + 1))
        elif line.more:
            return False
    return True

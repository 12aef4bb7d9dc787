"""The live index: what waits, in order, and what holds capacity; kept up to date event by event.

Rebuilt from the open jobs at start. Nothing here is durable and nothing here decides: a pass reads
a `Snapshot` of it.
"""

from batchyard.kernel import events as ev
from batchyard.kernel import ranges as rg
from batchyard.kernel.environment import ComputeEnvironment, JobQueue
from batchyard.kernel.ids import split_child
from batchyard.kernel.job import Attempt, Job
from batchyard.kernel.ranges import Ranges
from batchyard.kernel.resources import Shape
from batchyard.scheduler.fit import Fit, fit
from batchyard.scheduler.line import FRESH, RETRY, Waiting, WaitingLine
from batchyard.scheduler.occupancy import Holding, Occupancy
from batchyard.scheduler.plan import Placement
from batchyard.scheduler.snapshot import Environment, Instance, Line, Snapshot


class LiveIndex:
    """Waiting lines per queue, holdings per instance, the queues and the environments."""

    def __init__(self) -> None:
        self._queues: dict[str, JobQueue] = {}
        self._environments: dict[str, ComputeEnvironment] = {}
        self._lines: dict[str, WaitingLine] = {}
        self._shapes: dict[Shape, Shape] = {}
        self.occupancy = Occupancy()

    # --- keeping it true -------------------------------------------------------------------

    def add_instance(self, instance: Instance) -> None:
        self.occupancy.add_instance(instance)

    def load(self, job: Job) -> None:
        """Take in an open job at start."""
        if job.array is not None:
            self._ready(job, job.array.ready)
        elif job.current is not None:
            self._occupy(job, job.current)
        elif job.status == "RUNNABLE":
            self._wait(job)

    def apply(self, event: ev.Event, row: ev.Row | None) -> None:
        """Follow one committed event; `row` is its row after the whole decision."""
        match event:
            case ev.QueueSaved(queue=queue):
                self._queues[queue.name] = queue
            case ev.QueueRemoved(name=name):
                self._queues.pop(name, None)
            case ev.ComputeEnvironmentSaved(compute_environment=environment):
                self._environments[environment.name] = environment
            case ev.ComputeEnvironmentRemoved(name=name):
                self._environments.pop(name, None)
            case _:
                if isinstance(row, Job):
                    self._apply_job(event, row)

    def _apply_job(self, event: ev.Event, job: Job) -> None:
        match event:
            case ev.JobRunnable():
                if job.status == "RUNNABLE":
                    self._wait(job)
            case ev.ChildrenReady(ranges=ranges):
                if job.array is not None:
                    self._ready(job, rg.intersection(ranges, job.array.ready))
            case ev.ChildrenDropped(ranges=ranges):
                self._unready(job, ranges)
            case ev.ChildMoved(source=None, index=index):
                self._unready(job, rg.span(index, index + 1))
            case ev.AttemptPlaced(attempt=attempt):
                self._line(job.queue).remove(job.job_id)
                if job.current is not None:
                    self._occupy(job, attempt)
            case ev.AttemptEnded():
                self.occupancy.release(job.job_id)
                if job.status == "RUNNABLE":
                    self._wait(job)
            case ev.JobEnded():
                self._line(job.queue).remove(job.job_id)
            case _:
                pass

    def reserve(self, placement: Placement) -> None:
        """Take a planned attempt out of line and hold its room until its commit is known."""
        line = self._line(placement.queue)
        if line.get(placement.job_id) is not None:
            line.remove(placement.job_id)
        else:
            root, index = split_child(placement.job_id)
            if index is not None:
                self._cut(placement.queue, root, rg.span(index, index + 1))
        self.occupancy.hold(
            placement.job_id,
            Holding(
                instance_id=placement.instance_id,
                compute_environment=placement.compute_environment,
                shape=placement.shape,
                gpu_ids=placement.gpu_ids,
            ),
        )

    def release(self, placement: Placement, job: Job | None) -> None:
        """The commit of a reserved placement did not happen; `job` is the truth of the store.

        For an array child without a row `job` is its parent.
        """
        self.occupancy.release(placement.job_id)
        if job is None:
            return
        index = split_child(placement.job_id)[1]
        if job.array is not None and index is not None:
            self._ready(job, rg.intersection(rg.span(index, index + 1), job.array.ready))
        else:
            self.load(job)

    # --- reading it ------------------------------------------------------------------------

    def snapshot(self, *, window: int) -> Snapshot:
        """Freeze what a pass needs: capacity, and `window` heads of every queue that has any."""
        lines: list[Line] = []
        for name, line in self._lines.items():
            queue = self._queues.get(name)
            # A queue that is being deleted ends its jobs; none of them should still start.
            if queue is not None and queue.status != "DELETING" and len(line):
                # One more than the window tells whether anybody waits behind it.
                heads = line.heads(window + 1)
                lines.append(
                    Line(
                        queue=name,
                        priority=queue.priority,
                        compute_environments=queue.compute_environments,
                        heads=heads[:window],
                        more=len(heads) > window,
                    )
                )
        instances = self.occupancy.uses()
        return Snapshot(
            lines=tuple(lines),
            environments={name: self.environment(name) for name in self._environments},
            instances=instances,
        )

    def environment(self, name: str) -> Environment:
        """One compute environment as a pass sees it."""
        environment = self._environments[name]
        trouble = ""
        if environment.state != "ENABLED":
            trouble = f"{name} is DISABLED"
        elif environment.status not in ("VALID", "UPDATING"):
            trouble = f"{name} is {environment.status}: {environment.status_reason}"
        return Environment(
            name=name,
            usable=not trouble,
            trouble=trouble,
            instance_ids=self.occupancy.instance_ids(),
            max_vcpu_milli=_limit(environment),
            used_vcpu_milli=self.occupancy.used_by(name),
        )

    def fits(self, shape: Shape, queue: str) -> tuple[Fit, ...]:
        """Judge a shape against all compute environments of a queue, in order."""
        known = self._queues.get(queue)
        instances = self.occupancy.uses()
        return tuple(
            fit(shape, self.environment(name), instances)
            for name in (known.compute_environments if known else ())
            if name in self._environments
        )

    def line(self, queue: str) -> WaitingLine:
        """A queue's waiting line; empty when nothing waits there."""
        return self._line(queue)

    def _line(self, queue: str) -> WaitingLine:
        line = self._lines.get(queue)
        if line is None:
            line = self._lines[queue] = WaitingLine()
        return line

    def _shape(self, shape: Shape) -> Shape:
        return self._shapes.setdefault(shape, shape)

    def _wait(self, job: Job) -> None:
        self._line(job.queue).put(
            job.job_id,
            Waiting(
                shape=self._shape(job.shape),
                seq=job.seq,
                attempt=job.next_attempt,
                rank=RETRY if job.attempts else FRESH,
                index=job.index or 0,
            ),
        )

    def _ready(self, job: Job, ranges: Ranges) -> None:
        line = self._line(job.queue)
        known = line.get(job.job_id)
        if known is not None and known.ready is not None:
            ranges = rg.union(known.ready, ranges)
        if ranges:
            shape = self._shape(job.shape)
            line.put(job.job_id, Waiting(shape=shape, seq=job.seq, ready=ranges))

    def _unready(self, job: Job, ranges: Ranges) -> None:
        self._cut(job.queue, job.job_id, ranges)

    def _cut(self, queue: str, array_id: str, ranges: Ranges) -> None:
        line = self._line(queue)
        known = line.get(array_id)
        if known is None or known.ready is None:
            return
        rest = rg.difference(known.ready, ranges)
        if rest:
            line.put(array_id, Waiting(shape=known.shape, seq=known.seq, ready=rest))
        else:
            line.remove(array_id)

    def _occupy(self, job: Job, attempt: Attempt) -> None:
        self.occupancy.hold(
            job.job_id,
            Holding(
                instance_id=attempt.instance_id,
                compute_environment=attempt.compute_environment,
                shape=self._shape(job.shape),
                gpu_ids=attempt.gpu_ids,
            ),
        )


def _limit(environment: ComputeEnvironment) -> int | None:
    """maxvCpus of a managed environment, in milli-vCPU."""
    resources = environment.compute_resources or {}
    limit = resources.get("maxvCpus")
    return limit * 1000 if isinstance(limit, int) else None

"""A `World` with a live index beside it, and passes that really place."""

from batchyard.kernel import commands as cmd
from batchyard.kernel import events as ev
from batchyard.kernel.environment import ComputeEnvironment, JobQueue
from batchyard.kernel.ids import split_child
from batchyard.kernel.job import Job
from batchyard.kernel.resources import Shape
from batchyard.scheduler.index import LiveIndex
from batchyard.scheduler.plan import Plan, plan
from batchyard.scheduler.snapshot import Instance, Snapshot
from batchyard.testing.world import World

EVERYTHING = 10_000_000


class SchedulingWorld(World):
    """Feeds every change to `index`, as a yard does after each commit."""

    def __init__(self, *instances: Instance) -> None:
        super().__init__()
        self.instances = instances
        self.index = LiveIndex()
        for instance in instances:
            self.index.add_instance(instance)
        self._fed = 0

    def do(self, command: cmd.Command) -> object:
        reply = super().do(command)
        for event, row in self.changes[self._fed :]:
            self.index.apply(event, row)
        self._fed = len(self.changes)
        return reply

    def plan(self, *, window: int = EVERYTHING) -> Plan:
        return plan(self.index.snapshot(window=window))

    def reserve(self, planned: Plan) -> None:
        for placement in planned.placements:
            self.index.reserve(placement)

    def commit(self, planned: Plan) -> list[str]:
        """Place what was planned and reserved; ids of the jobs that were placed."""
        placed = []
        for p in planned.placements:
            command = cmd.PlaceAttempt(
                job_id=p.job_id,
                attempt=p.attempt,
                compute_environment=p.compute_environment,
                instance_id=p.instance_id,
                gpu_ids=p.gpu_ids,
            )
            if self.do(command) is True:
                placed.append(p.job_id)
            else:
                self.index.release(p, self.truth(p.job_id))
        return placed

    def run_pass(self, *, window: int = EVERYTHING) -> list[str]:
        """One whole pass; ids of the jobs that were placed, in order."""
        planned = self.plan(window=window)
        self.reserve(planned)
        return self.commit(planned)

    def truth(self, job_id: str) -> Job | None:
        """The row of a job, or of its array while it has none."""
        return self.view.job(job_id) or self.view.job(split_child(job_id)[0])

    def rebuilt(self) -> LiveIndex:
        """An index made anew from the rows, as at the start of a yard."""
        index = LiveIndex()
        for instance in self.instances:
            index.add_instance(instance)
        for row in self.view.rows.values():
            match row:
                case JobQueue():
                    index.apply(ev.QueueSaved(queue=row), None)
                case ComputeEnvironment():
                    index.apply(ev.ComputeEnvironmentSaved(compute_environment=row), None)
                case Job(stopped_at_ms=None):
                    index.load(row)
        return index


def machine(
    name: str = "i-1", *, vcpus: int = 4, memory_mib: int = 4096, gpus: int = 0
) -> Instance:
    return Instance(
        instance_id=name,
        total=Shape(vcpu_milli=vcpus * 1000, memory_mib=memory_mib, gpus=gpus),
        gpu_ids=tuple(f"{name}-gpu{n}" for n in range(gpus)),
    )


def comparable(snapshot: Snapshot) -> tuple[object, ...]:
    """A snapshot without the order in which an index came to know its queues."""
    lines = {line.queue: line for line in snapshot.lines}
    return lines, snapshot.environments, snapshot.instances

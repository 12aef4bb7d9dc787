"""A yard in memory: rows in a `MemoryView`, and verbs that drive jobs through their lives.

No store, no executor, no clock: every command is judged by the real `decide` and its decision is
kept at once. Follow-ups wait in `follow_ups` until `settle`, as they wait in the outbox of a yard,
so that a test can let other things happen first.

    world = World()
    world.queue("q")
    job = world.submit(attempts=2)
    world.place(job)
    world.end(job, exit_code=1)
    assert world.status(job) == "RUNNABLE"
"""

from collections.abc import Sequence

import msgspec

from batchyard.kernel import commands as cmd
from batchyard.kernel import events as ev
from batchyard.kernel import ranges as rg
from batchyard.kernel.children import synthesise_child
from batchyard.kernel.decide import decide
from batchyard.kernel.decision import Decision
from batchyard.kernel.effects import Effect, FollowUp, StopAttempt
from batchyard.kernel.evolve import evolve
from batchyard.kernel.ids import Realm, child_id, split_child
from batchyard.kernel.job import DependencyType, Job
from batchyard.kernel.states import LIVE, Status
from batchyard.testing.memory_view import MemoryView

START_MS = 1_700_000_000_000
DEFINITION = "definition"
ENVIRONMENT = "environment"
INSTANCE = "i-0000000000000001"


class Need(msgspec.Struct, frozen=True, kw_only=True):
    """One `dependsOn` entry of a job to submit. No `job_id` for SEQUENTIAL."""

    job_id: str = ""
    type: DependencyType = "PLAIN"

    def wire(self) -> dict[str, object]:
        out: dict[str, object] = {"jobId": self.job_id} if self.job_id else {}
        return out if self.type == "PLAIN" else {**out, "type": self.type}


SEQUENTIAL = Need(type="SEQUENTIAL")


def n_to_n(job_id: str) -> Need:
    return Need(job_id=job_id, type="N_TO_N")


class World:
    """Rows that change by `do`. Time moves on by one millisecond with every command."""

    def __init__(self) -> None:
        self.view = MemoryView(Realm())
        self.now_ms = START_MS
        self.events: list[ev.Event] = []
        self.changes: list[tuple[ev.Event, ev.Row | None]] = []
        """Events, each with its row after the whole decision: what the live index is fed."""
        self.follow_ups: list[cmd.Command] = []
        self.effects: list[Effect] = []
        """Starts, stops and removals, in the order in which they were demanded."""
        self.last = Decision()
        self._seq = 0

    # --- commands ----------------------------------------------------------------------------

    def do(self, command: cmd.Command) -> object:
        """Judge one command and keep what follows from it; its reply.

        Raises:
            ClientFault: the kernel refused; nothing has changed.
        """
        self.now_ms += 1
        self.last = decision = decide(command, self.view, self.now_ms)
        self.view.keep(decision)
        self.events.extend(decision.events)
        self.changes.extend((event, decision.rows[event.key]) for event in decision.events)
        for effect in decision.effects:
            if isinstance(effect, FollowUp):
                self.follow_ups.append(effect.command)
            else:
                self.effects.append(effect)
        return decision.reply

    def settle(self) -> None:
        """Execute follow-ups, and theirs, oldest first until there are none."""
        while self.follow_ups:
            self.do(self.follow_ups.pop(0))

    def fold(self) -> dict[ev.Key, ev.Row]:
        """All rows made anew from all events: must equal `view.rows`."""
        out: dict[ev.Key, ev.Row | None] = {}
        for event in self.events:
            out[event.key] = evolve(out.get(event.key), event)
        return {key: row for key, row in out.items() if row is not None}

    # --- builders ----------------------------------------------------------------------------

    def environment(self, name: str = ENVIRONMENT, *, max_vcpus: int | None = None) -> str:
        """A VALID compute environment: UNMANAGED, or MANAGED with that maxvCpus."""
        request: dict[str, object] = {"computeEnvironmentName": name, "type": "UNMANAGED"}
        if max_vcpus is not None:
            request["type"] = "MANAGED"
            request["computeResources"] = {
                "type": "EC2",
                "minvCpus": 0,
                "maxvCpus": max_vcpus,
                "instanceRole": "ecsInstanceRole",
                "instanceTypes": ["optimal"],
                "subnets": ["subnet-1"],
                "securityGroupIds": ["sg-1"],
            }
        self.do(cmd.CreateComputeEnvironment(request=request, uuid=f"uuid-of-{name}"))
        self._settle_last()
        return name

    def queue(
        self, name: str = "q", *, priority: int = 1, environments: Sequence[str] = (ENVIRONMENT,)
    ) -> str:
        """A VALID job queue; its compute environments are made if there are none of that name."""
        for environment in environments:
            if self.view.compute_environment(environment) is None:
                self.environment(environment)
        order = [{"order": i, "computeEnvironment": n} for i, n in enumerate(environments, 1)]
        request: dict[str, object] = {
            "jobQueueName": name,
            "priority": priority,
            "computeEnvironmentOrder": order,
        }
        self.do(cmd.CreateJobQueue(request=request))
        self._settle_last()
        return name

    def delete_queue(self, name: str) -> None:
        """Disable the queue and ask for its end; its jobs end with the follow-ups."""
        self.do(cmd.UpdateJobQueue(request={"jobQueue": name, "state": "DISABLED"}))
        self._settle_last()
        self.do(cmd.DeleteJobQueue(job_queue=name))

    def definition(
        self, name: str = DEFINITION, *, vcpus: int = 1, memory_mib: int = 128, gpus: int = 0
    ) -> str:
        """Register a container definition; `name:revision`."""
        requirements = [
            {"type": "VCPU", "value": str(vcpus)},
            {"type": "MEMORY", "value": str(memory_mib)},
        ]
        if gpus:
            requirements.append({"type": "GPU", "value": str(gpus)})
        properties = {"image": "busybox", "resourceRequirements": requirements}
        request: dict[str, object] = {
            "jobDefinitionName": name,
            "type": "container",
            "containerProperties": properties,
        }
        self.do(cmd.RegisterJobDefinition(request=request))
        return f"{name}:{self.view.latest_revision(name)}"

    def submit(
        self,
        *,
        queue: str = "q",
        definition: str | None = None,
        array: int | None = None,
        depends_on: Sequence[Need | str] = (),
        attempts: int | None = None,
        evaluate_on_exit: Sequence[dict[str, str]] = (),
        members: dict[str, object] | None = None,
    ) -> str:
        """Submit a job; its id. A plain string in `depends_on` is a job id. `members` are further
        wire members of the request."""
        if definition is None:
            definition = DEFINITION
            if self.view.latest_active(DEFINITION) is None:
                self.definition()
        request: dict[str, object] = {
            "jobName": "job",
            "jobQueue": queue,
            "jobDefinition": definition,
            **(members or {}),
        }
        if array is not None:
            request["arrayProperties"] = {"size": array}
        if depends_on:
            needs = [n if isinstance(n, Need) else Need(job_id=n) for n in depends_on]
            request["dependsOn"] = [need.wire() for need in needs]
        if attempts is not None:
            request["retryStrategy"] = {
                "attempts": attempts,
                "evaluateOnExit": list(evaluate_on_exit),
            }
        job_id = f"{self._seq + 1:08x}-0000-4000-8000-000000000000"
        self.do(cmd.SubmitJob(job_id=job_id, seq=self._seq + 1, request=request))
        self._seq += 1
        return job_id

    # --- verbs: the life of an attempt -------------------------------------------------------

    def place(
        self, job_id: str, *, environment: str | None = None, instance: str = INSTANCE
    ) -> bool:
        """Place the next attempt of a job or child. False: it is not RUNNABLE."""
        row = self.view.job(job_id)
        if environment is None:
            owner = row or self.view.job(split_child(job_id)[0])
            queue = None if owner is None else self.view.queue(owner.queue)
            environment = queue.compute_environments[0] if queue is not None else ENVIRONMENT
        command = cmd.PlaceAttempt(
            job_id=job_id,
            attempt=1 if row is None else row.next_attempt,
            compute_environment=environment,
            instance_id=instance,
        )
        return self.do(command) is True

    def start(self, job_id: str) -> bool:
        """The live attempt is RUNNING."""
        number = self._live_number(job_id)
        report = cmd.ReportStarted(job_id=job_id, attempt=number, at_ms=self.now_ms)
        return self.do(report) is True

    def end(self, job_id: str, *, exit_code: int = 0, reason: str | None = None) -> bool:
        """The container of the live attempt exited."""
        report = cmd.ReportEnded(
            job_id=job_id,
            attempt=self._live_number(job_id),
            at_ms=self.now_ms,
            started_at_ms=self.now_ms,
            exit_code=exit_code,
            reason=reason,
        )
        return self.do(report) is True

    def fail_to_start(self, job_id: str, *, reason: str = "CannotPullContainerError") -> bool:
        report = cmd.ReportStartFailed(
            job_id=job_id, attempt=self._live_number(job_id), at_ms=self.now_ms, reason=reason
        )
        return self.do(report) is True

    def lose(self, job_id: str, *, detail: str = "") -> bool:
        """The host of the live attempt went away."""
        report = cmd.ReportLost(
            job_id=job_id, attempt=self._live_number(job_id), at_ms=self.now_ms, detail=detail
        )
        return self.do(report) is True

    def time_out(self, job_id: str) -> bool:
        return self.do(cmd.TimeOutAttempt(job_id=job_id, attempt=self._live_number(job_id))) is True

    def execute(self, job_id: str, *, exit_code: int = 0) -> None:
        """Place, start and end one attempt."""
        for done in (self.place(job_id), self.start(job_id), self.end(job_id, exit_code=exit_code)):
            assert done, f"{job_id} is {self.status(job_id)}"

    def cancel(self, job_id: str, *, reason: str = "cancelled by a test") -> None:
        self.do(cmd.CancelJob(job_id=job_id, reason=reason))

    def terminate(self, job_id: str, *, reason: str = "terminated by a test") -> None:
        self.do(cmd.TerminateJob(job_id=job_id, reason=reason))

    def drain(self, *, exit_code: int = 0) -> None:
        """Settle, place whatever is RUNNABLE and end whatever is live, until nothing is left."""
        self.settle()
        while ids := [*self.live_ids(), *self.runnable_ids()]:
            for job_id in ids:
                self.place(job_id)
                self.end(job_id, exit_code=exit_code)
            self.settle()

    # --- looking -----------------------------------------------------------------------------

    def status(self, job_id: str) -> Status:
        """State of any job, also of a child that has no row."""
        row = self.view.job(job_id)
        if row is not None:
            return row.status
        root, index = split_child(job_id)
        assert index is not None, f"{job_id} is unknown"
        return synthesise_child(self.job(root), index).status

    def job(self, job_id: str) -> Job:
        """The row of a job that must have one."""
        row = self.view.job(job_id)
        assert row is not None, f"{job_id} has no row"
        return row

    def tally(self, job_id: str) -> dict[Status, int]:
        """Children of an array per state, without the states that have none."""
        array = self.job(job_id).array
        assert array is not None, f"{job_id} is no array"
        return {status: n for status, n in array.tally().items() if n}

    def runnable_ids(self) -> list[str]:
        """Every job and child that can be placed, in order of submission."""
        out: list[str] = []
        for job in self.view.jobs().values():
            if job.status == "RUNNABLE":
                out.append(job.job_id)
            if job.array is not None:
                out.extend(child_id(job.job_id, i) for i in rg.indexes(job.array.ready))
        return out

    def live_ids(self) -> list[str]:
        return [job.job_id for job in self.view.jobs().values() if job.status in LIVE]

    def stops(self) -> list[str]:
        """Ids of the jobs whose attempts were told to stop."""
        return [effect.job_id for effect in self.effects if isinstance(effect, StopAttempt)]

    def _live_number(self, job_id: str) -> int:
        """Number of the live attempt; 0, which no attempt has, when there is none."""
        row = self.view.job(job_id)
        return row.current.number if row is not None and row.current is not None else 0

    def _settle_last(self) -> None:
        """Execute what the last command itself asked for, ahead of everything older."""
        mine = [e.command for e in self.last.effects if isinstance(e, FollowUp)]
        for command in mine:
            self.follow_ups.remove(command)
            self.do(command)

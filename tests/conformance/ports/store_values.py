"""Small valid histories for tests of a store: kernel values, recorded as `decide` would."""

from collections.abc import Callable

from batchyard.kernel import events as ev
from batchyard.kernel import ranges
from batchyard.kernel.decision import Draft
from batchyard.kernel.definition import JobDefinition
from batchyard.kernel.effects import Effect
from batchyard.kernel.environment import ComputeEnvironment, JobQueue
from batchyard.kernel.ids import child_id
from batchyard.kernel.job import ArrayState, Attempt, Dependency, Job, JobSpec
from batchyard.kernel.resources import Shape
from batchyard.kernel.states import Status
from batchyard.store.port import Transaction

SHAPE = Shape(vcpu_milli=1000, memory_mib=128)


def job(job_id: str, **changes: object) -> Job:
    values: dict[str, object] = {
        "job_id": job_id,
        "kind": "single",
        "name": f"name-{job_id}",
        "queue": "q",
        "definition": "def:1",
        "status": "RUNNABLE",
        "seq": 1,
        "shape": SHAPE,
        "created_at_ms": 1_000,
    }
    return Job(**(values | changes))  # type: ignore[arg-type]


def spec(*upstreams: str, share: str | None = None) -> JobSpec:
    return JobSpec(
        definition_arn="arn:aws:batch:us-east-1:000000000000:job-definition/def:1",
        definition_name="def",
        container={"image": "busybox", "command": ["true"], "vcpus": 1, "unknown": {"a": [1.5]}},
        depends_on=tuple(Dependency(job_id=u) for u in upstreams),
        share_identifier=share,
    )


def attempt(number: int = 1) -> Attempt:
    return Attempt(
        number=number,
        attempt_id=f"x.a{number}",
        compute_environment="ce",
        instance_id="i",
        cluster="c",
        log_stream="s",
        placed_at_ms=2_000,
    )


def array(job_id: str, size: int, **changes: object) -> Job:
    state = ArrayState(size=size, held=(), ready=ranges.span(0, size))
    return job(job_id, **({"kind": "array", "status": "PENDING", "array": state} | changes))


def child(parent_id: str, index: int, status: Status = "RUNNABLE") -> Job:
    return job(child_id(parent_id, index), kind="child", index=index, status=status)


def queue(name: str, *environments: str) -> JobQueue:
    return JobQueue(
        name=name,
        state="ENABLED",
        status="VALID",
        status_reason="",
        priority=1,
        compute_environments=environments,
        created_at_ms=1,
    )


def environment(name: str) -> ComputeEnvironment:
    return ComputeEnvironment(
        name=name,
        type="MANAGED",
        state="ENABLED",
        status="VALID",
        status_reason="",
        uuid="u",
        created_at_ms=1,
    )


def definition(name: str, revision: int, status: str = "ACTIVE") -> JobDefinition:
    return JobDefinition(
        name=name,
        revision=revision,
        status=status,  # type: ignore[arg-type]
        document={"type": "container"},
        created_at_ms=revision,
    )


def recording(
    *events: ev.Event, effects: tuple[Effect, ...] = ()
) -> Callable[[Transaction], tuple[int, ...]]:
    """A callable for `Store.write` that records these facts and returns the outbox ids."""

    def write(tx: Transaction) -> tuple[int, ...]:
        draft = Draft(tx, 0)
        for event in events:
            draft.emit(event)
        for effect in effects:
            draft.effect(effect)
        return tx.record(draft.done())

    return write


def submitted(row: Job, of: JobSpec | None = None) -> ev.JobSubmitted:
    return ev.JobSubmitted(job=row, spec=of or spec())


def placed(job_id: str) -> ev.AttemptPlaced:
    return ev.AttemptPlaced(job_id=job_id, attempt=attempt())


def started(job_id: str) -> ev.AttemptStarted:
    return ev.AttemptStarted(job_id=job_id, at_ms=3_000)


def ended(job_id: str, status: Status = "SUCCEEDED", at_ms: int = 4_000) -> ev.AttemptEnded:
    return ev.AttemptEnded(
        job_id=job_id, at_ms=at_ms, next=status, status_reason="r", job_reason="r", exit_code=0
    )


def whole_life(row: Job, at_ms: int = 4_000) -> tuple[ev.Event, ...]:
    """From its submission to SUCCEEDED."""
    return (
        submitted(row),
        placed(row.job_id),
        started(row.job_id),
        ended(row.job_id, at_ms=at_ms),
    )

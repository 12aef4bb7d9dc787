"""The life of an attempt: placed, started, ended, lost; and the retry that may follow.

Reports come from executors and may be stale or repeated. Each is fenced by `(job_id, attempt)`: a
report about anything but the live attempt changes nothing.
"""

from batchyard.kernel import events as ev
from batchyard.kernel import ranges as rg
from batchyard.kernel.commands import (
    Explain,
    PlaceAttempt,
    ReportEnded,
    ReportLost,
    ReportStarted,
    ReportStartFailed,
    TimeOutAttempt,
)
from batchyard.kernel.decision import Draft
from batchyard.kernel.effects import RemoveAttempt, StartAttempt, StopAttempt
from batchyard.kernel.ending import ended, move_child
from batchyard.kernel.ids import attempt_id, split_child, task_id
from batchyard.kernel.job import Attempt, Job
from batchyard.kernel.retry import retries
from batchyard.kernel.states import Status

EXITED = "Essential container in task exited"
NOT_STARTED = "Task failed to start"
TIMED_OUT = "Job attempt duration exceeded timeout"


def place(draft: Draft, command: PlaceAttempt) -> bool:
    """RUNNABLE -> STARTING, if the plan still holds. False: the plan was stale, nothing changed."""
    environment = draft.compute_environment(command.compute_environment)
    job = draft.job(command.job_id)
    if environment is None or environment.state != "ENABLED" or environment.status == "DELETING":
        return False
    if job is None:
        job = _spawn(draft, command)
        source: Status | None = None
    else:
        source = "RUNNABLE"
    if job is None or job.status != "RUNNABLE" or job.next_attempt != command.attempt:
        return False
    if _array_stopped(draft, job):
        # AWS: cancel ends what has not started; the array's StopChildren is about to come by.
        return False
    identity = attempt_id(job.job_id, command.attempt)
    attempt = Attempt(
        number=command.attempt,
        attempt_id=identity,
        compute_environment=environment.name,
        instance_id=command.instance_id,
        cluster=environment.cluster,
        log_stream=log_stream(draft, job, identity),
        placed_at_ms=draft.now_ms,
        gpu_ids=command.gpu_ids,
    )
    draft.emit(ev.AttemptPlaced(job_id=job.job_id, attempt=attempt))
    move_child(draft, job, source=source, target="STARTING")
    draft.effect(StartAttempt(job_id=job.job_id, attempt=command.attempt))
    return True


def _spawn(draft: Draft, command: PlaceAttempt) -> Job | None:
    """Make the row of an array child that is placed for the first time."""
    root, index = split_child(command.job_id)
    parent = draft.job(root)
    if index is None or parent is None or parent.array is None or command.attempt != 1:
        return None
    if not rg.contains(parent.array.ready, index):
        return None
    child = Job(
        job_id=command.job_id,
        kind="child",
        name=parent.name,
        queue=parent.queue,
        definition=parent.definition,
        status="RUNNABLE",
        seq=parent.seq,
        shape=parent.shape,
        created_at_ms=parent.created_at_ms,
        index=index,
        tags=parent.tags,
    )
    draft.emit(ev.ChildSpawned(job=child))
    return child


def log_stream(draft: Draft, job: Job, attempt: str) -> str:
    """AWS: `<first 200 chars of the definition's name>/default/<ecs task id>`, new per attempt."""
    prefix = job.definition.rpartition(":")[0][:200]
    logging = draft.view.spec(job.root_id).container.get("logConfiguration")
    options = logging.get("options") if isinstance(logging, dict) else None
    if isinstance(options, dict):
        prefix = str(options.get("awslogs-stream-prefix") or prefix)
    return f"{prefix}/default/{task_id(attempt)}"


def _live(draft: Draft, job_id: str, attempt: int) -> tuple[Job, Attempt] | None:
    job = draft.job(job_id)
    if job is None or job.current is None or job.current.number != attempt:
        return None
    return job, job.current


def report_started(draft: Draft, command: ReportStarted) -> bool:
    live = _live(draft, command.job_id, command.attempt)
    if live is None or live[0].status != "STARTING":
        return False
    _start(draft, live[0], at_ms=command.at_ms, notes=command.notes)
    return True


def _start(draft: Draft, job: Job, *, at_ms: int, notes: tuple[str, ...]) -> None:
    draft.emit(ev.AttemptStarted(job_id=job.job_id, at_ms=at_ms, notes=notes))
    move_child(draft, job, source="STARTING", target="RUNNING")


def report_ended(draft: Draft, command: ReportEnded) -> bool:
    """The container exited. A RUNNING that nobody saw (short jobs) is inserted first."""
    live = _live(draft, command.job_id, command.attempt)
    if live is None:
        return False
    job = live[0]
    notes = command.notes
    if job.status == "STARTING":
        _start(draft, job, at_ms=command.started_at_ms, notes=notes)
        notes = ()
    _over(
        draft,
        live,
        source="RUNNING",
        at_ms=command.at_ms,
        status_reason=EXITED,
        exit_code=command.exit_code,
        reason=command.reason,
        notes=notes,
    )
    return True


def report_start_failed(draft: Draft, command: ReportStartFailed) -> bool:
    live = _live(draft, command.job_id, command.attempt)
    if live is None or live[0].status != "STARTING":
        return False
    _over(
        draft,
        live,
        source="STARTING",
        at_ms=command.at_ms,
        status_reason=NOT_STARTED,
        reason=command.reason,
    )
    return True


def report_lost(draft: Draft, command: ReportLost) -> bool:
    """AWS: a lost host leaves neither exit code nor container reason."""
    live = _live(draft, command.job_id, command.attempt)
    if live is None:
        return False
    _over(
        draft,
        live,
        source=live[0].status,
        at_ms=command.at_ms,
        status_reason=f"Host EC2 (instance {live[1].instance_id}) terminated.",
        notes=(command.detail,) if command.detail else (),
    )
    return True


def _over(
    draft: Draft,
    live: tuple[Job, Attempt],
    *,
    source: Status,
    at_ms: int,
    status_reason: str,
    exit_code: int | None = None,
    reason: str | None = None,
    notes: tuple[str, ...] = (),
) -> None:
    job, attempt = live
    target: Status
    if job.stop is not None:
        # AWS: timeout, cancel and terminate are never retried, whatever the exit code.
        target, status_reason = "FAILED", job.stop.reason
    elif exit_code == 0:
        target = "SUCCEEDED"
    else:
        again = not _array_stopped(draft, job) and retries(
            draft.view.spec(job.root_id).retry,
            attempt=attempt.number,
            status_reason=status_reason,
            reason=reason,
            exit_code=exit_code,
        )
        target = "RUNNABLE" if again else "FAILED"
    draft.emit(
        ev.AttemptEnded(
            job_id=job.job_id,
            at_ms=at_ms,
            next=target,
            status_reason=status_reason,
            job_reason=None if target == "RUNNABLE" else status_reason,
            exit_code=exit_code,
            reason=reason,
            notes=notes,
        )
    )
    draft.effect(RemoveAttempt(job_id=job.job_id, attempt=attempt.number))
    move_child(draft, job, source=source, target=target)
    if target != "RUNNABLE":
        ended(draft, job, status=target)


def _array_stopped(draft: Draft, job: Job) -> bool:
    """A single job is its own root; whether it is stopped itself was judged before."""
    root = draft.job(job.root_id)
    return root is not None and root.stop is not None


def time_out(draft: Draft, command: TimeOutAttempt) -> bool:
    """AWS: the clock runs from the attempt's RUNNING; a timed-out job is never retried."""
    live = _live(draft, command.job_id, command.attempt)
    if live is None or live[0].status != "RUNNING" or live[0].stop is not None:
        return False
    draft.emit(
        ev.StopRequested(
            job_id=command.job_id, kind="timeout", reason=TIMED_OUT, at_ms=draft.now_ms
        )
    )
    draft.effect(StopAttempt(job_id=command.job_id, attempt=command.attempt))
    return True


def explain(draft: Draft, command: Explain) -> bool:
    """AWS: the head job of a blocked queue shows why in statusReason while it is RUNNABLE."""
    job = draft.job(command.job_id)
    if job is None or job.status_reason == command.status_reason:
        return False
    # An array's waiting children have no rows: their parent, which is PENDING, speaks for them.
    if job.status != ("RUNNABLE" if job.array is None else "PENDING"):
        return False
    draft.emit(ev.Explained(job_id=command.job_id, status_reason=command.status_reason))
    return True

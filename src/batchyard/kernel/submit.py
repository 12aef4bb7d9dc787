"""SubmitJob: a validated request becomes a job with its spec, waiting or RUNNABLE."""

from batchyard.kernel import events as ev
from batchyard.kernel import ranges as rg
from batchyard.kernel.commands import SubmitJob
from batchyard.kernel.decision import Draft
from batchyard.kernel.dependency import Waits, admit, doom, fail_waiting, waits_for, watch
from batchyard.kernel.ending import DEPENDENT_FAILED, drop
from batchyard.kernel.job import ArrayState, Job
from batchyard.kernel.states import Status
from batchyard.kernel.submission import Resolved, resolve


def submit_job(draft: Draft, command: SubmitJob) -> dict[str, object]:
    """Accept a job; the reply is SubmitJob's own.

    Raises:
        ClientFault: the request breaks a rule; nothing is recorded.
    """
    resolved = resolve(draft.view, command.request)
    waits = waits_for(draft, resolved.spec.depends_on, size=resolved.array_size)
    job = _first_state(draft, command, resolved=resolved, waits=waits)
    draft.emit(ev.JobSubmitted(job=job, spec=resolved.spec))
    if resolved.doomed is not None:
        fail_waiting(draft, job, reason=resolved.doomed)
    elif waits.failed:
        doom(draft, job)
    else:
        watch(draft, resolved.spec.depends_on)
        if waits.failed_children:
            drop(draft, job.job_id, ranges=waits.failed_children, reason=DEPENDENT_FAILED)
        admit(draft, job.job_id)
    return {
        "jobArn": draft.view.realm.job(job.job_id),
        "jobName": job.name,
        "jobId": job.job_id,
    }


def _first_state(draft: Draft, command: SubmitJob, *, resolved: Resolved, waits: Waits) -> Job:
    size = resolved.array_size
    array = None
    if size is not None:
        array = ArrayState(
            size=size, held=rg.span(0, size), gates=waits.gates, updated_at_ms=draft.now_ms
        )
    # AWS: PENDING only with unmet dependencies; an N_TO_N gate is one.
    n_to_n = any(gate.upstream for gate in waits.gates)
    status: Status = "PENDING" if waits.unmet or n_to_n else "SUBMITTED"
    return Job(
        job_id=command.job_id,
        kind="single" if array is None else "array",
        name=resolved.name,
        queue=resolved.queue.name,
        definition=resolved.definition.key,
        status=status,
        seq=command.seq,
        shape=resolved.shape,
        created_at_ms=draft.now_ms,
        unmet=waits.unmet,
        tags=resolved.tags,
        array=array,
    )

"""JobDetail and JobSummary: a job as DescribeJobs and ListJobs show it.

Which member appears in which state is AWS's; absent values are left out, never null.
"""

from batchyard.api.port import Params
from batchyard.kernel.ids import Realm, child_id
from batchyard.kernel.job import Attempt, Dependency, Job, JobSpec
from batchyard.kernel.states import LIVE, TERMINAL


def detail(job: Job, spec: JobSpec, realm: Realm) -> Params:
    """JobDetail. The container document of the spec is shared, never copied deeply.

    CHOSEN: `batchyardNotes` says in plain words what the yard degraded, such as a clamped
    ulimit (ADR 11).
    """
    out: Params = {
        **spec.extra,
        "jobArn": realm.job(job.job_id),
        "jobId": job.job_id,
        "jobName": job.name,
        "jobQueue": realm.job_queue(job.queue),
        "jobDefinition": spec.definition_arn,
        "status": job.status,
        "createdAt": job.created_at_ms,
        "attempts": [_attempt(attempt, realm) for attempt in job.attempts],
        "retryStrategy": _retry(spec),
        "dependsOn": [_dependency(d, job) for d in _waited_for(job, spec)],
        "parameters": spec.parameters,
        "container": {**spec.container, **_results(job, realm)},
        "tags": job.tags,
        "propagateTags": bool(spec.propagate_tags),
        "platformCapabilities": list(spec.platform_capabilities),
        "isCancelled": job.cancelled,
        "isTerminated": job.terminated,
    }
    _times(out, job)
    if spec.timeout_s is not None:
        out["timeout"] = {"attemptDurationSeconds": spec.timeout_s}
    if spec.scheduling_priority is not None:
        out["schedulingPriority"] = spec.scheduling_priority
    if spec.share_identifier is not None:
        out["shareIdentifier"] = spec.share_identifier
    if (array := _array(job)) is not None:
        out["arrayProperties"] = array
    tries = (*job.attempts, job.current) if job.current is not None else job.attempts
    if notes := [note for attempt in tries for note in attempt.notes]:
        out["batchyardNotes"] = list(dict.fromkeys(notes))
    return out


def summary(job: Job, realm: Realm) -> Params:
    """JobSummary."""
    name, _, revision = job.definition.rpartition(":")
    out: Params = {
        "jobArn": realm.job(job.job_id),
        "jobId": job.job_id,
        "jobName": job.name,
        "createdAt": job.created_at_ms,
        "status": job.status,
        "jobDefinition": realm.job_definition(name, int(revision)),
        "isCancelled": job.cancelled,
        "isTerminated": job.terminated,
    }
    _times(out, job)
    container: Params = {}
    if job.status in TERMINAL and job.attempts:
        _end(container, job.attempts[-1])
    if container:
        out["container"] = container
    if (array := _array(job)) is not None:
        out["arrayProperties"] = array
    return out


def _times(out: Params, job: Job) -> None:
    if job.status_reason is not None:
        out["statusReason"] = job.status_reason
    if job.started_at_ms is not None:
        out["startedAt"] = job.started_at_ms
    # AWS: clients take stoppedAt for "done", so it belongs to a terminal job only.
    if job.stopped_at_ms is not None and job.status in TERMINAL:
        out["stoppedAt"] = job.stopped_at_ms


def _array(job: Job) -> Params | None:
    if job.array is not None:
        return {
            "size": job.array.size,
            "statusSummary": job.array.tally(),
            "statusSummaryLastUpdatedAt": job.array.updated_at_ms,
        }
    return None if job.index is None else {"index": job.index}


def _results(job: Job, realm: Realm) -> Params:
    """What the container document shows of the live attempt, or of the last one after the end."""
    attempt = None
    if job.status in LIVE:
        attempt = job.current
    elif job.status in TERMINAL and job.attempts:
        attempt = job.attempts[-1]
    if attempt is None:
        return {}
    out = _identity(attempt, realm)
    _end(out, attempt)
    return out


def _attempt(attempt: Attempt, realm: Realm) -> Params:
    container = _identity(attempt, realm)
    _end(container, attempt)
    container["networkInterfaces"] = []
    out: Params = {"container": container}
    if attempt.started_at_ms is not None:
        out["startedAt"] = attempt.started_at_ms
    if attempt.stopped_at_ms is not None:
        out["stoppedAt"] = attempt.stopped_at_ms
    if attempt.status_reason is not None:
        out["statusReason"] = attempt.status_reason
    return out


def _identity(attempt: Attempt, realm: Realm) -> Params:
    out: Params = {
        "taskArn": realm.task(attempt.cluster, attempt.attempt_id),
        "containerInstanceArn": realm.container_instance(attempt.cluster, attempt.instance_id),
    }
    # AWS: the log stream is named once the container runs.
    if attempt.started_at_ms is not None:
        out["logStreamName"] = attempt.log_stream
    return out


def _end(container: Params, attempt: Attempt) -> None:
    if attempt.exit_code is not None:
        container["exitCode"] = attempt.exit_code
    if attempt.reason is not None:
        container["reason"] = attempt.reason


def _retry(spec: JobSpec) -> Params:
    rules = []
    for rule in spec.retry.evaluate_on_exit:
        said: Params = {"action": rule.action}
        for member, pattern in (
            ("onStatusReason", rule.on_status_reason),
            ("onReason", rule.on_reason),
            ("onExitCode", rule.on_exit_code),
        ):
            if pattern is not None:
                said[member] = pattern
        rules.append(said)
    return {"attempts": spec.retry.attempts, "evaluateOnExit": rules}


def _waited_for(job: Job, spec: JobSpec) -> list[Dependency]:
    # The first child of a SEQUENTIAL array waits for no other.
    if job.index == 0:
        return [d for d in spec.depends_on if d.type != "SEQUENTIAL"]
    return list(spec.depends_on)


def _dependency(dependency: Dependency, job: Job) -> Params:
    """As submitted; an array child shows the child it waits for."""
    if dependency.type == "PLAIN":
        return {"jobId": dependency.job_id}
    out: Params = {"type": dependency.type}
    if job.index is not None:
        if dependency.type == "N_TO_N":
            out["jobId"] = child_id(dependency.job_id, job.index)
        else:
            out["jobId"] = child_id(job.root_id, job.index - 1)
    elif dependency.job_id:
        out["jobId"] = dependency.job_id
    return out

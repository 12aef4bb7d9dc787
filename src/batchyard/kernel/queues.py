"""Job queues: create, update, delete, and the asynchronous steps between.

A deleted queue first has its jobs ended by `StopQueue` (the life cycle's), portion by portion; the
last portion asks for the settling step here, which removes the queue once nothing is open.
"""

from typing import Final, Literal

from msgspec.structs import replace

from batchyard.kernel import compute_environments, limits
from batchyard.kernel.commands import (
    CreateJobQueue,
    DeleteJobQueue,
    SettleJobQueue,
    StopQueue,
    UpdateJobQueue,
)
from batchyard.kernel.decision import Draft
from batchyard.kernel.document import Document, Members
from batchyard.kernel.effects import FollowUp
from batchyard.kernel.environment import JobQueue
from batchyard.kernel.events import QueueRemoved, QueueSaved
from batchyard.kernel.faults import (
    Conflict,
    InvalidRequest,
    NotAllowedInState,
    NotFound,
    NotSupported,
)

HEALTHY: Final = "JobQueue Healthy"
_NOT_EXTRA: Final = frozenset(
    {"jobQueueName", "jobQueue", "state", "priority", "computeEnvironmentOrder", "tags"}
)
_MAX_ENVIRONMENTS: Final = 3


def create_job_queue(draft: Draft, command: CreateJobQueue) -> object:
    """Accept it as CREATING; it turns VALID in a step of its own."""
    doc = Document(members=command.request)
    name = limits.new_name(doc, "jobQueueName")
    priority = doc.integer("priority", 0)
    if priority is None:
        raise InvalidRequest("priority must be specified.", field="priority")
    state = limits.state(doc)
    tags = limits.tags(doc)
    _check_served(doc)
    _check_time_limits(doc)
    order = _order(draft, doc, attached=())
    if not order:
        raise InvalidRequest(
            "computeEnvironmentOrder must have 1 to 3 compute environments.",
            field="computeEnvironmentOrder",
        )
    if draft.queue(name) is not None:
        raise Conflict(
            "Object already exists",
            hint=f"There is a job queue {name}; choose another name or update it.",
        )
    queue = JobQueue(
        name=name,
        state=_state(state),
        status="CREATING",
        status_reason="",
        priority=priority,
        compute_environments=tuple(name for _, name in order),
        created_at_ms=draft.now_ms,
        tags=tags,
        extra={**doc.unknown(_NOT_EXTRA), **_order_members(draft, order)},
    )
    _save(draft, queue)
    return _reply(draft, queue)


def update_job_queue(draft: Draft, command: UpdateJobQueue) -> object:
    """Replace the members given.

    CHOSEN: an update during CREATING or UPDATING is taken, and the earlier step becomes stale
    (ADR 11).
    """
    doc = Document(members=command.request)
    said = doc.required("jobQueue")
    queue = find(draft, said)
    if queue is None:
        raise NotFound(
            f"JobQueue {said} does not exist.",
            hint="List them with: aws batch describe-job-queues",
        )
    if queue.status == "DELETING":
        raise NotAllowedInState(f"JobQueue {queue.name} is being deleted.")
    state = limits.state(doc)
    priority = doc.integer("priority", 0)
    _check_served(doc)
    _check_time_limits(doc)
    order = _order(draft, doc, attached=queue.compute_environments)
    changed = replace(
        queue,
        state=queue.state if state is None else _state(state),
        status="UPDATING",
        generation=queue.generation + 1,
        priority=queue.priority if priority is None else priority,
        extra={**queue.extra, **doc.unknown(_NOT_EXTRA)},
    )
    if order:
        changed = replace(
            changed,
            compute_environments=tuple(name for _, name in order),
            extra={**changed.extra, **_order_members(draft, order)},
        )
    _save(draft, changed)
    return _reply(draft, changed)


def delete_job_queue(draft: Draft, command: DeleteJobQueue) -> object:
    """DELETING; then its jobs end, and it goes.

    CHOSEN: an unknown name is no error, so that a second clean-up succeeds as the first did
    (ADR 11).
    """
    if not command.job_queue:
        raise InvalidRequest("jobQueue must be specified.", field="jobQueue")
    queue = find(draft, command.job_queue)
    if queue is None or queue.status == "DELETING":
        return {}
    if queue.status in ("CREATING", "UPDATING"):
        raise NotAllowedInState(
            "Cannot delete, resource is being modified",
            hint="Wait until describe-job-queues shows VALID.",
        )
    if queue.state == "ENABLED":
        raise NotAllowedInState(
            f"Cannot delete, job queue {queue.name} is ENABLED",
            hint=f"aws batch update-job-queue --job-queue {queue.name} --state DISABLED",
        )
    deleting = replace(queue, status="DELETING", status_reason="", generation=queue.generation + 1)
    draft.emit(QueueSaved(queue=deleting))
    draft.effect(FollowUp(command=StopQueue(queue=queue.name)))
    return {}


def settle_job_queue(draft: Draft, command: SettleJobQueue) -> object:
    """The step that a change announced; a stale or repeated one does nothing."""
    queue = draft.queue(command.name)
    if queue is None or queue.generation != command.generation:
        return None
    if queue.status == "DELETING":
        if not draft.view.open_jobs(queue.name, -1, 1):
            draft.emit(QueueRemoved(name=queue.name))
    elif queue.status in ("CREATING", "UPDATING"):
        draft.emit(QueueSaved(queue=replace(queue, status="VALID", status_reason=HEALTHY)))
    return None


def find(draft: Draft, name_or_arn: str) -> JobQueue | None:
    return draft.queue(limits.own_name(draft.view.realm, "job-queue", name_or_arn))


def _state(said: str | None) -> Literal["ENABLED", "DISABLED"]:
    return "DISABLED" if said == "DISABLED" else "ENABLED"


def _check_served(doc: Document) -> None:
    if doc.has("schedulingPolicyArn"):
        raise NotSupported(
            "Batchyard has no scheduling policies yet, so schedulingPolicyArn names none.",
            hint="Leave it out: the queue is first in, first out.",
        )
    if doc.sections("serviceEnvironmentOrder") or doc.text("jobQueueType") == "SAGEMAKER_TRAINING":
        raise NotSupported(
            "Batchyard has no service environments yet.",
            hint="Give computeEnvironmentOrder.",
        )


def _order(
    draft: Draft, doc: Document, *, attached: tuple[str, ...]
) -> tuple[tuple[int, str], ...]:
    """`(order, name)` of the compute environments, ascending; empty when the member is absent."""
    entries = doc.sections("computeEnvironmentOrder")
    if len(entries) > _MAX_ENVIRONMENTS:
        raise InvalidRequest(
            f"computeEnvironmentOrder can have at most {_MAX_ENVIRONMENTS} compute environments, "
            f"but has {len(entries)}.",
            field="computeEnvironmentOrder",
        )
    out: dict[int, str] = {}
    kinds: dict[str, str] = {}
    for entry in entries:
        position = entry.integer("order", 0)
        if position is None or position in out:
            raise InvalidRequest(
                f"{entry.at('order')} must be given and different for each compute environment.",
                field=entry.at("order"),
            )
        name, kind = _attachable(draft, entry, attached=attached)
        if name in out.values():
            raise InvalidRequest(
                f"computeEnvironmentOrder names {name} more than once.",
                field=entry.at("computeEnvironment"),
            )
        out[position] = name
        kinds.setdefault(kind, name)
    if len(kinds) > 1:
        mixed = ", ".join(f"{name} ({kind})" for kind, name in kinds.items())
        raise InvalidRequest(
            f"The compute environments of a job queue must be of one kind, but are {mixed}.",
            field="computeEnvironmentOrder",
        )
    return tuple(sorted(out.items()))


def _attachable(draft: Draft, entry: Document, *, attached: tuple[str, ...]) -> tuple[str, str]:
    """Name and kind of an environment that the queue may have."""
    said = entry.required("computeEnvironment")
    environment = compute_environments.find(draft, said)
    if environment is None:
        raise NotFound(
            f"Compute environment {said} does not exist.",
            hint="List them with: aws batch describe-compute-environments",
        )
    # AWS: an environment must be VALID to be associated; one that already is may be UPDATING.
    if environment.status != "VALID" and environment.name not in attached:
        raise NotAllowedInState(
            f"Compute environment {environment.name} is {environment.status}; "
            "only a VALID one can be associated with a job queue.",
            hint="Wait until describe-compute-environments shows VALID.",
        )
    return environment.name, compute_environments.capability(environment)


def _order_members(draft: Draft, order: tuple[tuple[int, str], ...]) -> Members:
    realm = draft.view.realm
    return {
        "computeEnvironmentOrder": [
            {"order": position, "computeEnvironment": realm.compute_environment(name)}
            for position, name in order
        ]
    }


def _check_time_limits(doc: Document) -> None:
    for action in doc.sections("jobStateTimeLimitActions"):
        action.required("reason")
        if action.choice("state", ("RUNNABLE",)) is None:
            raise InvalidRequest(f"{action.at('state')} must be RUNNABLE.")
        if action.integer("maxTimeSeconds", 600, 86_400) is None:
            raise InvalidRequest(f"{action.at('maxTimeSeconds')} must be specified.")
        if action.choice("action", ("CANCEL", "TERMINATE")) is None:
            raise InvalidRequest(f"{action.at('action')} must be specified.")


def _save(draft: Draft, queue: JobQueue) -> None:
    draft.emit(QueueSaved(queue=queue))
    step = SettleJobQueue(name=queue.name, generation=queue.generation)
    draft.effect(FollowUp(command=step))


def _reply(draft: Draft, queue: JobQueue) -> Members:
    return {
        "jobQueueName": queue.name,
        "jobQueueArn": draft.view.realm.job_queue(queue.name),
    }

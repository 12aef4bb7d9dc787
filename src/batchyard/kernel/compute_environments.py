"""Compute environments: create, update, delete, and the asynchronous steps between.

CREATING and UPDATING settle to VALID, DELETING to nothing; each step is a follow-up command that
names the generation it belongs to. Where capacity really comes from is not decided here.
"""

from typing import Final, Literal

from msgspec.structs import replace

from batchyard.kernel import limits
from batchyard.kernel.commands import (
    CreateComputeEnvironment,
    DeleteComputeEnvironment,
    SettleComputeEnvironment,
    UpdateComputeEnvironment,
)
from batchyard.kernel.compute_resources import check_new, merged
from batchyard.kernel.decision import Draft
from batchyard.kernel.document import Document, Members
from batchyard.kernel.effects import FollowUp
from batchyard.kernel.environment import ComputeEnvironment
from batchyard.kernel.events import ComputeEnvironmentRemoved, ComputeEnvironmentSaved
from batchyard.kernel.faults import Conflict, InvalidRequest, NotAllowedInState, NotFound
from batchyard.kernel.ids import Realm

HEALTHY: Final = "ComputeEnvironment Healthy"
_NOT_EXTRA: Final = frozenset(
    {
        "computeEnvironmentName",
        "computeEnvironment",
        "type",
        "state",
        "computeResources",
        "serviceRole",
        "tags",
    }
)


def create_compute_environment(draft: Draft, command: CreateComputeEnvironment) -> object:
    """Accept it as CREATING; it turns VALID in a step of its own."""
    doc = Document(members=command.request)
    name = limits.new_name(doc, "computeEnvironmentName")
    kind = doc.choice("type", ("MANAGED", "UNMANAGED"))
    if kind is None:
        raise InvalidRequest("type must be specified.", field="type")
    state = limits.state(doc)
    tags = limits.tags(doc)
    resources = doc.section("computeResources")
    if kind == "MANAGED":
        if resources is None:
            raise InvalidRequest(
                "computeResources must be provided for a MANAGED compute environment.",
                field="computeResources",
                hint="For a machine you own, type UNMANAGED needs none.",
            )
    elif resources is not None:
        raise InvalidRequest(
            "computeResources must not be provided for an UNMANAGED compute environment.",
            field="computeResources",
        )
    _check_unmanaged_vcpus(doc, kind)
    if draft.compute_environment(name) is not None:
        raise Conflict(
            "Object already exists",
            hint=f"There is a compute environment {name}; choose another name or update it.",
        )
    environment = ComputeEnvironment(
        name=name,
        type="MANAGED" if kind == "MANAGED" else "UNMANAGED",
        state=_state(state),
        status="CREATING",
        status_reason="",
        uuid=command.uuid,
        created_at_ms=draft.now_ms,
        compute_resources=check_new(resources) if resources is not None else None,
        service_role=doc.text("serviceRole") or "",
        tags=tags,
        extra=doc.unknown(_NOT_EXTRA),
    )
    _save(draft, environment)
    return _reply(draft, environment)


def update_compute_environment(draft: Draft, command: UpdateComputeEnvironment) -> object:
    """Merge what was given; what is absent stays.

    CHOSEN: an update during UPDATING is taken, and the earlier step becomes stale (ADR 11).
    """
    doc = Document(members=command.request)
    said = doc.required("computeEnvironment")
    environment = find(draft, said)
    if environment is None:
        raise NotFound(
            f"Compute environment {said} does not exist.",
            hint="List them with: aws batch describe-compute-environments",
        )
    if environment.status == "DELETING":
        raise NotAllowedInState(f"Compute environment {environment.name} is being deleted.")
    _check_unmanaged_vcpus(doc, environment.type)
    state = limits.state(doc)
    resources = environment.compute_resources
    changes = doc.section("computeResources")
    if changes is not None:
        if resources is None:
            raise InvalidRequest(
                "computeResources cannot be set on an UNMANAGED compute environment.",
                field="computeResources",
            )
        resources = merged(resources, changes)
    changed = replace(
        environment,
        state=environment.state if state is None else _state(state),
        status="UPDATING",
        generation=environment.generation + 1,
        compute_resources=resources,
        service_role=doc.text("serviceRole") or environment.service_role,
        extra=_merged_extra(environment, doc),
    )
    _save(draft, changed)
    return _reply(draft, changed)


def delete_compute_environment(draft: Draft, command: DeleteComputeEnvironment) -> object:
    """DELETING, then gone.

    CHOSEN: an unknown name is no error, so that a second clean-up succeeds as the first did
    (ADR 11).
    """
    if not command.compute_environment:
        raise InvalidRequest("computeEnvironment must be specified.", field="computeEnvironment")
    environment = find(draft, command.compute_environment)
    if environment is None or environment.status == "DELETING":
        return {}
    if environment.status in ("CREATING", "UPDATING"):
        raise NotAllowedInState(
            "Cannot delete, resource is being modified",
            hint="Wait until describe-compute-environments shows VALID.",
        )
    if environment.state == "ENABLED":
        raise NotAllowedInState(
            f"Cannot delete, compute environment {environment.name} is ENABLED",
            hint=f"aws batch update-compute-environment --compute-environment {environment.name} "
            "--state DISABLED",
        )
    if queues := draft.view.queues_of(environment.name):
        raise Conflict(
            "Cannot delete, found existing JobQueue relationship",
            hint=f"Detach or delete these job queues first: {', '.join(sorted(queues))}",
        )
    deleting = replace(
        environment, status="DELETING", status_reason="", generation=environment.generation + 1
    )
    _save(draft, deleting)
    return {}


def settle_compute_environment(draft: Draft, command: SettleComputeEnvironment) -> object:
    """The step that a change announced; a stale or repeated one does nothing."""
    environment = draft.compute_environment(command.name)
    if environment is None or environment.generation != command.generation:
        return None
    if environment.status == "DELETING":
        draft.emit(ComputeEnvironmentRemoved(name=environment.name))
    elif environment.status in ("CREATING", "UPDATING"):
        valid = replace(environment, status="VALID", status_reason=HEALTHY)
        draft.emit(ComputeEnvironmentSaved(compute_environment=valid))
    return None


def find(draft: Draft, name_or_arn: str) -> ComputeEnvironment | None:
    return draft.compute_environment(own_name(draft.view.realm, name_or_arn))


def own_name(realm: Realm, name_or_arn: str) -> str:
    return limits.own_name(realm, "compute-environment", name_or_arn)


def capability(environment: ComputeEnvironment) -> str:
    """Which platformCapabilities its jobs must have: EC2, FARGATE, MANAGED_INSTANCES or EKS."""
    if environment.extra.get("eksConfiguration") is not None:
        return "EKS"
    kind = str((environment.compute_resources or {}).get("type"))
    if kind.startswith("FARGATE"):
        return "FARGATE"
    return "MANAGED_INSTANCES" if kind == "ECS_MANAGED_INSTANCES" else "EC2"


def _state(said: str | None) -> Literal["ENABLED", "DISABLED"]:
    return "DISABLED" if said == "DISABLED" else "ENABLED"


def _merged_extra(environment: ComputeEnvironment, doc: Document) -> Members:
    extra = {**environment.extra, **doc.unknown(_NOT_EXTRA)}
    changes = doc.section("eksConfiguration")
    if changes is not None:
        current = environment.extra.get("eksConfiguration")
        if not isinstance(current, dict):
            raise InvalidRequest(
                f"eksConfiguration cannot be set on {environment.name}, which is not on EKS.",
                field="eksConfiguration",
                hint="Create a compute environment with eksConfiguration.",
            )
        # AWS: an update has the access entry alone; the cluster and its namespace stay.
        extra["eksConfiguration"] = {**current, **changes.members}
    return extra


def _check_unmanaged_vcpus(doc: Document, kind: str) -> None:
    vcpus = doc.integer("unmanagedvCpus", 0)
    if vcpus is not None and kind == "MANAGED":
        raise InvalidRequest(
            "unmanagedvCpus is for UNMANAGED compute environments only.", field="unmanagedvCpus"
        )


def _save(draft: Draft, environment: ComputeEnvironment) -> None:
    draft.emit(ComputeEnvironmentSaved(compute_environment=environment))
    step = SettleComputeEnvironment(name=environment.name, generation=environment.generation)
    draft.effect(FollowUp(command=step))


def _reply(draft: Draft, environment: ComputeEnvironment) -> Members:
    return {
        "computeEnvironmentName": environment.name,
        "computeEnvironmentArn": draft.view.realm.compute_environment(environment.name),
    }

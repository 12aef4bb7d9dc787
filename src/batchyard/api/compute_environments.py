"""Operations on compute environments."""

from typing import Final

from batchyard.api import paging
from batchyard.api.port import Handlers, Params, Yard, reply_of
from batchyard.kernel import compute_environments as rules
from batchyard.kernel.commands import (
    CreateComputeEnvironment,
    DeleteComputeEnvironment,
    UpdateComputeEnvironment,
)
from batchyard.kernel.document import Document
from batchyard.kernel.environment import ComputeEnvironment
from batchyard.kernel.ids import Realm

_DESCRIBE: Final = "DescribeComputeEnvironments"


def handlers(yard: Yard) -> Handlers:
    async def create(_context: object, params: Params) -> Params:
        return await reply_of(yard, CreateComputeEnvironment(request=params, uuid=yard.new_id()))

    async def update(_context: object, params: Params) -> Params:
        return await reply_of(yard, UpdateComputeEnvironment(request=params))

    async def delete(_context: object, params: Params) -> Params:
        said = Document(members=params).required("computeEnvironment")
        return await reply_of(yard, DeleteComputeEnvironment(compute_environment=said))

    async def describe(_context: object, params: Params) -> Params:
        doc = Document(members=params)
        paging.check_alone(doc, "computeEnvironments")
        found = await yard.queries.read(lambda reader: reader.compute_environments())
        names = [rules.own_name(yard.realm, n) for n in doc.texts("computeEnvironments")]
        page, token = paging.by_name(found, names, operation=_DESCRIBE, params=params)
        out: Params = {"computeEnvironments": [describe_environment(e, yard.realm) for e in page]}
        return out if token is None else {**out, "nextToken": token}

    return {
        ("batch", "CreateComputeEnvironment"): create,
        ("batch", "UpdateComputeEnvironment"): update,
        ("batch", "DeleteComputeEnvironment"): delete,
        ("batch", _DESCRIBE): describe,
    }


def describe_environment(environment: ComputeEnvironment, realm: Realm) -> Params:
    eks = rules.capability(environment) == "EKS"
    out: Params = {
        **environment.extra,
        "computeEnvironmentName": environment.name,
        "computeEnvironmentArn": realm.compute_environment(environment.name),
        "type": environment.type,
        "state": environment.state,
        "status": environment.status,
        "statusReason": environment.status_reason,
        "uuid": environment.uuid,
        "serviceRole": environment.service_role or _service_linked_role(realm),
        "containerOrchestrationType": "EKS" if eks else "ECS",
        "tags": environment.tags,
    }
    if not eks:
        out["ecsClusterArn"] = realm.arn("ecs", f"cluster/{environment.cluster}")
    if environment.compute_resources is not None:
        out["computeResources"] = environment.compute_resources
    return out


def _service_linked_role(realm: Realm) -> str:
    role = "role/aws-service-role/batch.amazonaws.com/AWSServiceRoleForBatch"
    return f"arn:{realm.partition}:iam::{realm.account}:{role}"

"""Operations on job definitions. What a definition may say is the kernel's."""

import re
from typing import Final, Literal

from batchyard.api import paging
from batchyard.api.port import Handlers, Params, Yard, reply_of
from batchyard.kernel import container, registration
from batchyard.kernel.commands import DeregisterJobDefinition, RegisterJobDefinition
from batchyard.kernel.definition import JobDefinition
from batchyard.kernel.document import Document
from batchyard.kernel.faults import InvalidRequest
from batchyard.kernel.ids import Realm
from batchyard.store.port import Reader

_DESCRIBE: Final = "DescribeJobDefinitions"
_KEY: Final = re.compile(r"[A-Za-z0-9_-]{1,128}:[0-9]{1,9}")


def handlers(yard: Yard) -> Handlers:
    async def register(_context: object, params: Params) -> Params:
        return await reply_of(yard, RegisterJobDefinition(request=params))

    async def deregister(_context: object, params: Params) -> Params:
        said = Document(members=params).required("jobDefinition")
        return await reply_of(yard, DeregisterJobDefinition(job_definition=said))

    async def describe(_context: object, params: Params) -> Params:
        doc = Document(members=params)
        _check(doc)
        return await yard.queries.read(lambda reader: _describe(reader, yard.realm, doc))

    return {
        ("batch", "RegisterJobDefinition"): register,
        ("batch", "DeregisterJobDefinition"): deregister,
        ("batch", _DESCRIBE): describe,
    }


def _check(doc: Document) -> None:
    paging.check_alone(doc, "jobDefinitions")
    doc.choice("status", ("ACTIVE", "INACTIVE"))
    if doc.texts("jobDefinitions"):
        for member in ("jobDefinitionName", "status", "nextToken"):
            if doc.has(member):
                raise InvalidRequest(
                    f"jobDefinitions and {member} cannot both be set.", field=member
                )


def _describe(reader: Reader, realm: Realm, doc: Document) -> Params:
    named = doc.texts("jobDefinitions")
    if named:
        found = [d for said in named for d in _named(reader, realm, said)]
        unique = {d.key: d for d in found}
        return {"jobDefinitions": [describe_definition(d, realm) for d in unique.values()]}
    limit = paging.page_size(doc)
    status: Literal["ACTIVE", "INACTIVE"] | None = None
    if doc.has("status"):
        status = "ACTIVE" if doc.text("status") == "ACTIVE" else "INACTIVE"
    page = reader.definitions(
        name=doc.text("jobDefinitionName") or None,
        status=status,
        after=paging.position(_DESCRIBE, doc.members, _KEY),
        limit=limit + 1,
    )
    out: Params = {"jobDefinitions": [describe_definition(d, realm) for d in page[:limit]]}
    if len(page) > limit:
        out["nextToken"] = paging.token(_DESCRIBE, doc.members, page[limit - 1].key)
    return out


def _named(reader: Reader, realm: Realm, said: str) -> list[JobDefinition]:
    """CHOSEN: an entry without a revision names all of them (ADR 11)."""
    name, revision = registration.specifier(realm, said)
    if revision is None:
        return reader.definitions(name=name, limit=paging.MAX_RESULTS)
    definition = reader.definition(f"{name}:{revision}")
    return [] if definition is None else [definition]


def describe_definition(definition: JobDefinition, realm: Realm) -> Params:
    """AWS: what was registered, with empty lists and maps filled in."""
    document = Document(members=definition.document)
    eks = registration.kind(definition) == "eks"
    out: Params = {
        "parameters": {},
        **definition.document,
        "jobDefinitionName": definition.name,
        "jobDefinitionArn": realm.job_definition(definition.name, definition.revision),
        "revision": definition.revision,
        "status": definition.status,
        "tags": definition.tags,
        "containerOrchestrationType": "EKS" if eks else "ECS",
    }
    retry = document.section("retryStrategy")
    if retry is not None:
        out["retryStrategy"] = {"evaluateOnExit": [], **retry.members}
    props = document.section("containerProperties")
    if props is not None:
        out["containerProperties"] = container.filled(props.members)
        if registration.capabilities(definition.document) == ["FARGATE"]:
            out["containerProperties"].setdefault(
                "fargatePlatformConfiguration", {"platformVersion": "LATEST"}
            )
    nodes = document.section("nodeProperties")
    if nodes is not None:
        groups = [_node_group(group) for group in nodes.sections("nodeRangeProperties")]
        out["nodeProperties"] = {**nodes.members, "nodeRangeProperties": groups}
    return out


def _node_group(group: Document) -> Params:
    props = group.section("container")
    if props is None:
        return group.members
    return {**group.members, "container": container.filled(props.members)}

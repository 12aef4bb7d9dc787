"""RegisterJobDefinition and DeregisterJobDefinition.

Every well-formed definition is stored, also of kinds this version cannot run yet: refusing those
is SubmitJob's part.
"""

import re
from typing import Final, Literal

import msgspec

from batchyard.kernel import container, limits, requirements
from batchyard.kernel.commands import DeregisterJobDefinition, RegisterJobDefinition
from batchyard.kernel.decision import Draft
from batchyard.kernel.definition import JobDefinition
from batchyard.kernel.document import Document, Members, wire_bytes
from batchyard.kernel.events import DefinitionSaved
from batchyard.kernel.faults import InvalidRequest, LimitExceeded, NotFound
from batchyard.kernel.ids import Realm
from batchyard.kernel.nodes import check_nodes

MAX_BYTES: Final = 24 * 1024
DefinitionKind = Literal["container", "ecs", "eks", "multinode"]
_FORMS: Final[tuple[tuple[str, DefinitionKind], ...]] = (
    ("containerProperties", "container"),
    ("ecsProperties", "ecs"),
    ("eksProperties", "eks"),
    ("nodeProperties", "multinode"),
)
_SPECIFIER: Final = re.compile(r"([A-Za-z0-9_-]{1,128})(?::([1-9][0-9]{0,8}))?")


def register_job_definition(draft: Draft, command: RegisterJobDefinition) -> object:
    """Store the next revision of the name.

    AWS: an identical definition still makes a new revision, and numbers are never used twice.
    """
    doc = Document(members=command.request)
    name = limits.new_name(doc, "jobDefinitionName")
    size = wire_bytes(command.request)
    if size > MAX_BYTES:
        raise LimitExceeded(
            f"JobDefinition size must be less than {MAX_BYTES} bytes, but is {size}.",
            hint="Move long scripts into the image or into a file that the job fetches.",
        )
    _check(doc)
    tags = limits.tags(doc)
    revision = draft.view.latest_revision(name) + 1
    document = {k: v for k, v in command.request.items() if k != "tags" and v is not None}
    props = document.get("containerProperties")
    if isinstance(props, dict):
        document["containerProperties"] = container.stored(props)
    definition = JobDefinition(
        name=name,
        revision=revision,
        document=document,
        created_at_ms=draft.now_ms,
        tags=tags,
    )
    draft.emit(DefinitionSaved(definition=definition))
    return {
        "jobDefinitionName": name,
        "jobDefinitionArn": draft.view.realm.job_definition(name, revision),
        "revision": revision,
    }


def deregister_job_definition(draft: Draft, command: DeregisterJobDefinition) -> object:
    """ACTIVE -> INACTIVE; jobs that were submitted with it go on. Doing it twice is no error."""
    if not command.job_definition:
        raise InvalidRequest("jobDefinition must be specified.", field="jobDefinition")
    name, revision = specifier(draft.view.realm, command.job_definition)
    if revision is None:
        raise InvalidRequest(
            f"jobDefinition must be name:revision or an ARN, but is '{command.job_definition}'.",
            field="jobDefinition",
            hint="Deregistering works on one revision at a time.",
        )
    definition = draft.view.definition(name, revision)
    if definition is None:
        raise NotFound(
            f"JobDefinition {command.job_definition} does not exist.",
            hint="List them with: aws batch describe-job-definitions",
        )
    if definition.status == "ACTIVE":
        inactive = msgspec.structs.replace(
            definition, status="INACTIVE", deregistered_at_ms=draft.now_ms
        )
        draft.emit(DefinitionSaved(definition=inactive))
    return {}


def specifier(realm: Realm, text: str) -> tuple[str, int | None]:
    """Name and revision of `name`, `name:revision` or an ARN of this yard with or without revision.

    Anything else comes back as a name that no definition can have.
    """
    match = _SPECIFIER.fullmatch(limits.own_name(realm, "job-definition", text))
    if match is None:
        return text, None
    return match[1], int(match[2]) if match[2] else None


def kind(definition: JobDefinition) -> DefinitionKind:
    """Which of the four forms of properties the definition has."""
    return next(kind for member, kind in _FORMS if definition.document.get(member) is not None)


def properties_member(kind: DefinitionKind) -> str:
    """Wire name of that form of properties."""
    return next(member for member, k in _FORMS if k == kind)


def capabilities(document: Members) -> list[str]:
    return Document(members=document).texts("platformCapabilities")


def _check(doc: Document) -> None:
    type_ = doc.choice("type", ("container", "multinode"))
    if type_ is None:
        raise InvalidRequest("type must be specified.", field="type")
    allowed = [m for m, _ in _FORMS if (m == "nodeProperties") == (type_ == "multinode")]
    given = [m for m, _ in _FORMS if doc.has(m)]
    if len(given) != 1 or given[0] not in allowed:
        raise InvalidRequest(
            f"A job definition of type {type_} needs {' or '.join(allowed)}, and only that; "
            f"{' and '.join(given) or 'none'} was given.",
            field=given[0] if given else allowed[0],
        )
    fargate = _is_fargate(doc)
    limits.retry_strategy(doc)
    limits.timeout_s(doc)
    limits.priority(doc, "schedulingPriority")
    doc.text_map("parameters")
    doc.flag("propagateTags")
    _check_properties(doc, fargate=fargate)


def _check_properties(doc: Document, *, fargate: bool) -> None:
    if props := doc.section("containerProperties"):
        container.check(props, fargate=fargate)
    elif ecs := doc.section("ecsProperties"):
        check_ecs(ecs)
    elif eks := doc.section("eksProperties"):
        _check_eks(eks)
    elif fargate:
        raise InvalidRequest("nodeProperties is not applicable for Fargate.")
    else:
        check_nodes(doc.inner("nodeProperties"))


def _is_fargate(doc: Document) -> bool:
    known = ("EC2", "FARGATE", "MANAGED_INSTANCES")
    given = doc.texts("platformCapabilities")
    for capability in given:
        if capability not in known:
            raise InvalidRequest(
                f"platformCapabilities must be {' or '.join(known)}, but has '{capability}'.",
                field="platformCapabilities",
            )
    if len(given) > 1:
        raise InvalidRequest(
            "platformCapabilities can have one entry only.", field="platformCapabilities"
        )
    return given == ["FARGATE"]


def check_ecs(ecs: Document) -> None:
    """One task with 1 to 10 uniquely named containers, at least one of them essential."""
    tasks = ecs.sections("taskProperties")
    if len(tasks) != 1:
        raise InvalidRequest(
            f"{ecs.at('taskProperties')} must have exactly 1 element, but has {len(tasks)}.",
            field=ecs.at("taskProperties"),
        )
    containers = tasks[0].sections("containers")
    _check_count(tasks[0], len(containers))
    names = [c.text("name") or f"#{i}" for i, c in enumerate(containers)]
    if len(set(names)) != len(names):
        raise InvalidRequest(
            f"{tasks[0].at('containers')} must have unique names, but has {', '.join(names)}."
        )
    for one in containers:
        one.required("image")
        container.check_environment(one)
        requirements.read(one)
    if all(c.flag("essential") is False for c in containers):
        raise InvalidRequest(
            f"{tasks[0].at('containers')}: at least one container must be essential."
        )


def _check_eks(eks: Document) -> None:
    pod = eks.section("podProperties")
    if pod is None:
        raise InvalidRequest(
            f"{eks.at('podProperties')} must be specified.", field=eks.at("podProperties")
        )
    containers = pod.sections("containers")
    _check_count(pod, len(containers))
    for one in containers + pod.sections("initContainers"):
        one.required("image")


def _check_count(doc: Document, containers: int) -> None:
    if not 1 <= containers <= 10:
        raise InvalidRequest(
            f"{doc.at('containers')} must have 1 to 10 containers, but has {containers}.",
            field=doc.at("containers"),
        )

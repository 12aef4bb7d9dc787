"""What SubmitJob asks for, merged with its definition and judged, before any life begins.

Looking up the jobs it depends on, and everything that happens to the job, is the life cycle's.
"""

from types import MappingProxyType
from typing import Final

import msgspec

from batchyard.kernel import container, limits, registration, requirements
from batchyard.kernel.compute_environments import capability
from batchyard.kernel.definition import JobDefinition
from batchyard.kernel.document import Document, Members, wire_bytes
from batchyard.kernel.environment import JobQueue
from batchyard.kernel.faults import (
    InvalidRequest,
    LimitExceeded,
    NotAllowedInState,
    NotFound,
    NotSupported,
)
from batchyard.kernel.ids import Realm
from batchyard.kernel.job import Dependency, DependencyType, JobSpec, RetryStrategy
from batchyard.kernel.resources import Shape
from batchyard.kernel.view import View

MAX_BYTES: Final = 30 * 1024
MAX_DEPENDENCIES: Final = 20
MAX_OVERRIDE_BYTES: Final = 8192
# OBSERVED: the variables that Batch injects count too, so that 7.6 kB of user data already fail.
_INJECTED_BYTES: Final = 512
_OVERRIDES: Final = MappingProxyType[str, registration.DefinitionKind](
    {
        "containerOverrides": "container",
        "ecsPropertiesOverride": "ecs",
        "eksPropertiesOverride": "eks",
        "nodeOverrides": "multinode",
    }
)
_KNOWN: Final = frozenset(
    {
        "jobName",
        "jobQueue",
        "jobDefinition",
        "arrayProperties",
        "dependsOn",
        "parameters",
        "retryStrategy",
        "timeout",
        "tags",
        "propagateTags",
        "shareIdentifier",
        "schedulingPriorityOverride",
        "consumableResourcePropertiesOverride",
        *_OVERRIDES,
    }
)


class Resolved(msgspec.Struct, frozen=True, kw_only=True):
    """Everything SubmitJob needs before the life cycle."""

    name: str
    queue: JobQueue
    definition: JobDefinition
    spec: JobSpec
    shape: Shape
    array_size: int | None = None
    tags: dict[str, str] = {}
    doomed: str | None = None
    """AWS accepts some jobs only to fail them before they start: the statusReason to end with."""


def resolve(view: View, request: Members) -> Resolved:
    """Judge a SubmitJob request against the queue and the definition it names.

    Raises:
        ClientFault: in AWS's words where they are known; nothing has changed then.
    """
    realm = view.realm
    doc = Document(members=request)
    name = _job_name(doc)
    size = wire_bytes(request)
    if size > MAX_BYTES:
        raise LimitExceeded(
            f"The SubmitJob request must be at most {MAX_BYTES} bytes, but has {size}.",
            hint="Let the job fetch long scripts or lists instead of carrying them.",
        )
    queue = find_queue(view, realm, doc.required("jobQueue"))
    definition = find_definition(view, realm, doc.required("jobDefinition"))
    _check_share(doc, queue)
    override = _check_kind(doc, definition)
    _check_platform(view, queue, definition)
    tags = limits.tags(doc)
    array_size = _array_size(doc)
    depends_on = _dependencies(doc, array=array_size is not None)
    base = Document(members=definition.document)
    asked = _Asked(
        definition=definition,
        definition_arn=realm.job_definition(definition.name, definition.revision),
        override=override,
        depends_on=depends_on,
    )
    spec, shape = _spec(doc, base, asked)
    return Resolved(
        name=name,
        queue=queue,
        definition=definition,
        spec=spec,
        shape=shape,
        array_size=array_size,
        tags=tags,
        doomed=_doom(override, spec, {**definition.tags, **tags}),
    )


def find_queue(view: View, realm: Realm, name_or_arn: str) -> JobQueue:
    """The queue, which must take jobs.

    CHOSEN: a queue that is UPDATING takes jobs, as the change does not concern them (ADR 11).
    """
    queue = view.queue(limits.own_name(realm, "job-queue", name_or_arn))
    if queue is None:
        raise NotFound(
            f"JobQueue {name_or_arn} not found.",
            hint="List them with: aws batch describe-job-queues",
        )
    if queue.status not in ("VALID", "UPDATING"):
        raise NotAllowedInState(
            f"JobQueue {queue.name} cannot take jobs while it is {queue.status}.",
            hint="Wait until describe-job-queues shows VALID.",
        )
    if queue.state == "DISABLED":
        raise NotAllowedInState(
            f"JobQueue {queue.name} is DISABLED and cannot take jobs.",
            hint=f"aws batch update-job-queue --job-queue {queue.name} --state ENABLED",
        )
    return queue


def find_definition(view: View, realm: Realm, said: str) -> JobDefinition:
    """AWS: without a revision, the latest ACTIVE one, which need not be the latest."""
    name, revision = registration.specifier(realm, said)
    if revision is None:
        found = view.latest_active(name)
    else:
        found = view.definition(name, revision)
    if found is None or found.status != "ACTIVE":
        raise NotFound(
            f"JobDefinition name {said} does not exist or is not in ACTIVE status",
            hint="List them with: aws batch describe-job-definitions --status ACTIVE",
        )
    return found


def _job_name(doc: Document) -> str:
    name = doc.required("jobName")
    if limits.JOB_NAME.fullmatch(name) is None:
        raise InvalidRequest(
            f"Job name should match valid pattern {limits.JOB_NAME.pattern}",
            field="jobName",
            hint="Up to 128 letters, digits, hyphens and underscores; the first is no hyphen.",
        )
    return name


def _check_share(doc: Document, queue: JobQueue) -> None:
    share = limits.share_identifier(doc)
    priority = limits.priority(doc, "schedulingPriorityOverride")
    if queue.extra.get("schedulingPolicyArn") is None:
        if share is not None or priority is not None:
            raise InvalidRequest(
                "Job with shareIdentifier or schedulingPriority can only be submitted to "
                "job queue with fair share scheduling policy.",
                field="shareIdentifier" if share is not None else "schedulingPriorityOverride",
            )
    elif share is None:
        raise InvalidRequest("shareIdentifier must be specified.", field="shareIdentifier")


def _check_kind(doc: Document, definition: JobDefinition) -> Document | None:
    """The containerOverrides, after refusing what does not fit or cannot be honoured yet."""
    given = [member for member in _OVERRIDES if doc.has(member)]
    if len(given) > 1:
        raise InvalidRequest(f"Only one of {' and '.join(given)} can be given.", field=given[1])
    kind = registration.kind(definition)
    if given and _OVERRIDES[given[0]] != kind:
        raise InvalidRequest(
            f"{given[0]} should match job definition, but {definition.key} has "
            f"{registration.properties_member(kind)}.",
            field=given[0],
        )
    if kind != "container":
        raise NotSupported(
            f"Batchyard cannot run jobs with {registration.properties_member(kind)} yet; "
            f"job definition {definition.key} has them.",
            hint="Use a job definition of type container with containerProperties.",
        )
    _check_served(definition)
    if doc.has("consumableResourcePropertiesOverride"):
        raise _consumables(definition)
    return doc.section("containerOverrides")


def _check_served(definition: JobDefinition) -> None:
    """A job must not run without something it was promised."""
    base = Document(members=definition.document)
    consumables = base.section("consumableResourceProperties")
    if consumables is not None and consumables.sections("consumableResourceList"):
        raise _consumables(definition)
    props = base.inner("containerProperties")
    if props.sections("secrets"):
        raise NotSupported(
            f"Batchyard cannot fetch secrets yet; job definition {definition.key} names some.",
            hint="Pass the values in containerOverrides.environment, or mount a file.",
        )
    for volume in props.sections("volumes"):
        for member in ("efsVolumeConfiguration", "s3filesVolumeConfiguration"):
            if volume.has(member):
                raise NotSupported(
                    f"Batchyard cannot mount {member} yet; job definition {definition.key} "
                    f"has it on volume '{volume.text('name')}'.",
                    hint="Use a volume with host.sourcePath.",
                )


def _consumables(definition: JobDefinition) -> NotSupported:
    return NotSupported(
        f"Batchyard has no consumable resources yet; the job would run without them "
        f"(job definition {definition.key}).",
        hint="Submit with a job definition without consumableResourceProperties.",
    )


def _check_platform(view: View, queue: JobQueue, definition: JobDefinition) -> None:
    wanted = registration.capabilities(definition.document) or ["EC2"]
    kinds = {
        capability(environment)
        for name in queue.compute_environments
        if (environment := view.compute_environment(name)) is not None
    }
    if kinds and wanted[0] not in kinds:
        raise InvalidRequest(
            "Job Queue is attached to Compute Environment that can not run Jobs with "
            f"capability {wanted[0]}",
            field="jobDefinition",
        )
    if wanted[0] != "EC2":
        raise NotSupported(
            f"Batchyard cannot run jobs with capability {wanted[0]} yet; job definition "
            f"{definition.key} asks for it.",
            hint="Register a revision with platformCapabilities EC2.",
        )


def _array_size(doc: Document) -> int | None:
    """None for a single job. OBSERVED: clients send `arrayProperties: {}` with every job."""
    section = doc.section("arrayProperties")
    return None if section is None else section.integer("size", 2, 10_000)


def _dependencies(doc: Document, *, array: bool) -> tuple[Dependency, ...]:
    entries = doc.sections("dependsOn")
    if len(entries) > MAX_DEPENDENCIES:
        raise LimitExceeded(
            f"Job cannot have more than {MAX_DEPENDENCIES} dependencies",
            hint="Let a small job wait for some of them, and depend on that job.",
        )
    # CHOSEN: an entry given twice counts once (ADR 11).
    return tuple(dict.fromkeys(_dependency(entry, array=array) for entry in entries))


def _dependency(entry: Document, *, array: bool) -> Dependency:
    said = entry.choice("type", ("N_TO_N", "SEQUENTIAL"))
    job_id = entry.text("jobId") or ""
    if said is None:
        return Dependency(job_id=entry.required("jobId"))
    kind: DependencyType = "N_TO_N" if said == "N_TO_N" else "SEQUENTIAL"
    if not array:
        raise InvalidRequest(
            f"{entry.at('type')} {said} is for array jobs only.",
            field=entry.at("type"),
            hint="Give arrayProperties.size, or leave out the type.",
        )
    if kind == "SEQUENTIAL" and job_id:
        raise InvalidRequest(
            f"{entry.path}: a SEQUENTIAL dependency has no jobId; each child waits for the one "
            "before it.",
            field=entry.at("jobId"),
        )
    if kind == "N_TO_N" and not job_id:
        raise InvalidRequest(
            f"{entry.path}: an N_TO_N dependency needs the jobId of another array job.",
            field=entry.at("jobId"),
        )
    return Dependency(job_id=job_id, type=kind)


class _Asked(msgspec.Struct, frozen=True, kw_only=True):
    """Parts of a submission that were judged before its spec is put together."""

    definition: JobDefinition
    definition_arn: str
    override: Document | None
    depends_on: tuple[Dependency, ...]


def _spec(doc: Document, base: Document, asked: _Asked) -> tuple[JobSpec, Shape]:
    props = base.inner("containerProperties")
    members, demand = container.overridden(props, asked.override)
    shape = requirements.shape(demand)
    parameters = base.text_map("parameters") | doc.text_map("parameters")
    command = Document(members=members).texts("command")
    members["command"] = container.substituted(command, parameters)
    flags = (doc.flag("propagateTags"), base.flag("propagateTags"))
    timeouts = (limits.timeout_s(doc), limits.timeout_s(base))
    priorities = (
        limits.priority(doc, "schedulingPriorityOverride"),
        limits.priority(base, "schedulingPriority"),
    )
    spec = JobSpec(
        definition_arn=asked.definition_arn,
        definition_name=asked.definition.name,
        depends_on=asked.depends_on,
        container=members,
        parameters=parameters,
        # AWS: a submitted strategy replaces the definition's as a whole.
        retry=limits.retry_strategy(doc) or limits.retry_strategy(base) or RetryStrategy(),
        timeout_s=next((t for t in timeouts if t is not None), None),
        propagate_tags=next((f for f in flags if f is not None), None),
        platform_capabilities=tuple(base.texts("platformCapabilities")),
        scheduling_priority=next((p for p in priorities if p is not None), None),
        share_identifier=doc.text("shareIdentifier"),
        extra=doc.unknown(_KNOWN),
    )
    return spec, shape


def _doom(override: Document | None, spec: JobSpec, tags: dict[str, str]) -> str | None:
    # OBSERVED: AWS accepts overrides beyond ECS's limit and fails the job when it is dispatched.
    if override is not None:
        members = dict(override.members)
        if override.has("command"):
            members["command"] = spec.container["command"]
        if wire_bytes(members) + _INJECTED_BYTES > MAX_OVERRIDE_BYTES:
            return f"Container Overrides length must be at most {MAX_OVERRIDE_BYTES}"
    # AWS: "if the total number of combined tags is over 50, the job is moved to FAILED".
    if spec.propagate_tags and len(tags) > limits.MAX_TAGS:
        return f"The job and its definition have {len(tags)} tags together; at most 50 propagate."
    return None

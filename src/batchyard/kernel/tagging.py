"""Tags of queues, compute environments, job definitions and jobs."""

from collections.abc import Callable
from typing import Literal, assert_never

import msgspec
from msgspec.structs import replace

from batchyard.kernel import limits, registration
from batchyard.kernel.commands import TagResource, UntagResource
from batchyard.kernel.decision import Draft
from batchyard.kernel.events import (
    ComputeEnvironmentSaved,
    DefinitionSaved,
    Event,
    JobTagged,
    QueueSaved,
)
from batchyard.kernel.faults import InvalidRequest, NotFound
from batchyard.kernel.ids import Realm

Tags = dict[str, str]
TaggedKind = Literal["job-queue", "compute-environment", "job-definition", "job"]
_KINDS: tuple[TaggedKind, ...] = ("job-queue", "compute-environment", "job-definition", "job")


class Tagged(msgspec.Struct, frozen=True, kw_only=True):
    """Which resource an ARN names: for definitions `name` is `name:revision`."""

    kind: TaggedKind
    name: str


def parse_arn(realm: Realm, arn: str) -> Tagged:
    """The taggable resource of this yard that the ARN names; it may not exist.

    Raises:
        InvalidRequest: not an ARN of a taggable resource.
        NotFound: an ARN of another yard.
    """
    parts = arn.split(":", 5)
    if len(parts) != 6 or parts[0] != "arn" or parts[2] != "batch" or "/" not in parts[5]:
        raise InvalidRequest(
            f"'{arn}' is not the ARN of a Batch resource.",
            field="resourceArn",
            hint="An ARN looks like " + realm.job_queue("name"),
        )
    said, _, name = parts[5].partition("/")
    kind = next((k for k in _KINDS if k == said), None)
    if kind is None:
        raise InvalidRequest(f"Resources of type {said} cannot be tagged.", field="resourceArn")
    if kind == "job" and (":" in name or "#" in name):
        raise InvalidRequest(
            "Tagging is not supported for children of array jobs and nodes of multi-node jobs.",
            field="resourceArn",
            hint="Tag the parent job.",
        )
    if not arn.startswith(realm.arn("batch", "")):
        raise _unknown(arn)
    return Tagged(kind=kind, name=name)


def tag_resource(draft: Draft, command: TagResource) -> object:
    """Add or replace these tags; others stay."""
    limits.check_tags(command.tags, "tags")

    def added(current: Tags) -> Tags:
        tags = {**current, **command.tags}
        limits.check_tags(tags, "tags")
        return tags

    _change(draft, command.arn, added)
    return {}


def untag_resource(draft: Draft, command: UntagResource) -> object:
    """Remove these keys; keys that are not there are no error."""

    def removed(current: Tags) -> Tags:
        return {k: v for k, v in current.items() if k not in command.keys}

    _change(draft, command.arn, removed)
    return {}


def _change(draft: Draft, arn: str, change: Callable[[Tags], Tags]) -> None:
    event = _changed(draft, parse_arn(draft.view.realm, arn), change)
    if event is None:
        raise _unknown(arn)
    draft.emit(event)


def _changed(draft: Draft, tagged: Tagged, change: Callable[[Tags], Tags]) -> Event | None:
    match tagged.kind:
        case "job-queue":
            queue = draft.queue(tagged.name)
            if queue is not None:
                return QueueSaved(queue=replace(queue, tags=change(queue.tags)))
        case "compute-environment":
            environment = draft.compute_environment(tagged.name)
            if environment is not None:
                changed = replace(environment, tags=change(environment.tags))
                return ComputeEnvironmentSaved(compute_environment=changed)
        case "job-definition":
            name, revision = registration.specifier(draft.view.realm, tagged.name)
            definition = draft.view.definition(name, revision) if revision is not None else None
            if definition is not None:
                return DefinitionSaved(definition=replace(definition, tags=change(definition.tags)))
        case "job":
            job = draft.job(tagged.name)
            if job is not None:
                return JobTagged(job_id=job.job_id, tags=change(job.tags))
        case _:
            assert_never(tagged.kind)
    return None


def _unknown(arn: str) -> NotFound:
    return NotFound(
        f"Resource {arn} does not exist.", hint="Check the ARN with a describe operation."
    )

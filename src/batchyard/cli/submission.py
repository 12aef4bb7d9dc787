"""From the options of `submit` to AWS requests. Pure, except for looking definitions up."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from batchyard.cli.client import Client, Document
from batchyard.cli.faults import UsageFault
from batchyard.cli.jobs import list_definitions, missing_name

DEFAULT_VCPUS: Final = "1"
DEFAULT_MEMORY_MIB: Final = 1024


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What was asked for on the command line; None keeps what the definition says."""

    vcpus: str | None = None
    memory_mib: int | None = None
    gpus: int | None = None

    def requirements(self) -> list[dict[str, str]]:
        asked = (
            ("VCPU", self.vcpus),
            ("MEMORY", self.memory_mib),
            ("GPU", self.gpus),
        )
        return [{"type": kind, "value": str(value)} for kind, value in asked if value is not None]


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """The definition to submit: one that exists, or a request that registers it first."""

    definition: str
    registration: Document | None = None
    is_image: bool = False


def choose_definition(
    client: Client,
    what: str,
    *,
    has_command: bool,
    mounts: Sequence[tuple[str, str, bool]],
) -> Chosen:
    """Decide whether `what` is a definition or an image, and reuse an identical definition.

    CHOSEN: an ACTIVE definition of that name always wins; an image must look like one (it has a
    `/`, `:` or `@`) or come with a command, so that a misspelt definition is an error and not a
    failed pull ten minutes later (ADR 11).

    Raises:
        Missing: neither a definition of that name nor an image.
        UsageFault: --mount with an existing definition, which already fixed its volumes.
    """
    if what.startswith("arn:"):
        _refuse_mounts(what, mounts)
        return Chosen(definition=what)
    name, _, revision = what.partition(":")
    if re.fullmatch(r"[A-Za-z0-9_-]{1,128}", name) and (not revision or revision.isdigit()):
        known = list_definitions(client, {"jobDefinitionName": name, "status": "ACTIVE"})
        if any(not revision or str(found["revision"]) == revision for found in known):
            _refuse_mounts(what, mounts)
            return Chosen(definition=what)
        if known and revision:
            raise missing_name(
                "job definition",
                what,
                known=(f"{name}:{found['revision']}" for found in known),
                listing=f"batchyard jobdef ls {name}",
            )
    if not has_command and not any(char in what for char in "/:@"):
        names = {
            found["jobDefinitionName"] for found in list_definitions(client, {"status": "ACTIVE"})
        }
        fault = missing_name("job definition", what, known=names, listing="batchyard jobdef ls")
        fault.hint += f"; to run it as an image: batchyard submit {what} -- COMMAND"
        raise fault
    registration = definition_for_image(what, mounts=mounts)
    same = find_same(client, registration)
    if same is not None:
        return Chosen(definition=same, is_image=True)
    return Chosen(
        definition=registration["jobDefinitionName"], registration=registration, is_image=True
    )


def definition_for_image(image: str, *, mounts: Sequence[tuple[str, str, bool]]) -> Document:
    """A RegisterJobDefinition request that holds only what an override cannot say."""
    properties: Document = {
        "image": image,
        "resourceRequirements": [
            {"type": "VCPU", "value": DEFAULT_VCPUS},
            {"type": "MEMORY", "value": str(DEFAULT_MEMORY_MIB)},
        ],
    }
    if mounts:
        properties |= volumes_and_mounts(mounts)
    return {
        "jobDefinitionName": name_from_image(image),
        "type": "container",
        "containerProperties": properties,
    }


def volumes_and_mounts(mounts: Sequence[tuple[str, str, bool]]) -> Document:
    return {
        "volumes": [
            {"name": f"mount-{number}", "host": {"sourcePath": source}}
            for number, (source, _, _) in enumerate(mounts)
        ],
        "mountPoints": [
            {"sourceVolume": f"mount-{number}", "containerPath": path, "readOnly": read_only}
            for number, (_, path, read_only) in enumerate(mounts)
        ],
    }


def name_from_image(image: str) -> str:
    """`quay.io/biocontainers/samtools:1.21` -> `samtools-1-21`, within AWS's alphabet."""
    last = image.split("@", 1)[0].rstrip("/").rsplit("/", 1)[-1]
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", last).strip("-_")
    return name[:128] or "image"


def find_same(client: Client, registration: Document) -> str | None:
    """`name:revision` of an ACTIVE definition that says exactly what `registration` says."""
    name = registration["jobDefinitionName"]
    wanted = _substance(registration["containerProperties"])
    same = [
        int(found["revision"])
        for found in list_definitions(client, {"jobDefinitionName": name, "status": "ACTIVE"})
        if found.get("type") == "container"
        and not any(found.get(key) for key in ("parameters", "retryStrategy", "timeout"))
        and _substance(found.get("containerProperties") or {}) == wanted
    ]
    return f"{name}:{max(same)}" if same else None


def submit_request(
    *,
    base: Document,
    definition: str | None,
    name: str | None,
    queue: str | None,
    command: Sequence[str],
    environment: Sequence[dict[str, str]],
    resources: Resources,
    array_size: int | None,
    depends_on: Sequence[dict[str, str]],
    attempts: int | None,
    timeout_s: int | None,
    tags: dict[str, str],
    parameters: dict[str, str],
) -> Document:
    """A SubmitJob request: `base` (from --json) with every given option laid over it."""
    request = dict(base)
    if definition is not None:
        request["jobDefinition"] = definition
    if name is not None:
        request["jobName"] = name
    if queue is not None:
        request["jobQueue"] = queue
    overrides: dict[str, Any] = dict(request.get("containerOverrides") or {})
    if command:
        overrides["command"] = list(command)
    if environment:
        overrides["environment"] = [*overrides.get("environment", []), *environment]
    if resources.requirements():
        asked = {entry["type"] for entry in resources.requirements()}
        kept = [e for e in overrides.get("resourceRequirements", []) if e.get("type") not in asked]
        overrides["resourceRequirements"] = [*kept, *resources.requirements()]
    if overrides:
        request["containerOverrides"] = overrides
    if array_size is not None:
        request["arrayProperties"] = {"size": array_size}
    if depends_on:
        request["dependsOn"] = [*request.get("dependsOn", []), *depends_on]
    if attempts is not None:
        request["retryStrategy"] = {**request.get("retryStrategy", {}), "attempts": attempts}
    if timeout_s is not None:
        request["timeout"] = {"attemptDurationSeconds": timeout_s}
    if tags:
        request["tags"] = {**request.get("tags", {}), **tags}
    if parameters:
        request["parameters"] = {**request.get("parameters", {}), **parameters}
    for member, option in (("jobDefinition", "IMAGE or DEFINITION"), ("jobQueue", "--queue")):
        if not request.get(member):
            raise UsageFault(
                f"the request has no {member}",
                hint=f"give {option}, or put {member} into the --json file",
            )
    request.setdefault("jobName", job_name_from(str(request["jobDefinition"])))
    return request


def job_name_from(definition: str) -> str:
    """A job name from a definition's name, ARN or `name:revision`."""
    last = definition.rsplit("/", 1)[-1].split(":", 1)[0]
    # AWS: a job name starts with a letter or digit, unlike a definition's.
    return re.sub(r"^[^A-Za-z0-9]+", "", last)[:128] or "job"


def _refuse_mounts(what: str, mounts: Sequence[tuple[str, str, bool]]) -> None:
    if mounts:
        raise UsageFault(
            f"--mount cannot change the job definition {what!r}; AWS fixes volumes at registration",
            hint="register another: batchyard jobdef register NAME --image IMAGE --mount SRC:DST",
        )


def _substance(properties: Document) -> Document:
    """Container properties without what a server adds to an answer: empty members, legacy zeros."""
    found: Document = {}
    for key, value in properties.items():
        if value in (None, [], {}, "", False) or (key in ("vcpus", "memory") and value == 0):
            continue
        found[key] = value
    for key, order in (("resourceRequirements", "type"), ("volumes", "name")):
        if key in found:
            found[key] = sorted(found[key], key=lambda entry: str(entry.get(order)))
    if "mountPoints" in found:
        # AWS: readOnly left out means false.
        found["mountPoints"] = [{"readOnly": False, **entry} for entry in found["mountPoints"]]
    return found

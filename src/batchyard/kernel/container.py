"""Container properties: what a definition may say, and what a submission changes in them.

Both forms stay wire documents, so that members this version does not know come back untouched.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Final

from batchyard.kernel import requirements
from batchyard.kernel.document import Document, Members
from batchyard.kernel.faults import InvalidRequest
from batchyard.kernel.requirements import Requirements

_LISTS: Final = (
    "command",
    "environment",
    "mountPoints",
    "resourceRequirements",
    "secrets",
    "ulimits",
    "volumes",
)

# OBSERVED: AWS quotes the pattern of a bare name in its refusal; `uid:gid` works all the same.
_USER: Final = re.compile(r"[a-z0-9_][a-z0-9_-]{0,30}(:[a-z0-9_][a-z0-9_-]{0,30})?")
_REFERENCE: Final = re.compile(r"Ref::([A-Za-z0-9_-]+)")
_NOT_FARGATE: Final = ("ulimits", "vcpus", "memory", "instanceType")
_NOT_FARGATE_LINUX: Final = ("devices", "sharedMemorySize", "tmpfs", "maxSwap", "swappiness")
_EC2_HAS_NO: Final = ("networkConfiguration", "fargatePlatformConfiguration", "ephemeralStorage")


def check(props: Document, *, fargate: bool) -> None:
    """Judge the containerProperties of a definition.

    Raises:
        InvalidRequest: with AWS's own words where they are known.
    """
    props.required("image")
    asked = requirements.read(props)
    if fargate:
        _check_fargate(props)
    else:
        for member in _EC2_HAS_NO:
            if props.has(member):
                raise InvalidRequest(f"{member} not applicable for EC2.", field=props.at(member))
    requirements.shape(asked, fargate=fargate)
    props.texts("command")
    check_environment(props)
    _check_user(props)
    _check_volumes(props)
    _check_ulimits(props)
    _check_linux(props)
    for member in ("privileged", "readonlyRootFilesystem", "enableExecuteCommand"):
        props.flag(member)
    for member in ("jobRoleArn", "executionRoleArn", "instanceType"):
        props.text(member)


def check_environment(doc: Document) -> dict[str, str]:
    """Name to value, in order; a name given twice keeps its last value."""
    out: dict[str, str] = {}
    for entry in doc.sections("environment"):
        name = entry.required("name")
        # AWS: the prefix belongs to the variables that Batch sets itself.
        if name.startswith("AWS_BATCH"):
            raise InvalidRequest(
                f"Environment variable names cannot start with AWS_BATCH, but '{name}' does.",
                field=entry.at("name"),
            )
        out[name] = entry.text("value") or ""
    return out


def stored(members: Members) -> Members:
    """containerProperties as AWS keeps them: variables with an empty value are dropped."""
    if not members.get("environment"):
        return members
    doc = Document(members=members)
    kept = [e.members for e in doc.sections("environment") if e.text("value")]
    return {**members, "environment": kept}


def overridden(base: Document, override: Document | None) -> tuple[Members, Requirements]:
    """A job's container before substitution, in the shape of ContainerDetail, and its demand."""
    out = {k: v for k, v in base.members.items() if v is not None}
    asked = requirements.read(base)
    environment = check_environment(base)
    if override is not None:
        asked = requirements.merge(asked, requirements.read(override))
        environment |= check_environment(override)
        if override.has("command"):
            command = override.texts("command")
            if "" in command:
                raise InvalidRequest(
                    "The command of containerOverrides cannot contain an empty string.",
                    field=override.at("command"),
                )
            out["command"] = command
    else:
        asked = requirements.merge(asked, Requirements())
    out.pop("vcpus", None)
    out.pop("memory", None)
    out |= asked.members()
    out["environment"] = [{"name": k, "value": v} for k, v in environment.items()]
    return {**filled(out), "networkInterfaces": []}, asked


def filled(members: Members) -> Members:
    """containerProperties as AWS answers them: every list is there, even when it is empty."""
    out: Members = {**{member: [] for member in _LISTS}, **members}
    linux = members.get("linuxParameters")
    if isinstance(linux, dict):
        out["linuxParameters"] = {
            **linux,
            "devices": _each(linux.get("devices"), "permissions"),
            "tmpfs": _each(linux.get("tmpfs"), "mountOptions"),
        }
    logging = members.get("logConfiguration")
    if isinstance(logging, dict):
        out["logConfiguration"] = {"options": {}, "secretOptions": [], **logging}
    return out


def _each(entries: object, member: str) -> list[object]:
    """The entries of a list, each with that list of its own."""
    if not isinstance(entries, list):
        return []
    return [{member: [], **entry} if isinstance(entry, dict) else entry for entry in entries]


def substituted(command: list[str], parameters: Mapping[str, str]) -> list[str]:
    """Replace every `Ref::name` by the parameter of that name.

    CHOSEN: AWS documents references as whole arguments; anywhere inside an argument works too
    (ADR 11).
    """

    def value(match: re.Match[str]) -> str:
        name = match[1]
        if name not in parameters:
            raise InvalidRequest(
                f"Unable to substitute value. No parameter found for reference {name}",
                field="parameters",
                hint=f"Give a default in the job definition's parameters, or submit {name}=....",
            )
        return parameters[name]

    return [_REFERENCE.sub(value, argument) for argument in command]


def _check_user(props: Document) -> None:
    user = props.text("user")
    if user and _USER.fullmatch(user) is None:
        raise InvalidRequest(
            f"User '{user}' does not match regex '^([a-z0-9_][a-z0-9_-]{{0,30}})$'",
            field=props.at("user"),
        )


def _check_volumes(props: Document) -> None:
    names = set()
    for volume in props.sections("volumes"):
        host = volume.section("host")
        if host is not None:
            host.text("sourcePath")
        if name := volume.text("name"):
            if name in names:
                raise InvalidRequest(
                    f"{props.at('volumes')} names '{name}' more than once.", field=volume.at("name")
                )
            names.add(name)
    for mount in props.sections("mountPoints"):
        mount.flag("readOnly")
        path = mount.required("containerPath")
        if not path.startswith("/"):
            raise InvalidRequest(
                f"{mount.at('containerPath')} must be an absolute path, but is '{path}'.",
                field=mount.at("containerPath"),
            )
        source = mount.text("sourceVolume")
        if source is not None and source not in names:
            raise InvalidRequest(
                f"{mount.at('sourceVolume')} is '{source}', but volumes has none of that name.",
                field=mount.at("sourceVolume"),
                hint=f"Add a volume named '{source}', or correct the mount point.",
            )


def _check_ulimits(props: Document) -> None:
    for limit in props.sections("ulimits"):
        name = limit.required("name")
        soft, hard = limit.integer("softLimit", -1), limit.integer("hardLimit", -1)
        if soft is None or hard is None:
            raise InvalidRequest(
                f"{limit.path} needs softLimit and hardLimit.", field=limit.at("softLimit")
            )
        if hard != -1 and (soft > hard or soft == -1):
            raise InvalidRequest(
                f"ulimit '{name}': softLimit {soft} is above hardLimit {hard}.",
                field=limit.at("softLimit"),
            )


def _check_linux(props: Document) -> None:
    linux = props.section("linuxParameters")
    if linux is None:
        return
    linux.flag("initProcessEnabled")
    linux.integer("sharedMemorySize", 1)
    linux.integer("maxSwap", 0)
    linux.integer("swappiness", 0, 100)
    for device in linux.sections("devices"):
        device.required("hostPath")
        device.text("containerPath")
        device.texts("permissions")
    for mount in linux.sections("tmpfs"):
        mount.required("containerPath")
        if mount.integer("size", 1) is None:
            raise InvalidRequest(f"{mount.at('size')} must be specified.", field=mount.at("size"))


def _check_fargate(props: Document) -> None:
    if props.flag("privileged"):
        raise InvalidRequest(
            "Fargate requires that the 'privileged' setting be 'false' at the container level.",
            field=props.at("privileged"),
        )
    for path in _forbidden_on_fargate(props):
        member = path.rpartition(".")[2]
        instead = " Use resource requirements instead." if member in ("vcpus", "memory") else ""
        raise InvalidRequest(f"{member} is not applicable for Fargate.{instead}", field=path)
    props.required("executionRoleArn")


def _forbidden_on_fargate(props: Document) -> Iterator[str]:
    yield from (props.at(m) for m in _NOT_FARGATE if props.members.get(m))
    linux = props.section("linuxParameters")
    if linux is not None:
        yield from (linux.at(m) for m in _NOT_FARGATE_LINUX if linux.members.get(m))
    for volume in props.sections("volumes"):
        host = volume.section("host")
        if host is not None and host.text("sourcePath"):
            yield host.at("sourcePath")

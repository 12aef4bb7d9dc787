"""`jobdef ls | show | register`."""

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from batchyard.cli.arguments import environment, memory_mib, mount, pairs, read_request, vcpus_text
from batchyard.cli.client import Client, Document
from batchyard.cli.faults import UsageFault
from batchyard.cli.jobs import list_definitions, missing_name
from batchyard.cli.options import ANYWHERE, DryRun, Output, Targeted
from batchyard.cli.output import note, print_json, print_rows
from batchyard.cli.submission import (
    DEFAULT_MEMORY_MIB,
    DEFAULT_VCPUS,
    Resources,
    volumes_and_mounts,
)


def ls(
    name: Annotated[str | None, Parameter(help="Only revisions of this definition.")] = None,
    /,
    *,
    every: Annotated[
        bool, Parameter(name=["--all", "-a"], help="Also deregistered (INACTIVE) ones.")
    ] = False,
    output: Output = "table",
    target: Targeted = ANYWHERE,
) -> None:
    """List job definitions."""
    request: Document = {} if every else {"status": "ACTIVE"}
    if name is not None:
        request["jobDefinitionName"] = name
    with target.client() as client:
        found = list_definitions(client, request)
    found.sort(key=lambda one: (str(one["jobDefinitionName"]), -int(one["revision"])))
    containers = [one.get("containerProperties") or {} for one in found]
    columns = {
        "DEFINITION": [f"{one['jobDefinitionName']}:{one['revision']}" for one in found],
        "STATUS": [str(one.get("status", "")) for one in found],
        "TYPE": [str(one.get("type", "")) for one in found],
        "NEEDS": [_needs(container) for container in containers],
        "IMAGE": [str(container.get("image", "")) for container in containers],
    }
    print_rows(
        found,
        output=output,
        columns=columns,
        id_key="jobDefinitionArn",
        empty="no job definitions; make one: batchyard jobdef register NAME --image IMAGE",
    )


def show(
    name: Annotated[str, Parameter(help="NAME (its newest revision), NAME:REVISION or ARN.")],
    /,
    *,
    output: Output = "json",
    target: Targeted = ANYWHERE,
) -> None:
    """Show one job definition, as the JSON that AWS would show."""
    with target.client() as client:
        found = _find(client, name)
    if output == "table":
        output = "json"
    if output == "json":
        print_json(found)
    else:
        print_rows([found], output=output, columns={}, id_key="jobDefinitionArn", empty="")


def register(
    name: Annotated[str | None, Parameter(help="Name of the definition.")] = None,
    /,
    *command: Annotated[str, Parameter(help="Command and arguments, best after --.")],
    image: Annotated[str | None, Parameter(name="--image", help="Container image.")] = None,
    vcpus: Annotated[str, Parameter(name=["--vcpus", "-c"], help="vCPUs (1).")] = DEFAULT_VCPUS,
    memory: Annotated[
        str, Parameter(name=["--memory", "-m"], help="Memory, such as 512 or 4GiB (1GiB).")
    ] = f"{DEFAULT_MEMORY_MIB}MiB",
    gpus: Annotated[int | None, Parameter(name="--gpus", help="GPUs.")] = None,
    retry: Annotated[int | None, Parameter(name="--retry", help="Attempts, 1 to 10.")] = None,
    env: Annotated[
        tuple[str, ...], Parameter(name=["--env", "-e"], help="KEY=VALUE. Repeatable.")
    ] = (),
    mounts: Annotated[
        tuple[str, ...], Parameter(name="--mount", help="SRC:DST or SRC:DST:ro. Repeatable.")
    ] = (),
    parameter: Annotated[
        tuple[str, ...],
        Parameter(name=["--parameter", "-p"], help="KEY=VALUE default of Ref::KEY. Repeatable."),
    ] = (),
    tag: Annotated[tuple[str, ...], Parameter(name="--tag", help="KEY=VALUE. Repeatable.")] = (),
    json: Annotated[
        str | None,
        Parameter(
            name="--json",
            allow_leading_hyphen=True,
            help="A RegisterJobDefinition request as JSON (- for standard input).",
        ),
    ] = None,
    dry_run: DryRun = False,
    output: Output = "table",
    target: Targeted = ANYWHERE,
) -> None:
    """Register a job definition (a new revision when the name exists)."""
    import os

    if json is not None:
        request = read_request(json, sys.stdin)
    elif image is None:
        raise UsageFault(
            "a definition needs an image",
            hint="batchyard jobdef register NAME --image IMAGE, or --json FILE",
        )
    else:
        resources = Resources(
            vcpus=vcpus_text(vcpus, option="--vcpus"),
            memory_mib=memory_mib(memory, option="--memory"),
            gpus=gpus,
        )
        properties: Document = {
            "image": image,
            "resourceRequirements": resources.requirements(),
        }
        if command:
            properties["command"] = list(command)
        if env:
            properties["environment"] = environment(env, os.environ)
        if mounts:
            properties |= volumes_and_mounts([mount(one, base=Path.cwd()) for one in mounts])
        request = {"type": "container", "containerProperties": properties}
        if retry is not None:
            request["retryStrategy"] = {"attempts": retry}
        if parameter:
            request["parameters"] = pairs(parameter, option="--parameter")
    if name is not None:
        request["jobDefinitionName"] = name
    if not request.get("jobDefinitionName"):
        raise UsageFault("the definition has no name", hint="batchyard jobdef register NAME ...")
    if tag:
        request["tags"] = {**request.get("tags", {}), **pairs(tag, option="--tag")}
    if dry_run:
        print_json({"RegisterJobDefinition": request})
        return
    with target.client() as client:
        answer = client.batch("RegisterJobDefinition", request)
    made = f"{answer['jobDefinitionName']}:{answer['revision']}"
    print_rows(
        [answer],
        output=output,
        columns={"DEFINITION": [made], "ARN": [str(answer["jobDefinitionArn"])]},
        id_key="jobDefinitionArn",
        empty="",
    )
    if output == "table":
        note(f"run it: batchyard submit {made}")


app = App(name="jobdef", help="Job definitions: ls, show, register.")


def _find(client: Client, name: str) -> Document:
    if name.startswith("arn:") or ":" in name:
        found = list_definitions(client, {"jobDefinitions": [name]})
    else:
        found = list_definitions(client, {"jobDefinitionName": name, "status": "ACTIVE"})
    if not found:
        known = {str(one["jobDefinitionName"]) for one in list_definitions(client, {})}
        raise missing_name("job definition", name, known=known, listing="batchyard jobdef ls")
    return max(found, key=lambda one: int(one["revision"]))


def _needs(container: Document) -> str:
    return ", ".join(
        f"{entry['type']} {entry['value']}" for entry in container.get("resourceRequirements", [])
    )

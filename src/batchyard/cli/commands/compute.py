"""`ce ls | show | create`."""

import sys
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter

from batchyard.cli.arguments import pairs, read_request
from batchyard.cli.client import Client, Document
from batchyard.cli.faults import UsageFault
from batchyard.cli.jobs import list_environments, missing_name
from batchyard.cli.options import ANYWHERE, DryRun, Output, Targeted
from batchyard.cli.output import facts, note, print_json, print_rows
from batchyard.cli.settling import await_valid
from batchyard.cli.waiting import Pace

Kind = Literal["LOCAL", "EC2", "SPOT", "FARGATE", "FARGATE_SPOT"]


def ls(*, output: Output = "table", target: Targeted = ANYWHERE) -> None:
    """List compute environments."""
    with target.client() as client:
        found = sorted(list_environments(client), key=lambda one: one["computeEnvironmentName"])
    columns = {
        "COMPUTE ENVIRONMENT": [str(one["computeEnvironmentName"]) for one in found],
        "TYPE": [_kind(one) for one in found],
        "STATE": [str(one.get("state", "")) for one in found],
        "STATUS": [str(one.get("status", "")) for one in found],
        "VCPUS": [_vcpus(one) for one in found],
        "REASON": [str(one.get("statusReason") or "") for one in found],
    }
    print_rows(
        found,
        output=output,
        columns=columns,
        id_key="computeEnvironmentName",
        empty="no compute environments; make one: batchyard ce create NAME",
    )


def show(
    name: Annotated[str, Parameter(help="Name or ARN of the compute environment.")],
    /,
    *,
    output: Output = "table",
    target: Targeted = ANYWHERE,
) -> None:
    """Show one compute environment."""
    with target.client() as client:
        found = _find(client, name)
        if found is None:
            known = (str(one["computeEnvironmentName"]) for one in list_environments(client))
            raise missing_name("compute environment", name, known=known, listing="batchyard ce ls")
    if output != "table":
        print_rows([found], output=output, columns={}, id_key="computeEnvironmentName", empty="")
        return
    resources = found.get("computeResources") or {}
    reason = str(found.get("statusReason") or "")
    for line in facts(
        [
            ("compute environment", str(found["computeEnvironmentName"])),
            ("arn", str(found["computeEnvironmentArn"])),
            ("type", _kind(found)),
            ("state", str(found.get("state", ""))),
            ("status", str(found.get("status", "")) + (f" ({reason})" if reason else "")),
            ("vcpus", _vcpus(found)),
            ("instance types", ", ".join(resources.get("instanceTypes") or [])),
            ("allocation", str(resources.get("allocationStrategy", ""))),
            ("service role", str(found.get("serviceRole", ""))),
            ("tags", ", ".join(f"{k}={v}" for k, v in (found.get("tags") or {}).items())),
        ]
    ):
        sys.stdout.write(line + "\n")


def create(
    name: Annotated[str | None, Parameter(help="Name of the new environment.")] = None,
    /,
    *,
    kind: Annotated[
        Kind,
        Parameter(
            name="--type",
            help="LOCAL (default): capacity you own, UNMANAGED to AWS; the others: AWS's.",
        ),
    ] = "LOCAL",
    max_vcpus: Annotated[
        int | None, Parameter(name="--max-vcpus", help="Most vCPUs to use at a time.")
    ] = None,
    min_vcpus: Annotated[
        int, Parameter(name="--min-vcpus", help="vCPUs kept without jobs (EC2 and SPOT).")
    ] = 0,
    instance_types: Annotated[
        tuple[str, ...],
        Parameter(name=["--instance-type", "-i"], help="Such as m5.xlarge or optimal. Repeatable."),
    ] = (),
    subnets: Annotated[
        tuple[str, ...], Parameter(name="--subnet", help="Subnet id. Repeatable.")
    ] = (),
    security_groups: Annotated[
        tuple[str, ...], Parameter(name="--security-group", help="Security group id. Repeatable.")
    ] = (),
    instance_role: Annotated[
        str | None, Parameter(name="--instance-role", help="Instance profile (EC2 and SPOT).")
    ] = None,
    service_role: Annotated[
        str | None, Parameter(name="--service-role", help="Role AWS Batch acts with.")
    ] = None,
    tag: Annotated[tuple[str, ...], Parameter(name="--tag", help="KEY=VALUE. Repeatable.")] = (),
    json: Annotated[
        str | None,
        Parameter(
            name="--json",
            allow_leading_hyphen=True,
            help="A CreateComputeEnvironment request as JSON (- for standard input).",
        ),
    ] = None,
    dry_run: DryRun = False,
    output: Output = "table",
    target: Targeted = ANYWHERE,
) -> None:
    """Create a compute environment and wait until it is VALID."""
    if json is not None:
        request = read_request(json, sys.stdin)
        if name is not None:
            request["computeEnvironmentName"] = name
    else:
        request = _request(
            name,
            kind=kind,
            max_vcpus=max_vcpus,
            min_vcpus=min_vcpus,
            instance_types=instance_types,
            network={"subnets": list(subnets), "securityGroupIds": list(security_groups)},
            instance_role=instance_role,
        )
    if service_role is not None:
        request["serviceRole"] = service_role
    tags = pairs(tag, option="--tag")
    if tags:
        request["tags"] = {**request.get("tags", {}), **tags}
    wanted = str(request.get("computeEnvironmentName") or "")
    if not wanted:
        raise UsageFault("the compute environment has no name", hint="batchyard ce create NAME")
    if dry_run:
        print_json({"CreateComputeEnvironment": request})
        return
    with target.client() as client:
        client.batch("CreateComputeEnvironment", request)
        found = await_valid(
            lambda: _find(client, wanted), what=f"compute environment {wanted}", pace=Pace()
        )
    if output == "table":
        note(f"compute environment {wanted} is {found.get('status', 'created')}")
        note(f"give it a queue: batchyard queue create NAME --ce {wanted}")
    else:
        print_rows([found], output=output, columns={}, id_key="computeEnvironmentName", empty="")


app = App(name="ce", help="Compute environments: ls, show, create.")


def _request(
    name: str | None,
    *,
    kind: Kind,
    max_vcpus: int | None,
    min_vcpus: int,
    instance_types: tuple[str, ...],
    network: dict[str, list[str]],
    instance_role: str | None,
) -> Document:
    request: Document = {"computeEnvironmentName": name or "", "state": "ENABLED"}
    if kind == "LOCAL":
        if instance_types or any(network.values()) or instance_role:
            raise UsageFault(
                "instance types, networks and instance roles belong to capacity of AWS",
                hint="add --type EC2 or --type SPOT, or leave those options out",
            )
        request["type"] = "UNMANAGED"
        if max_vcpus is not None:
            request["unmanagedvCpus"] = max_vcpus
        return request
    if max_vcpus is None:
        raise UsageFault(f"--type {kind} needs --max-vcpus", hint="such as --max-vcpus 64")
    resources: dict[str, Any] = {"type": kind, "maxvCpus": max_vcpus}
    resources |= {key: value for key, value in network.items() if value}
    if kind in ("EC2", "SPOT"):
        resources["minvCpus"] = min_vcpus
        resources["instanceTypes"] = list(instance_types) or ["optimal"]
        resources["instanceRole"] = instance_role or "ecsInstanceRole"
    return {**request, "type": "MANAGED", "computeResources": resources}


def _find(client: Client, name: str) -> Document | None:
    found = client.batch("DescribeComputeEnvironments", {"computeEnvironments": [name]})
    return next(iter(found.get("computeEnvironments", [])), None)


def _kind(environment: Document) -> str:
    resources = environment.get("computeResources") or {}
    return " ".join(str(one) for one in (environment.get("type"), resources.get("type")) if one)


def _vcpus(environment: Document) -> str:
    resources = environment.get("computeResources") or {}
    if "maxvCpus" in resources:
        return f"{resources.get('minvCpus', 0)}..{resources['maxvCpus']}"
    return str(environment.get("unmanagedvCpus") or "-")

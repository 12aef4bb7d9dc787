"""`queue ls | show | create`."""

import sys
from typing import Annotated

from cyclopts import App, Parameter

from batchyard.cli.arguments import pairs
from batchyard.cli.client import Client, Document
from batchyard.cli.faults import UsageFault
from batchyard.cli.jobs import list_environments, list_queues, missing_name, require_queues
from batchyard.cli.options import ANYWHERE, DryRun, Output, Targeted
from batchyard.cli.output import facts, note, print_json, print_rows
from batchyard.cli.settling import await_valid
from batchyard.cli.waiting import Pace


def ls(*, output: Output = "table", target: Targeted = ANYWHERE) -> None:
    """List job queues, the highest priority first."""
    with target.client() as client:
        queues = require_queues(client, ())
    columns = {
        "QUEUE": [str(queue["jobQueueName"]) for queue in queues],
        "STATE": [str(queue.get("state", "")) for queue in queues],
        "STATUS": [str(queue.get("status", "")) for queue in queues],
        "PRIORITY": [str(queue.get("priority", "")) for queue in queues],
        "COMPUTE ENVIRONMENTS": [_environments(queue) for queue in queues],
    }
    print_rows(
        queues,
        output=output,
        columns=columns,
        id_key="jobQueueName",
        empty="no job queues; make one: batchyard queue create NAME --ce COMPUTE_ENVIRONMENT",
    )


def show(
    name: Annotated[str, Parameter(help="Name or ARN of the queue.")],
    /,
    *,
    output: Output = "table",
    target: Targeted = ANYWHERE,
) -> None:
    """Show one job queue."""
    with target.client() as client:
        queue = require_queues(client, [name])[0]
    if output != "table":
        print_rows([queue], output=output, columns={}, id_key="jobQueueName", empty="")
        return
    reason = str(queue.get("statusReason") or "")
    for line in facts(
        [
            ("queue", str(queue["jobQueueName"])),
            ("arn", str(queue["jobQueueArn"])),
            ("state", str(queue.get("state", ""))),
            ("status", str(queue.get("status", "")) + (f" ({reason})" if reason else "")),
            ("priority", str(queue.get("priority", ""))),
            ("compute", _environments(queue)),
            ("tags", ", ".join(f"{k}={v}" for k, v in (queue.get("tags") or {}).items())),
        ]
    ):
        sys.stdout.write(line + "\n")


def create(
    name: Annotated[str, Parameter(help="Name of the new queue.")],
    /,
    *,
    environments: Annotated[
        tuple[str, ...],
        Parameter(
            name="--ce",
            help="Compute environment, in the order to try. Repeatable, at most 3; may be left out "
            "when there is only one.",
        ),
    ] = (),
    priority: Annotated[int, Parameter(name="--priority", help="Higher goes first (1).")] = 1,
    disabled: Annotated[
        bool, Parameter(name="--disabled", help="Create it in state DISABLED.")
    ] = False,
    tag: Annotated[tuple[str, ...], Parameter(name="--tag", help="KEY=VALUE. Repeatable.")] = (),
    dry_run: DryRun = False,
    output: Output = "table",
    target: Targeted = ANYWHERE,
) -> None:
    """Create a job queue and wait until it is VALID."""
    tags = pairs(tag, option="--tag")
    with target.client() as client:
        request: Document = {
            "jobQueueName": name,
            "priority": priority,
            "state": "DISABLED" if disabled else "ENABLED",
            "computeEnvironmentOrder": [
                {"order": order, "computeEnvironment": environment}
                for order, environment in enumerate(_chosen(client, environments), start=1)
            ],
            **({"tags": tags} if tags else {}),
        }
        if dry_run:
            print_json({"CreateJobQueue": request})
            return
        client.batch("CreateJobQueue", request)
        queue = await_valid(lambda: _find(client, name), what=f"queue {name}", pace=Pace())
    if output == "table":
        note(f"queue {name} is {queue.get('status', 'created')}")
        note(f"use it: batchyard submit IMAGE --queue {name}")
    else:
        print_rows([queue], output=output, columns={}, id_key="jobQueueName", empty="")


app = App(name="queue", help="Job queues: ls, show, create.")


def _chosen(client: Client, names: tuple[str, ...]) -> list[str]:
    known = {str(found["computeEnvironmentName"]): found for found in list_environments(client)}
    arns = {str(found["computeEnvironmentArn"]) for found in known.values()}
    if not names:
        if len(known) == 1:
            return list(known)
        said = "there are: " + ", ".join(sorted(known)) if known else "there are none yet"
        raise UsageFault(
            "which compute environment should the queue use?",
            hint=f"name it with --ce; {said}. See `batchyard ce ls`",
        )
    for name in names:
        if name not in known and name not in arns:
            raise missing_name("compute environment", name, known=known, listing="batchyard ce ls")
    return list(names)


def _find(client: Client, name: str) -> Document | None:
    return next((one for one in list_queues(client) if one["jobQueueName"] == name), None)


def _environments(queue: Document) -> str:
    order = sorted(
        queue.get("computeEnvironmentOrder") or [], key=lambda entry: int(entry.get("order", 0))
    )
    return ", ".join(str(entry["computeEnvironment"]).rsplit("/", 1)[-1] for entry in order)

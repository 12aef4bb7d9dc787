"""`submit`: an image or a definition becomes a job."""

import os
import sys
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from batchyard.cli.arguments import (
    dependency,
    duration_s,
    environment,
    memory_mib,
    mount,
    pairs,
    read_request,
    vcpus_text,
)
from batchyard.cli.client import Client, Document
from batchyard.cli.commands.logs import follow_log
from batchyard.cli.faults import ApiFault, UsageFault
from batchyard.cli.jobs import explain_submit_fault
from batchyard.cli.options import ANYWHERE, DryRun, Output, Targeted
from batchyard.cli.output import note, print_json, print_rows
from batchyard.cli.submission import (
    Chosen,
    Resources,
    choose_definition,
    job_name_from,
    name_from_image,
    submit_request,
)
from batchyard.cli.waiting import Pace, Progress, await_jobs, judge

DEFAULT_QUEUE = "default"
_SHORTEST_TIMEOUT_S = 60


def submit(
    what: Annotated[
        str | None, Parameter(help="A container image, or a job definition (NAME, NAME:REV, ARN).")
    ] = None,
    /,
    *command: Annotated[str, Parameter(help="Command and arguments, best after --.")],
    name: Annotated[str | None, Parameter(name=["--name", "-n"], help="Name of the job.")] = None,
    queue: Annotated[
        str | None,
        Parameter(name=["--queue", "-q"], help="Job queue; else BATCHYARD_QUEUE, else 'default'."),
    ] = None,
    vcpus: Annotated[
        str | None, Parameter(name=["--vcpus", "-c"], help="vCPUs, such as 4.")
    ] = None,
    memory: Annotated[
        str | None, Parameter(name=["--memory", "-m"], help="Memory, such as 512 (MiB) or 4GiB.")
    ] = None,
    gpus: Annotated[int | None, Parameter(name="--gpus", help="GPUs.")] = None,
    array: Annotated[
        int | None, Parameter(name="--array", help="Make it an array of this many children.")
    ] = None,
    after: Annotated[
        tuple[str, ...],
        Parameter(
            name="--after",
            help="Start after this job succeeded: ID, ID:N_TO_N, ID:SEQUENTIAL, or SEQUENTIAL "
            "(children one after another). Repeatable.",
        ),
    ] = (),
    retry: Annotated[int | None, Parameter(name="--retry", help="Attempts, 1 to 10.")] = None,
    timeout: Annotated[
        str | None, Parameter(name="--timeout", help="Limit of each attempt, such as 2h.")
    ] = None,
    tag: Annotated[
        tuple[str, ...], Parameter(name="--tag", help="KEY=VALUE tag of the job. Repeatable.")
    ] = (),
    parameter: Annotated[
        tuple[str, ...],
        Parameter(
            name=["--parameter", "-p"],
            help="KEY=VALUE for Ref::KEY in the definition's command. Repeatable.",
        ),
    ] = (),
    env: Annotated[
        tuple[str, ...],
        Parameter(
            name=["--env", "-e"],
            help="KEY=VALUE for the job, or KEY to pass your own value on. Repeatable.",
        ),
    ] = (),
    mounts: Annotated[
        tuple[str, ...],
        Parameter(name="--mount", help="SRC:DST or SRC:DST:ro, with an image. Repeatable."),
    ] = (),
    json: Annotated[
        str | None,
        Parameter(
            name="--json",
            allow_leading_hyphen=True,
            help="A SubmitJob request as a JSON file (- for standard input).",
        ),
    ] = None,
    wait: Annotated[
        bool, Parameter(name="--wait", help="Wait until the job has finished.")
    ] = False,
    follow: Annotated[
        bool,
        Parameter(name=["--follow", "-f"], help="Show the job's output until it has finished."),
    ] = False,
    exit_code_from_job: Annotated[
        bool,
        Parameter(
            name="--exit-code-from-job",
            help="With --wait or --follow, exit with the code of the container.",
        ),
    ] = False,
    dry_run: DryRun = False,
    output: Output = "table",
    target: Targeted = ANYWHERE,
) -> None:
    """Submit a job and print its id."""
    if array is not None and not 2 <= array <= 10_000:
        raise UsageFault(
            f"--array {array} is outside 2 to 10000",
            hint="AWS Batch arrays have 2 to 10000 children",
        )
    timeout_s = None if timeout is None else int(duration_s(timeout, option="--timeout"))
    if timeout_s is not None and timeout_s < _SHORTEST_TIMEOUT_S:
        raise UsageFault(
            f"--timeout {timeout} is shorter than 60 s, the shortest AWS Batch allows",
            hint="give 60s or more",
        )
    if what is None and json is None:
        raise UsageFault(
            "nothing to submit",
            hint="give an image or a definition: batchyard submit debian:stable -- date",
        )
    resources = Resources(
        vcpus=None if vcpus is None else vcpus_text(vcpus, option="--vcpus"),
        memory_mib=None if memory is None else memory_mib(memory, option="--memory"),
        gpus=gpus,
    )
    base = read_request(json, sys.stdin) if json is not None else {}
    wanted_mounts = [mount(text, base=Path.cwd()) for text in mounts]
    given: dict[str, Any] = {
        "base": base,
        "queue": queue
        or (None if base.get("jobQueue") else os.environ.get("BATCHYARD_QUEUE", DEFAULT_QUEUE)),
        "command": command,
        "environment": environment(env, os.environ),
        "resources": resources,
        "array_size": array,
        "depends_on": [dependency(text) for text in after],
        "attempts": retry,
        "timeout_s": timeout_s,
        "tags": pairs(tag, option="--tag"),
        "parameters": pairs(parameter, option="--parameter"),
    }
    if what is None and wanted_mounts:
        raise UsageFault("--mount needs an image", hint="batchyard submit IMAGE --mount SRC:DST")

    with target.client() as client:
        chosen = None
        if what is not None:
            chosen = choose_definition(
                client, what, has_command=bool(command), mounts=wanted_mounts
            )
        request = submit_request(
            definition=chosen.definition if chosen else None,
            name=name or _default_name(what, chosen, base),
            **given,
        )
        if dry_run:
            plan = {"SubmitJob": request}
            if chosen is not None and chosen.registration is not None:
                plan = {"RegisterJobDefinition": chosen.registration, **plan}
            print_json(plan)
            return
        answer = _register_and_submit(client, chosen, request)
        if output == "table" and not sys.stdout.isatty():
            # In a pipe the id is the answer: JOB=$(batchyard submit ...).
            output = "ids"
        print_rows(
            [answer],
            output=output,
            columns={"JOB ID": [answer["jobId"]], "NAME": [answer["jobName"]]},
            id_key="jobId",
            empty="",
        )
        sys.stdout.flush()
        if follow and array is None:
            follow_log(client, answer["jobId"], pace=Pace())
        elif not (wait or follow):
            if output == "table":
                note(f"follow it: batchyard logs -f {answer['jobId']}")
            return
        jobs = await_jobs(client, [answer["jobId"]], progress=Progress(quiet=follow), pace=Pace())
        judge(jobs, exit_code_from_job=exit_code_from_job)


def _default_name(what: str | None, chosen: Chosen | None, base: Document) -> str | None:
    if what is None or chosen is None or base.get("jobName"):
        return None
    return job_name_from(name_from_image(what) if chosen.is_image else chosen.definition)


def _register_and_submit(client: Client, chosen: Chosen | None, request: Document) -> Document:
    if chosen is not None and chosen.registration is not None:
        registered = client.batch("RegisterJobDefinition", chosen.registration)
        # A name alone would mean "the newest revision", which another user may just have made.
        request["jobDefinition"] = f"{registered['jobDefinitionName']}:{registered['revision']}"
    try:
        return client.batch("SubmitJob", request)
    except ApiFault as fault:
        raise explain_submit_fault(client, fault, str(request["jobQueue"])) from fault

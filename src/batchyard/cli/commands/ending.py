"""`cancel` and `terminate`: ending jobs, by id or by a selection."""

import sys
from collections.abc import Sequence
from typing import Annotated

from cyclopts import Parameter

from batchyard.cli.client import Client, Document
from batchyard.cli.consent import ask_consent
from batchyard.cli.faults import CommandFault, UsageFault
from batchyard.cli.jobs import (
    FINISHED,
    STATES,
    WAITING,
    list_jobs,
    require_jobs,
    require_queues,
)
from batchyard.cli.options import ANYWHERE, DryRun, Targeted, Yes
from batchyard.cli.output import note

_NAME = Parameter(name=["--name", "-n"], help="All whose name is like this, such as 'align-*'.")
_STATE = Parameter(name=["--state", "-s"], help="All in this state. Repeatable.")
_QUEUE = Parameter(name=["--queue", "-q"], help="All of this queue. Repeatable.")
_REASON = Parameter(name="--reason", help="Becomes the jobs' status reason.")
_IDS = Parameter(help="Job ids; naming them is the consent, only selections ask.")


def cancel(
    ids: Annotated[tuple[str, ...], _IDS] = (),
    /,
    *,
    name: Annotated[str | None, _NAME] = None,
    state: Annotated[tuple[str, ...], _STATE] = (),
    queue: Annotated[tuple[str, ...], _QUEUE] = (),
    reason: Annotated[str, _REASON] = "Cancelled with batchyard cancel",
    yes: Yes = False,
    dry_run: DryRun = False,
    target: Targeted = ANYWHERE,
) -> None:
    """Take back jobs that have not started. Running jobs go on: `terminate` ends those too."""
    with target.client() as client:
        chosen = _choose(client, ids, name=name, states=state, queues=queue, open_states=WAITING)
        _end(
            client,
            "CancelJob",
            [job for job in chosen if job["status"] in WAITING],
            reason=reason,
            ask=not ids,
            yes=yes,
            dry_run=dry_run,
        )
        _say_left_alone(chosen)


def terminate(
    ids: Annotated[tuple[str, ...], _IDS] = (),
    /,
    *,
    name: Annotated[str | None, _NAME] = None,
    state: Annotated[tuple[str, ...], _STATE] = (),
    queue: Annotated[tuple[str, ...], _QUEUE] = (),
    reason: Annotated[str, _REASON] = "Terminated with batchyard terminate",
    yes: Yes = False,
    dry_run: DryRun = False,
    target: Targeted = ANYWHERE,
) -> None:
    """End jobs whatever they do: waiting ones are taken back, running ones are stopped."""
    unfinished = tuple(one for one in STATES if one not in FINISHED)
    with target.client() as client:
        chosen = _choose(client, ids, name=name, states=state, queues=queue, open_states=unfinished)
        _end(
            client,
            "TerminateJob",
            [job for job in chosen if job["status"] not in FINISHED],
            reason=reason,
            ask=not ids,
            yes=yes,
            dry_run=dry_run,
        )
        for job in chosen:
            if job["status"] in FINISHED:
                note(f"{job['jobId']} had already {job['status']}")


def _choose(
    client: Client,
    ids: Sequence[str],
    *,
    name: str | None,
    states: Sequence[str],
    queues: Sequence[str],
    open_states: Sequence[str],
) -> list[Document]:
    selecting = bool(name or states or queues)
    if bool(ids) == selecting:
        raise UsageFault(
            "give job ids or a selection, not both" if ids else "nothing selected",
            hint="name ids, or choose with --name, --state and --queue",
        )
    if ids:
        return list(require_jobs(client, ids).values())
    wanted = [one.upper() for one in states] or list(open_states)
    for one in wanted:
        if one not in open_states:
            raise UsageFault(
                f"--state {one} cannot be ended by this command",
                hint="one of " + ", ".join(open_states),
            )
    found: list[Document] = []
    for queue in require_queues(client, queues):
        jobs, _ = list_jobs(
            client, scope={"jobQueue": queue["jobQueueName"]}, states=wanted, name=name
        )
        found += jobs
    return found


def _end(
    client: Client,
    operation: str,
    jobs: Sequence[Document],
    *,
    reason: str,
    ask: bool,
    yes: bool,
    dry_run: bool,
) -> None:
    if not reason.strip():
        raise UsageFault("--reason is empty", hint="AWS Batch wants a reason; say one")
    lines = [f"{job['jobId']}  {job['status']}  {job.get('jobName', '')}" for job in jobs]
    verb = "cancel" if operation == "CancelJob" else "terminate"
    if dry_run:
        note(f"would {verb} {len(jobs)}")
        sys.stdout.writelines(f"{line}\n" for line in lines)
        return
    if not jobs:
        note(f"nothing to {verb}")
        return
    if ask:
        ask_consent(verb, lines, yes=yes)
    failures: list[str] = []
    for job in jobs:
        try:
            client.batch(operation, {"jobId": job["jobId"], "reason": reason})
        except CommandFault as fault:
            failures.append(f"{job['jobId']}: {fault.message}")
    done = len(jobs) - len(failures)
    note(f"asked to {verb}: {done} of {len(jobs)}")
    if failures:
        raise CommandFault(
            f"{len(failures)} of {len(jobs)} requests failed; the first: {failures[0]}",
            hint="repeat the command; ending a job twice is harmless",
        )


def _say_left_alone(jobs: Sequence[Document]) -> None:
    for job in jobs:
        if job["status"] in FINISHED:
            note(f"{job['jobId']} had already {job['status']}")
        elif job["status"] not in WAITING:
            note(
                f"{job['jobId']} is {job['status']}; cancel leaves it running, "
                f"to stop it: batchyard terminate {job['jobId']}"
            )

"""`ls`, `show`, `wait`, `explain`: looking at jobs."""

import shutil
import sys
import time
from collections.abc import Sequence
from typing import Annotated

from cyclopts import Parameter

from batchyard.cli.arguments import duration_s
from batchyard.cli.client import Client, Document
from batchyard.cli.faults import UsageFault
from batchyard.cli.jobs import (
    STATES,
    array_size,
    job_id,
    list_jobs,
    require_jobs,
    require_queues,
    state_counts,
    why,
)
from batchyard.cli.options import ANYWHERE, Output, Targeted
from batchyard.cli.output import (
    amount_of_time,
    facts,
    note,
    print_rows,
    table,
    wants_colour,
)
from batchyard.cli.waiting import Pace, Progress, await_jobs, judge

_CLEAR_SCREEN = "\x1b[H\x1b[2J"


def ls(
    array: Annotated[
        str | None, Parameter(help="An array job: list its children instead of queues.")
    ] = None,
    /,
    *,
    state: Annotated[
        tuple[str, ...], Parameter(name=["--state", "-s"], help="Only this state. Repeatable.")
    ] = (),
    failed: Annotated[bool, Parameter(name="--failed", help="Same as --state FAILED.")] = False,
    queue: Annotated[
        tuple[str, ...],
        Parameter(name=["--queue", "-q"], help="Only this queue. Repeatable; default all."),
    ] = (),
    name: Annotated[
        str | None,
        Parameter(name=["--name", "-n"], help="Only names like this, such as 'align-*'."),
    ] = None,
    limit: Annotated[
        int, Parameter(name="--limit", help="At most this many (500), the newest first; 0 for all.")
    ] = 500,
    watch: Annotated[bool, Parameter(name=["--watch", "-w"], help="Repeat until Ctrl-C.")] = False,
    interval: Annotated[
        str, Parameter(name="--interval", help="Time between two looks of --watch (2s).")
    ] = "2s",
    output: Output = "table",
    target: Targeted = ANYWHERE,
) -> None:
    """List jobs in all states, newest first."""
    states = _states(state, failed=failed)
    interval_s = max(0.2, duration_s(interval, option="--interval"))
    if limit < 0:
        raise UsageFault(f"--limit {limit} is negative", hint="give a number, or 0 for all")
    if array is not None and queue:
        raise UsageFault("--queue has no meaning with an array job", hint="leave --queue out")
    with target.client() as client:
        while True:
            rows, cut = _gather(
                client, array=array, queues=queue, states=states, name=name, limit=limit or None
            )
            if watch and sys.stdout.isatty():
                sys.stdout.write(_CLEAR_SCREEN)
            elif watch and output == "table":
                sys.stdout.write("\n")
            _print_jobs(rows, output=output)
            if cut:
                note(f"only the newest {limit} are shown; --limit 0 shows all")
            sys.stdout.flush()
            if not watch:
                return
            time.sleep(interval_s)


def show(
    ids: Annotated[tuple[str, ...], Parameter(help="Job ids; children as ID:INDEX.")],
    /,
    *,
    output: Output = "table",
    target: Targeted = ANYWHERE,
) -> None:
    """Show everything about jobs: state, times, attempts, resources, reasons."""
    _require_some(ids, "show")
    with target.client() as client:
        jobs = list(require_jobs(client, ids).values())
    if output != "table":
        print_rows(jobs, output=output, columns={}, id_key="jobId", empty="")
        return
    for number, job in enumerate(jobs):
        if number:
            sys.stdout.write("\n")
        for line in job_report(job, now_ms=time.time() * 1000):
            sys.stdout.write(line + "\n")


def wait(
    ids: Annotated[tuple[str, ...], Parameter(help="Job ids.")],
    /,
    *,
    any_one: Annotated[bool, Parameter(name="--any", help="Return when one has finished.")] = False,
    timeout: Annotated[
        str | None, Parameter(name="--timeout", help="Give up after this long with exit code 7.")
    ] = None,
    exit_code_from_job: Annotated[
        bool,
        Parameter(
            name="--exit-code-from-job", help="Exit with the code of the only job's container."
        ),
    ] = False,
    quiet: Annotated[bool, Parameter(name="--quiet", help="No progress.")] = False,
    target: Targeted = ANYWHERE,
) -> None:
    """Wait until jobs have finished; exit code 5 when one FAILED, 7 after --timeout."""
    _require_some(ids, "wait")
    timeout_s = None if timeout is None else duration_s(timeout, option="--timeout")
    with target.client() as client:
        jobs = await_jobs(
            client,
            ids,
            any_one=any_one,
            timeout_s=timeout_s,
            progress=Progress(quiet=quiet),
            pace=Pace(),
        )
    judge(jobs, exit_code_from_job=exit_code_from_job)


def explain(
    identity: Annotated[str, Parameter(help="A job id.")],
    /,
    *,
    output: Output = "table",
    target: Targeted = ANYWHERE,
) -> None:
    """Say why a job is where it is, and what to do about it."""
    with target.client() as client:
        found = client.extension("explain", {"jobId": job_id(identity)})
    if output != "table":
        print_rows([found], output=output, columns={}, id_key="jobId", empty="")
        return
    sys.stdout.write(f"{found.get('status', '')}: {found.get('sentence', '')}\n")
    if found.get("fix"):
        sys.stdout.write(f"fix: {found['fix']}\n")
    verdicts: list[Document] = found.get("verdicts") or []
    if verdicts:
        sys.stdout.write("\n")
        columns = {
            "COMPUTE ENVIRONMENT": [str(one.get("computeEnvironment", "")) for one in verdicts],
            "VERDICT": [str(one.get("verdict", "")) for one in verdicts],
            "WHY": [str(one.get("detail") or one.get("code") or "") for one in verdicts],
        }
        # Sentences with numbers are the point of this table, so it is never cut.
        for line in table(columns, width=None, colour=wants_colour(sys.stdout)):
            sys.stdout.write(line + "\n")


def job_report(job: Document, *, now_ms: float) -> list[str]:
    """The text of `show` for one job."""
    container = job.get("container") or {}
    size = array_size(job)
    counts = ""
    if size is not None:
        counts = "  ".join(f"{state} {n}" for state, n in state_counts(job).items())
    needs = ", ".join(
        f"{entry['type']} {entry['value']}" for entry in container.get("resourceRequirements", [])
    )
    lines = facts(
        [
            ("job", str(job["jobId"])),
            ("name", str(job.get("jobName", ""))),
            ("status", str(job["status"])),
            ("reason", why(job)),
            ("queue", _last(job.get("jobQueue"))),
            ("definition", _last(job.get("jobDefinition"))),
            ("array", f"{size} children: {counts}" if size is not None else ""),
            ("image", str(container.get("image", ""))),
            ("command", _shell_words(container.get("command") or [])),
            ("needs", needs),
            ("after", ", ".join(_dependency(entry) for entry in job.get("dependsOn") or [])),
            ("created", _moment(job.get("createdAt"), now_ms)),
            ("started", _moment(job.get("startedAt"), now_ms)),
            ("stopped", _moment(job.get("stoppedAt"), now_ms)),
            ("ran", _ran(job, now_ms)),
            ("log", str(container.get("logStreamName", ""))),
            ("tags", ", ".join(f"{k}={v}" for k, v in (job.get("tags") or {}).items())),
        ]
    )
    attempts: list[Document] = job.get("attempts") or []
    if attempts:
        lines.append("")
        lines += table(
            {
                "ATTEMPT": [str(number) for number in range(1, len(attempts) + 1)],
                "EXIT": [
                    str((one.get("container") or {}).get("exitCode", "-")) for one in attempts
                ],
                "RAN": [_ran(one, now_ms) for one in attempts],
                "REASON": [
                    "; ".join(
                        str(reason)
                        for reason in (
                            one.get("statusReason"),
                            (one.get("container") or {}).get("reason"),
                        )
                        if reason
                    )
                    for one in attempts
                ],
            },
            width=shutil.get_terminal_size().columns if sys.stdout.isatty() else None,
            colour=wants_colour(sys.stdout),
        )
    return lines


def _gather(
    client: Client,
    *,
    array: str | None,
    queues: Sequence[str],
    states: Sequence[str],
    name: str | None,
    limit: int | None,
) -> tuple[list[Document], bool]:
    if array is not None:
        parent = next(iter(require_jobs(client, [array]).values()))
        if array_size(parent) is None:
            raise UsageFault(
                f"job {array} is not an array", hint=f"see it with: batchyard show {array}"
            )
        children, cut = list_jobs(
            client, scope={"arrayJobId": parent["jobId"]}, states=states, name=name, limit=limit
        )
        return children, cut
    rows: list[Document] = []
    any_cut = False
    for queue in require_queues(client, queues):
        found, cut = list_jobs(
            client, scope={"jobQueue": queue["jobQueueName"]}, states=states, name=name, limit=limit
        )
        # AWS: a summary does not say its queue; lists of several queues need it.
        rows += [{**job, "jobQueue": queue["jobQueueName"]} for job in found]
        any_cut = any_cut or cut
    rows.sort(key=lambda job: -int(job.get("createdAt", 0)))
    if limit is not None and len(rows) > limit:
        return rows[:limit], True
    return rows, any_cut


def _print_jobs(rows: Sequence[Document], *, output: str) -> None:
    now_ms = time.time() * 1000
    columns = {
        "JOB ID": [str(job["jobId"]) for job in rows],
        "NAME": [str(job.get("jobName", "")) for job in rows],
        "STATUS": [str(job.get("status", "")) for job in rows],
        "QUEUE": [str(job.get("jobQueue", "")) for job in rows],
        "ARRAY": [str(array_size(job) or "-") for job in rows],
        "AGE": [amount_of_time(now_ms - int(job.get("createdAt", now_ms))) for job in rows],
        "RAN": [_ran(job, now_ms) for job in rows],
        # AWS gives success a reason too; in a list it would only hide the failures.
        "REASON": ["" if job.get("status") == "SUCCEEDED" else why(job) for job in rows],
    }
    if not any(columns["QUEUE"]):
        del columns["QUEUE"]
    print_rows(rows, output=output, columns=columns, id_key="jobId", empty="no jobs match")


def _states(state: Sequence[str], *, failed: bool) -> tuple[str, ...]:
    wanted = {text.upper() for text in state} | ({"FAILED"} if failed else set())
    for text in wanted:
        if text not in STATES:
            raise UsageFault(f"--state {text} is no job state", hint="one of " + ", ".join(STATES))
    return tuple(one for one in STATES if not wanted or one in wanted)


def _require_some(ids: Sequence[str], verb: str) -> None:
    if not ids:
        raise UsageFault("no job id given", hint=f"batchyard {verb} ID; `batchyard ls` shows ids")


def _ran(job: Document, now_ms: float) -> str:
    started = job.get("startedAt")
    if not started:
        return "-"
    return amount_of_time(int(job.get("stoppedAt") or now_ms) - int(started))


def _moment(epoch_ms: object, now_ms: float) -> str:
    if not isinstance(epoch_ms, int) or not epoch_ms:
        return ""
    clock = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(epoch_ms / 1000))
    return f"{clock} ({amount_of_time(now_ms - epoch_ms)} ago)"


def _dependency(entry: Document) -> str:
    return ":".join(str(entry[key]) for key in ("jobId", "type") if entry.get(key))


def _shell_words(command: Sequence[str]) -> str:
    import shlex

    return shlex.join(command)


def _last(arn: object) -> str:
    return str(arn or "").rsplit("/", 1)[-1]

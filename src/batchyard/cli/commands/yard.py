"""`up`, `down`, `status`, `env-vars`: the yard of this machine as a whole."""

import os
import shlex
import signal
import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from batchyard.cli.client import Client, Document
from batchyard.cli.connection import Connection, find_connection, no_yard
from batchyard.cli.consent import ask_consent
from batchyard.cli.faults import CommandFault, Missing
from batchyard.cli.jobs import FINISHED, STATES, list_jobs, list_queues
from batchyard.cli.options import ANYWHERE, OWN_HOME, AtHome, Output, Targeted, Yes
from batchyard.cli.output import facts, note, print_json, print_rows, table, wants_colour
from batchyard.cli.supervision import (
    Started,
    server_command,
    start_server,
    starting,
    stop_server,
)
from batchyard.cli.waiting import Pace, Progress, await_jobs
from batchyard.cli.yard import live_server, yard_home

Executor = Literal["auto", "docker", "process", "mock"]
Shell = Literal["sh", "fish", "json"]

_START_DEADLINE_S = 60.0
_STOP_DEADLINE_S = 60.0


def up(
    *,
    port: Annotated[
        int | None, Parameter(name="--port", help="Port on 127.0.0.1; 0 for any free one.")
    ] = None,
    executor: Annotated[
        Executor | None,
        Parameter(name="--executor", help="How jobs run; auto prefers a container engine."),
    ] = None,
    foreground: Annotated[
        bool, Parameter(name="--foreground", help="Stay in this terminal until Ctrl-C.")
    ] = False,
    local: AtHome = OWN_HOME,
) -> None:
    """Start the yard of this machine, and say how to reach it."""
    home = yard_home(local.home, os.environ)
    pace = Pace()
    with starting(home):
        running = live_server(home)
        started: Started | None = None
        if running is None:
            started = start_server(
                home,
                server_command(home, port=port, executor=executor),
                foreground=foreground,
                deadline_s=_START_DEADLINE_S,
                slow=_Patience(home).say,
                pace=pace,
            )
    connection = find_connection(endpoint=None, region=None, home=home, environ={})
    if running is not None:
        note(f"the yard is already up (process {running.pid})")
        if port is not None or executor is not None:
            note("it keeps its port and executor; `batchyard down` first to change them")
    print_summary(connection, home)
    sys.stdout.flush()
    if foreground and started is not None:
        _stay(started)


def down(
    *,
    terminate_jobs: Annotated[
        bool, Parameter(name="--terminate-jobs", help="End all unfinished jobs first.")
    ] = False,
    yes: Yes = False,
    local: AtHome = OWN_HOME,
) -> None:
    """Stop the yard's server. Running jobs go on and are taken back by the next `up`."""
    home = yard_home(local.home, os.environ)
    record = live_server(home)
    if record is None:
        note(f"{no_yard(home).message}; nothing to stop")
        return
    connection = find_connection(endpoint=None, region=None, home=home, environ={})
    client = Client(connection)
    try:
        if terminate_jobs:
            _terminate_all(client, yes=yes)
        running = _running_jobs(client)
    except CommandFault as fault:
        if terminate_jobs:
            raise
        # A server that no longer answers must still be stoppable.
        note(f"cannot count its jobs: {fault.message}")
        running = 0
    finally:
        client.close()
    stop_server(record, deadline_s=_STOP_DEADLINE_S)
    note(f"the yard at {home} is down")
    if running:
        note(f"{running} running jobs go on; `batchyard up` takes them back")


def status(*, output: Output = "table", target: Targeted = ANYWHERE) -> None:
    """Show the yard: executor, capacity, queues and jobs per state. Exit code 3 when it is down."""
    home = yard_home(target.home, os.environ)
    try:
        with target.client() as client:
            found = client.extension("status")
            endpoint = client.connection.endpoint
    except CommandFault as fault:
        down_fault = no_yard(home)
        if fault.message == down_fault.message:
            raise Missing(fault.message, hint=fault.hint) from fault
        raise
    if output != "table":
        print_rows([found], output=output, columns={}, id_key="yardId", empty="")
        return
    for line in status_report(found, endpoint=endpoint):
        sys.stdout.write(line + "\n")
    _warn(found)


def env_vars(
    *,
    shell: Annotated[
        Shell, Parameter(name="--shell", help="sh for bash and zsh, fish, or json.")
    ] = "sh",
    local: AtHome = OWN_HOME,
) -> None:
    """Print the variables that point AWS tools at the yard: eval "$(batchyard env-vars)"."""
    home = yard_home(local.home, os.environ)
    connection = find_connection(endpoint=None, region=None, home=home, environ={})
    if shell == "json":
        print_json({name: value for group in variables(connection) for name, value in group})
        return
    for line in export_lines(connection, fish=shell == "fish"):
        sys.stdout.write(line + "\n")
    if os.environ.get("AWS_SESSION_TOKEN"):
        # A token of another account would make every signature of these keys wrong.
        drop = "set -e AWS_SESSION_TOKEN" if shell == "fish" else "unset AWS_SESSION_TOKEN"
        sys.stdout.write(drop + "\n")


def variables(connection: Connection) -> tuple[tuple[tuple[str, str], ...], ...]:
    """The variables, grouped into the three lines people copy."""
    keys = connection.credentials
    return (
        (("AWS_ENDPOINT_URL", connection.endpoint),),
        (
            ("AWS_ACCESS_KEY_ID", keys.access_key_id),
            ("AWS_SECRET_ACCESS_KEY", keys.secret_access_key),
        ),
        # The CLI and boto3 read the first name, the other SDKs the second.
        (("AWS_DEFAULT_REGION", connection.region), ("AWS_REGION", connection.region)),
    )


def export_lines(connection: Connection, *, fish: bool = False) -> list[str]:
    lines = []
    for group in variables(connection):
        if fish:
            lines.append("; ".join(f"set -gx {name} {shlex.quote(value)}" for name, value in group))
        else:
            lines.append("export " + " ".join(f"{n}={shlex.quote(v)}" for n, v in group))
    return lines


def print_summary(connection: Connection, home: Path) -> None:
    """What `up` says: where, how jobs run, and the three lines for the AWS CLI."""
    client = Client(connection)
    try:
        found = client.extension("status")
    finally:
        client.close()
    engine = found.get("executor") or {}
    capacity = "; ".join(_room(one) for one in found.get("capacity") or [])
    queues = ", ".join(str(one["name"]) for one in found.get("queues") or [])
    lines = facts(
        [
            ("endpoint", connection.endpoint),
            ("home", str(home)),
            ("executor", _engine(engine)),
            ("capacity", capacity),
            ("queues", queues),
        ]
    )
    for line in ["Batchyard is up.", "", *lines, ""]:
        sys.stdout.write(line + "\n")
    sys.stdout.flush()
    _warn(found)
    sys.stdout.write("Point the AWS CLI and SDKs at it:\n")
    for line in export_lines(connection):
        sys.stdout.write(f"  {line}\n")
    sys.stdout.write(
        'or in one go:  eval "$(batchyard env-vars)"\n'
        "(AWS CLI before 2.13: add --endpoint-url $AWS_ENDPOINT_URL)\n"
        "Try:  batchyard submit debian:stable --follow -- echo hello\n"
    )


def status_report(found: Document, *, endpoint: str) -> list[str]:
    """The text of `status`."""
    counts = found.get("counts") or {}
    lines = facts(
        [
            ("endpoint", endpoint),
            ("home", str(found.get("home", ""))),
            ("version", str(found.get("version", ""))),
            ("executor", _engine(found.get("executor") or {})),
            ("jobs", _counts(counts) or "none"),
        ]
    )
    capacity: list[Document] = found.get("capacity") or []
    if capacity:
        lines.append("")
        lines += table(
            {
                "COMPUTE ENVIRONMENT": [str(one.get("computeEnvironment", "")) for one in capacity],
                "VCPUS": [
                    f"{_number(one.get('usedVcpus'))}/{_number(one.get('vcpus'))}"
                    for one in capacity
                ],
                "MEMORY MIB": [
                    f"{one.get('usedMemoryMiB', 0)}/{one.get('memoryMiB', 0)}" for one in capacity
                ],
                "GPUS": [str(one.get("gpus") or "-") for one in capacity],
            },
            width=None,
            colour=wants_colour(sys.stdout),
        )
    queues: list[Document] = found.get("queues") or []
    if queues:
        lines.append("")
        lines += table(
            {
                "QUEUE": [str(one.get("name", "")) for one in queues],
                "STATE": [str(one.get("state", "")) for one in queues],
                "JOBS": [_counts(one.get("counts") or {}) or "-" for one in queues],
            },
            width=None,
            colour=wants_colour(sys.stdout),
        )
    return lines


class _Patience:
    """Says once that the start takes long, and where to look meanwhile."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._said = False

    def say(self, waited_s: float) -> None:
        if waited_s > 2 and not self._said:
            self._said = True
            note(f"starting; still waiting for the server (log: {self._home / 'server.log'})")


def _stay(started: Started) -> None:
    # Ctrl-C reaches the server by itself (same process group); we only wait for its clean stop.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: started.process.terminate())
    code = started.process.wait()
    if code not in (0, -signal.SIGINT, -signal.SIGTERM):
        raise CommandFault(
            f"the server ended with code {code}", hint="its messages are above this line"
        )


def _running_jobs(client: Client) -> int:
    counts = client.extension("status").get("counts") or {}
    return sum(int(counts.get(state, 0)) for state in ("STARTING", "RUNNING"))


def _terminate_all(client: Client, *, yes: bool) -> None:
    unfinished = [state for state in STATES if state not in FINISHED]
    jobs: list[Document] = []
    for queue in list_queues(client):
        found, _ = list_jobs(client, scope={"jobQueue": queue["jobQueueName"]}, states=unfinished)
        jobs += found
    if not jobs:
        return
    ask_consent(
        "terminate",
        [f"{job['jobId']}  {job['status']}  {job.get('jobName', '')}" for job in jobs],
        yes=yes,
    )
    for job in jobs:
        client.batch("TerminateJob", {"jobId": job["jobId"], "reason": "The yard was taken down"})
    await_jobs(
        client,
        [str(job["jobId"]) for job in jobs],
        timeout_s=_STOP_DEADLINE_S,
        progress=Progress(),
        pace=Pace(),
    )


def _engine(executor: Document) -> str:
    engine = executor.get("engine")
    name = str(executor.get("name", "unknown"))
    if not engine or str(engine).startswith(name):
        return str(engine or name)
    return f"{name} ({engine})"


def _room(place: Document) -> str:
    gpus = f", {place['gpus']} GPUs" if place.get("gpus") else ""
    return (
        f"{place.get('computeEnvironment')}: {_number(place.get('vcpus'))} vCPUs, "
        f"{place.get('memoryMiB')} MiB{gpus}"
    )


def _number(value: object) -> str:
    """`2` for 2.0, `0.5` for 0.5."""
    return f"{value:g}" if isinstance(value, int | float) else "0"


def _warn(found: Document) -> None:
    executor: Document = found.get("executor") or {}
    warnings = [str(one) for one in executor.get("warnings") or []]
    if trouble := executor.get("trouble"):
        warnings.append(f"{trouble['message']}\n{trouble['hint']}")
    for warning in warnings:
        mark = "\x1b[1;31mWARNING\x1b[0m" if wants_colour(sys.stderr) else "WARNING"
        note(f"{mark}: {warning}")


def _counts(counts: Document) -> str:
    return "  ".join(f"{state} {counts[state]}" for state in STATES if counts.get(state))

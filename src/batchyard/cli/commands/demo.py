"""`demo`: a yard of its own runs the variant-calling example on real reads."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from batchyard.cli.commands.yard import variables
from batchyard.cli.connection import find_connection
from batchyard.cli.faults import CommandFault
from batchyard.cli.output import note
from batchyard.cli.supervision import server_command, start_server, starting, stop_server
from batchyard.cli.waiting import Pace
from batchyard.cli.yard import live_server

_DEADLINE_S = 60.0


def demo(
    *,
    output_dir: Annotated[
        Path, Parameter(name="--output", help="Directory of report and yard (demo-output).")
    ] = Path("demo-output"),
    keep: Annotated[
        bool, Parameter(name="--keep", help="Leave the demo's yard running for a look around.")
    ] = False,
) -> None:
    """Run the variant-calling example on real reads, in a yard of its own."""
    script = find_example()
    place = output_dir.absolute()
    home = place / "yard"
    pace = Pace()
    with starting(home):
        if live_server(home) is None:
            note(f"starting a yard of its own at {home}")
            start_server(
                home,
                server_command(home, port=0, executor="process"),
                foreground=False,
                deadline_s=_DEADLINE_S,
                slow=lambda _waited_s: None,
                pace=pace,
            )
    try:
        _run(script, home=home, place=place)
    finally:
        record = live_server(home)
        if record is not None and not keep:
            stop_server(record, deadline_s=_DEADLINE_S)
    where = "runs on" if keep else "is stopped; its records stay"
    note(f"the demo's yard {where} at {home}")
    command = own_command(os.environ.get("PATH", ""))
    note(f"look at its jobs: {command} up --home {home} && {command} ls --home {home}")


def own_command(path: str) -> str:
    """How a person calls this program: by name where PATH has it, else by where it lies."""
    beside = Path(sys.executable).with_name("batchyard")
    if shutil.which("batchyard", path=path) is not None or not beside.exists():
        return "batchyard"
    here = Path.cwd()
    return str(beside.relative_to(here) if beside.is_relative_to(here) else beside)


def find_example() -> Path:
    """The example's driver in the source checkout this package runs from.

    Raises:
        CommandFault: the package was installed without the examples.
    """
    import batchyard

    # src/batchyard/__init__.py -> the checkout.
    script = (
        Path(batchyard.__file__).resolve().parents[2]
        / "examples"
        / "variant-calling"
        / "run_demo.py"
    )
    if not script.is_file():
        raise CommandFault(
            f"the demo's example is not installed ({script} does not exist)",
            hint="clone the source of Batchyard and run `make demo` there",
        )
    return script


def _run(script: Path, *, home: Path, place: Path) -> None:
    connection = find_connection(endpoint=None, region=None, home=home, environ={})
    environ = {**os.environ, "BATCHYARD_HOME": str(home)}
    for stale in ("AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_ENDPOINT_URL_BATCH"):
        environ.pop(stale, None)
    for group in variables(connection):
        environ.update(group)
    finished = subprocess.run(
        [
            sys.executable,
            str(script),
            "--endpoint-url",
            connection.endpoint,
            "--queue",
            "default",
            "--output",
            str(place),
            "--python",
            sys.executable,
        ],
        env=environ,
        check=False,
    )
    if finished.returncode:
        raise CommandFault(
            f"the example ended with exit code {finished.returncode}",
            hint=f"its messages are above; the server's log: {home / 'server.log'}",
        )

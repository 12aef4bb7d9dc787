"""Options every command shares, and how they become a client. No command lives here.

Plain dataclasses instead of msgspec Structs: cyclopts flattens them into options, and importing
msgspec would cost a third of the start-up budget.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal

from cyclopts import Group, Parameter

from batchyard.cli.client import Client
from batchyard.cli.connection import find_connection

OutputFormat = Literal["table", "json", "jsonl", "ids"]

_CONNECTION = Group("Connection", sort_key=90)
_OUTPUT = Group("Output", sort_key=80)


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where the command is sent."""

    endpoint: Annotated[
        str | None,
        Parameter(
            name="--endpoint",
            group=_CONNECTION,
            help="Address of the Batch API; else AWS_ENDPOINT_URL_BATCH, AWS_ENDPOINT_URL, "
            "else the yard of this machine.",
        ),
    ] = None
    region: Annotated[
        str | None,
        Parameter(name="--region", group=_CONNECTION, help="Region to sign for."),
    ] = None
    home: Annotated[
        Path | None,
        Parameter(
            name="--home",
            group=_CONNECTION,
            help="Directory of the yard; else BATCHYARD_HOME, else ~/.local/share/batchyard.",
        ),
    ] = None
    debug: Annotated[
        bool,
        Parameter(
            name="--debug",
            group=_CONNECTION,
            help="Show each HTTP exchange with its request id on standard error.",
        ),
    ] = False

    @contextmanager
    def client(self) -> Iterator[Client]:
        connection = find_connection(
            endpoint=self.endpoint, region=self.region, home=self.home, environ=os.environ
        )
        opened = Client(connection, trace=_trace if self.debug else None)
        try:
            yield opened
        finally:
            opened.close()


@dataclass(frozen=True, kw_only=True)
class Local:
    """For commands that touch only the files of a yard."""

    home: Annotated[
        Path | None,
        Parameter(
            name="--home",
            group=_CONNECTION,
            help="Directory of the yard; else BATCHYARD_HOME, else ~/.local/share/batchyard.",
        ),
    ] = None


ANYWHERE: Final = Target()
OWN_HOME: Final = Local()
Targeted = Annotated[Target, Parameter(name="*")]
AtHome = Annotated[Local, Parameter(name="*")]
Output = Annotated[
    OutputFormat,
    Parameter(
        name=["--output", "-o"],
        group=_OUTPUT,
        help="table (default), json or jsonl (as AWS shapes them), or ids (for pipes).",
    ),
]
Yes = Annotated[bool, Parameter(name=["--yes", "-y"], help="Do not ask.")]
DryRun = Annotated[
    bool, Parameter(name="--dry-run", help="Show what would be done; change nothing.")
]


def _trace(line: str) -> None:
    sys.stderr.write(f"debug: {line}\n")

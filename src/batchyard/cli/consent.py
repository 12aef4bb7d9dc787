"""Asking before something is ended: what, how many, a sample; then yes or no."""

import sys
from collections.abc import Sequence

from batchyard.cli.faults import CommandFault, UsageFault
from batchyard.cli.output import note

_SAMPLE = 5


def ask_consent(action: str, lines: Sequence[str], *, yes: bool) -> None:
    """Show what will happen to how many things and go on only with a yes.

    Raises:
        UsageFault: nobody is there to answer and --yes was not given.
        CommandFault: the answer was not yes.
    """
    note(f"{action}: {len(lines)}")
    for line in lines[:_SAMPLE]:
        note(f"  {line}")
    if len(lines) > _SAMPLE:
        note(f"  ... and {len(lines) - _SAMPLE} more")
    if yes:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageFault(
            "nobody is at the terminal to confirm this",
            hint="repeat with --yes, or look first with --dry-run",
        )
    sys.stderr.write("Go on? [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise CommandFault("nothing was done", hint="answer y to go on")

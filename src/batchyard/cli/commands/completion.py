"""`completion`: the script that teaches a shell the commands and options."""

import sys
from typing import Annotated, Literal

from cyclopts import Parameter

CompletionShell = Literal["bash", "zsh", "fish"]


def completion(shell: Annotated[CompletionShell, Parameter(help="bash, zsh or fish.")], /) -> None:
    """Print a completion script for a shell."""
    from batchyard.cli.app import build_app

    sys.stdout.write(build_app().generate_completion(prog_name="batchyard", shell=shell))

"""How the tests call clients that are programs of their own."""

import json
import subprocess
from pathlib import Path
from typing import Any

from batchyard.testing.server import LiveYard

TIMEOUT_S = 120


class AwsCli:
    """An `aws` program. `name` keeps what different programs create apart."""

    def __init__(
        self, yard: LiveYard, program: str, *, name: str, options: tuple[str, ...] = ()
    ) -> None:
        self.yard = yard
        self.name = name
        self.program = program
        self._options = options

    def __call__(self, *arguments: str) -> Any:
        """What the command prints, as JSON; None when it prints nothing."""
        ended = self._execute(*arguments, "--output", "json")
        assert ended.returncode == 0, f"{arguments}: {ended.stdout}\n{ended.stderr}"
        return json.loads(ended.stdout) if ended.stdout.strip() else None

    def text(self, *arguments: str) -> str:
        ended = self._execute(*arguments, "--output", "text")
        assert ended.returncode == 0, f"{arguments}: {ended.stdout}\n{ended.stderr}"
        return ended.stdout.strip()

    def refused(self, *arguments: str) -> str:
        """The message of a command that must fail."""
        ended = self._execute(*arguments)
        assert ended.returncode in (254, 255), f"{arguments}: {ended.stdout}\n{ended.stderr}"
        return ended.stderr.strip()

    def _execute(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.program, *self._options, *arguments],
            env={**self.yard.env(), "AWS_PAGER": ""},
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
        )


class Node:
    """Runs scripts that `require` the AWS SDK and print one JSON document."""

    def __init__(self, yard: LiveYard, modules: str) -> None:
        self._yard = yard
        self._modules = modules

    def __call__(self, script: Path, *arguments: str) -> Any:
        ended = subprocess.run(
            ["node", str(script), *arguments],
            env={**self._yard.env(), "NODE_PATH": self._modules},
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
        )
        assert ended.returncode == 0, f"{ended.stdout}\n{ended.stderr}"
        return json.loads(ended.stdout)

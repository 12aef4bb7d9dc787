"""The scripts that write pages of docs/, loaded as they are run."""

import runpy
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]


def script(name: str) -> dict[str, Any]:
    """The globals of scripts/docs/<name>.py."""
    return runpy.run_path(str(ROOT / "scripts" / "docs" / f"{name}.py"))

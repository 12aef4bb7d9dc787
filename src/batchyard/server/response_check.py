"""Checks every answer of a server against the model, when a test run asks for it.

`BATCHYARD_CHECK_RESPONSES=FILE` makes the server append one line to FILE for each answer that
departs from its output shape, and log it as `response.problem`. In a yard nothing happens here.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import structlog

from batchyard.wire.check import response_problems
from batchyard.wire.gateway import RequestContext, ResponseHook
from batchyard.wire.model import EXTENSION_SERVICE, Models

VARIABLE = "BATCHYARD_CHECK_RESPONSES"
# CHOSEN: the one member that Batchyard adds to AWS's answers; see api/job_detail.py (ADR 11).
_OURS = ".batchyardNotes: not a member of JobDetail"


def response_check(environ: Mapping[str, str]) -> ResponseHook | None:
    """The check the environment asks for."""
    wanted = environ.get(VARIABLE, "")
    return checking(Path(wanted), Models()) if wanted else None


def checking(file: Path, models: Models) -> ResponseHook:
    """A hook that notes problems in `file`. Each line is on its way before the answer is."""
    log = structlog.get_logger("batchyard.server")

    def check(
        context: RequestContext, operation: str, status: int, output: dict[str, Any] | None
    ) -> None:
        if output is None or context.service == EXTENSION_SERVICE:
            return
        shape = models.service(context.service).operations[operation].output_shape
        problems = [p for p in response_problems(shape, output) if not p.endswith(_OURS)]
        for problem in problems:
            log.error("response.problem", operation=operation, problem=problem)
            _append(file, f"{context.service}.{operation}{problem} ({context.request_id})\n")

    return check


def _append(file: Path, line: str) -> None:
    # One write of one line, so that several servers can share the file.
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)

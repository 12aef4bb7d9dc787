"""The states of a job and which moves between them are legal. No behaviour lives here."""

from typing import Literal, get_args

Status = Literal["SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING", "SUCCEEDED", "FAILED"]

STATUSES: tuple[Status, ...] = get_args(Status)
"""In the order of a job's life; AWS's statusSummary lists all seven."""

TERMINAL: frozenset[Status] = frozenset({"SUCCEEDED", "FAILED"})
WAITING: frozenset[Status] = frozenset({"SUBMITTED", "PENDING", "RUNNABLE"})
LIVE: frozenset[Status] = frozenset({"STARTING", "RUNNING"})
"""An attempt exists and holds resources."""

# AWS: user guide, "Job states". STARTING -> RUNNABLE and RUNNING -> RUNNABLE are retries.
# PENDING -> SUCCEEDED happens to array parents alone: they wait in PENDING while children run.
MOVES: frozenset[tuple[Status, Status]] = frozenset(
    {
        ("SUBMITTED", "PENDING"),
        ("SUBMITTED", "RUNNABLE"),
        ("SUBMITTED", "FAILED"),
        ("PENDING", "RUNNABLE"),
        ("PENDING", "SUCCEEDED"),
        ("PENDING", "FAILED"),
        ("RUNNABLE", "STARTING"),
        ("RUNNABLE", "FAILED"),
        ("STARTING", "RUNNING"),
        ("STARTING", "RUNNABLE"),
        ("STARTING", "FAILED"),
        ("RUNNING", "RUNNABLE"),
        ("RUNNING", "SUCCEEDED"),
        ("RUNNING", "FAILED"),
    }
)

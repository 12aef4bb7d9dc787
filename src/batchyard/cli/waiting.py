"""Waiting for jobs with progress a person can read. Polls DescribeJobs; decides nothing else.

One line is redrawn on a terminal; elsewhere a plain line appears every 30 s, so a log file stays
short.
"""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TextIO

from batchyard.cli.client import Client, Document
from batchyard.cli.faults import DeadlinePassed, JobsFailed
from batchyard.cli.jobs import (
    FINISHED,
    STATES,
    array_size,
    describe_jobs,
    exit_code_of,
    require_jobs,
    state_counts,
    why,
)
from batchyard.cli.output import amount_of_time, is_terminal

PLAIN_LINE_EVERY_S: Final = 30.0
STALLED_AFTER_S: Final = 10.0
_FIRST_PAUSE_S: Final = 0.1
_LONGEST_PAUSE_S: Final = 2.0
_BAR_CELLS: Final = 24


@dataclass(frozen=True, kw_only=True)
class Pace:
    """The clock and the way to let time pass, so that tests own both."""

    now_s: Callable[[], float] = time.monotonic
    pause: Callable[[float], None] = time.sleep


@dataclass(kw_only=True)
class Progress:
    """Where progress goes; `finish` leaves the last state on the screen."""

    stream: TextIO = field(default_factory=lambda: sys.stderr)
    quiet: bool = False
    _began_s: float = field(default=0.0, init=False)
    _first_done: int = field(default=-1, init=False)
    _last_plain_s: float = field(default=0.0, init=False)
    _last_text: str = field(default="", init=False)
    _stalled_since_s: float | None = field(default=None, init=False)
    _said: bool = field(default=False, init=False)

    def stalled(self, counts: Mapping[str, int], now_s: float, job_id: str) -> None:
        """Say once how to find out more when nothing has run for a while."""
        live = counts.get("STARTING", 0) + counts.get("RUNNING", 0)
        if live or self._stalled_since_s is None:
            self._stalled_since_s = None if live else now_s
        if self.quiet or self._said or self._stalled_since_s is None:
            return
        if now_s - self._stalled_since_s >= STALLED_AFTER_S:
            self._said = True
            start = "\r\x1b[K" if is_terminal(self.stream) else ""
            self.stream.write(f"{start}nothing runs yet; see why: batchyard explain {job_id}\n")
            self.stream.flush()
            self._last_text = ""

    def show(self, counts: Mapping[str, int], now_s: float) -> None:
        done = sum(counts.get(state, 0) for state in FINISHED)
        if self._first_done < 0:
            self._first_done, self._began_s, self._last_plain_s = done, now_s, now_s
        if self.quiet:
            return
        text = progress_line(counts, fresh=done - self._first_done, elapsed_s=now_s - self._began_s)
        if is_terminal(self.stream):
            if text != self._last_text:
                self.stream.write(f"\r\x1b[K{text}")
                self.stream.flush()
        elif now_s - self._last_plain_s >= PLAIN_LINE_EVERY_S:
            self._last_plain_s = now_s
            self.stream.write(text + "\n")
            self.stream.flush()
        self._last_text = text

    def finish(self) -> None:
        if self.quiet or not self._last_text:
            return
        ending = "\n" if is_terminal(self.stream) else self._last_text + "\n"
        self.stream.write(ending)
        self.stream.flush()


def progress_line(counts: Mapping[str, int], *, fresh: int, elapsed_s: float) -> str:
    """`[#####>....] 812/1000  SUCCEEDED 810  FAILED 2  RUNNING 8  ETA 3m05s`

    Args:
        fresh: Jobs that finished while we watched; the estimate comes from them alone.
    """
    total = sum(counts.values())
    done = sum(counts.get(state, 0) for state in FINISHED)
    filled = _BAR_CELLS * done // total if total else 0
    # Full only when all is done: 999 of 1000 must not look finished.
    head = ">" if filled < _BAR_CELLS else ""
    bar = ("#" * filled + head).ljust(_BAR_CELLS, ".")
    parts = [f"[{bar}] {done}/{total}"]
    parts += [f"{state} {counts[state]}" for state in reversed(STATES) if counts.get(state)]
    if fresh > 0 and done < total:
        parts.append(f"ETA {amount_of_time(elapsed_s / fresh * (total - done) * 1000)}")
    return "  ".join(parts)


def await_jobs(
    client: Client,
    ids: Sequence[str],
    *,
    any_one: bool = False,
    timeout_s: float | None = None,
    progress: Progress,
    pace: Pace,
) -> dict[str, Document]:
    """Poll until all (or any one) of the jobs finished; return the last details of each.

    Raises:
        Missing: an id is unknown at the first look.
        DeadlinePassed: `timeout_s` ran out; the jobs go on.
    """
    began_s = pace.now_s()
    jobs = require_jobs(client, ids)
    pause_s = _FIRST_PAUSE_S
    try:
        while True:
            now_s = pace.now_s()
            counts: dict[str, int] = {}
            for job in jobs.values():
                for state, count in state_counts(job).items():
                    counts[state] = counts.get(state, 0) + count
            progress.show(counts, now_s)
            waiting = [name for name, job in jobs.items() if job["status"] not in FINISHED]
            if not waiting or (any_one and len(waiting) < len(jobs)):
                return jobs
            progress.stalled(counts, now_s, waiting[0])
            if timeout_s is not None and now_s - began_s >= timeout_s:
                raise DeadlinePassed(
                    f"{len(waiting)} of {len(jobs)} jobs not finished after "
                    f"{amount_of_time(timeout_s * 1000)}; they go on",
                    hint=f"batchyard explain {waiting[0]} says why one waits, "
                    f"batchyard wait {waiting[0]} waits again",
                )
            left_s = _LONGEST_PAUSE_S if timeout_s is None else began_s + timeout_s - now_s
            pace.pause(max(0.01, min(pause_s, left_s)))
            pause_s = min(pause_s * 1.3, _LONGEST_PAUSE_S)
            # A job that vanishes while we wait (its record expired) keeps its last known state
            # only when finished; otherwise it stays in `jobs` and the wait goes on.
            jobs |= describe_jobs(client, waiting)
    finally:
        progress.finish()


def judge(jobs: Mapping[str, Document], *, exit_code_from_job: bool) -> None:
    """Return when no finished job failed.

    Raises:
        JobsFailed: at least one finished job is FAILED. Its exit code is 5, or with
            `exit_code_from_job` and a single job the non-zero code of its container.
    """
    failed = [job for job in jobs.values() if job["status"] == "FAILED"]
    if not failed:
        return
    worst = failed[0]
    first = f"{worst['jobName']} ({worst['jobId']}): {why(worst) or 'no reason given'}"
    if len(failed) == 1:
        message = f"job FAILED: {first}"
    else:
        message = f"{len(failed)} of {len(jobs)} jobs FAILED; the first is {first}"
    if array_size(worst) is not None:
        hint = f"see the failed children: batchyard ls {worst['jobId']} --failed"
    elif worst.get("startedAt"):
        hint = f"see its output: batchyard logs {worst['jobId']}"
    else:
        hint = f"it never started; see all about it: batchyard show {worst['jobId']}"
    # A job can fail with exit code 0 (terminated, host lost); 0 must not look like success.
    code = exit_code_of(worst) if exit_code_from_job and len(jobs) == 1 else None
    raise JobsFailed(message, hint=hint, exit_code=code or None)

"""`logs`: what a job printed, now or as it comes, through the CloudWatch Logs API."""

import re
import sys
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Final

from cyclopts import Parameter

from batchyard.cli.client import Client, Document
from batchyard.cli.faults import ApiFault, Missing, UsageFault
from batchyard.cli.jobs import FINISHED, array_size, require_jobs
from batchyard.cli.options import ANYWHERE, Targeted
from batchyard.cli.output import note
from batchyard.cli.waiting import Pace, Progress, await_jobs, judge

DEFAULT_GROUP: Final = "/aws/batch/job"
# AWS: GetLogEvents returns at most 10,000 events.
_EVENTS_PER_CALL: Final = 10_000
_POLL_S: Final = 0.5
# AWS: events may arrive a little after the state that ends the job.
_EMPTY_LOOKS_AFTER_END: Final = 2


@dataclass(frozen=True, kw_only=True)
class Stream:
    group: str
    name: str


def logs(
    identity: Annotated[str, Parameter(help="A job id; a child of an array as ID:INDEX.")],
    /,
    *,
    follow: Annotated[
        bool, Parameter(name=["--follow", "-f"], help="Go on until the job has finished.")
    ] = False,
    attempt: Annotated[
        int | None, Parameter(name="--attempt", help="Output of this attempt; default the last.")
    ] = None,
    tail: Annotated[int | None, Parameter(name="--tail", help="Only the last N lines.")] = None,
    grep: Annotated[
        str | None, Parameter(name="--grep", help="Only lines that match this expression.")
    ] = None,
    target: Targeted = ANYWHERE,
) -> None:
    """Print the output of a job."""
    if tail is not None and tail < 1:
        raise UsageFault(
            f"--tail {tail} is not positive", hint="give a number of lines, such as 50"
        )
    if follow and attempt is not None:
        raise UsageFault("--follow goes with the last attempt", hint="leave --attempt or -f out")
    pattern = _pattern(grep)
    with target.client() as client:
        if follow:
            follow_log(client, identity, pattern=pattern, tail=tail, pace=Pace())
            jobs = await_jobs(client, [identity], progress=Progress(quiet=True), pace=Pace())
            judge(jobs, exit_code_from_job=False)
            return
        job = _one_job(client, identity)
        stream = stream_of(job, attempt)
        if stream is None:
            raise Missing(
                f"job {identity} has no output yet: it is {job['status']}",
                hint=f"batchyard explain {identity} says why; batchyard logs -f {identity} waits",
            )
        for line in _last_lines(client, stream, pattern=pattern, tail=tail):
            sys.stdout.write(line + "\n")


def follow_log(
    client: Client,
    identity: str,
    *,
    pattern: re.Pattern[str] | None = None,
    tail: int | None = None,
    pace: Pace,
) -> None:
    """Print output as it comes, through retries, until the job has finished."""
    current: Stream | None = None
    token: str | None = None
    empty_looks = 0
    status = ""
    while True:
        job = _one_job(client, identity)
        finished = job["status"] in FINISHED
        stream = stream_of(job, None)
        if stream != current and stream is not None:
            if current is not None:
                token = _drain(client, current, token, pattern)
                note(f"-- attempt ended, next attempt: {stream.name}")
            current, token = stream, None
            if tail is not None:
                token = _print_tail(client, current, tail, pattern)
        if current is None and job["status"] != status and not finished:
            status = job["status"]
            note(f"-- {status}: no output yet")
        before = token
        if current is not None:
            token = _drain(client, current, token, pattern)
            sys.stdout.flush()
        empty_looks = empty_looks + 1 if token == before else 0
        if finished and (current is None or empty_looks >= _EMPTY_LOOKS_AFTER_END):
            return
        pace.pause(_POLL_S if not finished else 0.1)


def stream_of(job: Document, attempt: int | None) -> Stream | None:
    """Where an attempt writes; None while it has not started."""
    container = job.get("container") or {}
    options = (container.get("logConfiguration") or {}).get("options") or {}
    group = str(options.get("awslogs-group") or DEFAULT_GROUP)
    if attempt is None:
        name = container.get("logStreamName")
    else:
        attempts: list[Document] = job.get("attempts") or []
        unfinished = job["status"] in ("STARTING", "RUNNING")
        if attempt == len(attempts) + 1 and unfinished:
            name = container.get("logStreamName")
        elif 1 <= attempt <= len(attempts):
            name = (attempts[attempt - 1].get("container") or {}).get("logStreamName")
        else:
            raise Missing(
                f"job {job['jobId']} has no attempt {attempt}; it has had {len(attempts)}",
                hint=f"batchyard show {job['jobId']} lists them",
            )
    return Stream(group=group, name=str(name)) if name else None


def _one_job(client: Client, identity: str) -> Document:
    job = next(iter(require_jobs(client, [identity]).values()))
    size = array_size(job)
    if size is not None:
        raise UsageFault(
            f"job {identity} is an array; its {size} children have the output",
            hint=f"for one child: batchyard logs {job['jobId']}:0; "
            f"which failed: batchyard ls {job['jobId']} --failed",
        )
    return job


def _last_lines(
    client: Client, stream: Stream, *, pattern: re.Pattern[str] | None, tail: int | None
) -> Iterator[str]:
    if tail is not None and pattern is None and tail <= _EVENTS_PER_CALL:
        events, _ = _events(client, stream, token=None, from_head=False, limit=tail)
        yield from (_line(event) for event in events)
        return
    kept: deque[str] = deque(maxlen=tail)
    token: str | None = None
    while True:
        events, following = _events(client, stream, token=token)
        matching = [line for line in map(_line, events) if pattern is None or pattern.search(line)]
        if tail is None:
            yield from matching
        else:
            kept.extend(matching)
        # AWS: the end of a stream is the token that was sent coming back.
        if following is None or following == token:
            break
        token = following
    yield from kept


def _print_tail(
    client: Client, stream: Stream, tail: int, pattern: re.Pattern[str] | None
) -> str | None:
    events, token = _events(
        client, stream, token=None, from_head=False, limit=min(tail, _EVENTS_PER_CALL)
    )
    _print(events, pattern)
    return token


def _drain(
    client: Client, stream: Stream, token: str | None, pattern: re.Pattern[str] | None
) -> str | None:
    """Print all that has come since `token`; return the token of the end."""
    while True:
        events, following = _events(client, stream, token=token)
        _print(events, pattern)
        if following is None or following == token:
            return following or token
        token = following


def _print(events: list[Document], pattern: re.Pattern[str] | None) -> None:
    for line in map(_line, events):
        if pattern is None or pattern.search(line):
            sys.stdout.write(line + "\n")


def _line(event: Document) -> str:
    return str(event.get("message", "")).rstrip("\n")


def _events(
    client: Client,
    stream: Stream,
    *,
    token: str | None,
    from_head: bool = True,
    limit: int = _EVENTS_PER_CALL,
) -> tuple[list[Document], str | None]:
    request: Document = {
        "logGroupName": stream.group,
        "logStreamName": stream.name,
        "startFromHead": from_head,
        "limit": limit,
    }
    if token is not None:
        request["nextToken"] = token
    try:
        answer = client.logs("GetLogEvents", request)
    except ApiFault as fault:
        # AWS: a stream appears with its first event; until then it "does not exist".
        if fault.error_code == "ResourceNotFoundException":
            return [], token
        raise
    return answer.get("events", []), answer.get("nextForwardToken")


def _pattern(grep: str | None) -> re.Pattern[str] | None:
    if grep is None:
        return None
    try:
        return re.compile(grep)
    except re.error as error:
        raise UsageFault(
            f"--grep {grep!r} is not a regular expression: {error}",
            hint="escape special characters with a backslash",
        ) from error

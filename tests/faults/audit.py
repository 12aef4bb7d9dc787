"""What must be true of a yard after any number of deaths. Every function asserts."""

import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec

from faults.autopsy import autopsy
from faults.killable_yard import KillableYard, until
from faults.load import Load, expected_codes, kind_of

ENDED = ("SUCCEEDED", "FAILED")
LOG_GROUP = "/aws/batch/job"


class Trace(msgspec.Struct, frozen=True, kw_only=True):
    """A line of a job's file in the ledger."""

    what: str
    attempt: int
    at_s: float


def trace(ledger: Path, job_id: str) -> list[Trace]:
    try:
        lines = (ledger / job_id).read_text().splitlines()
    except FileNotFoundError:
        return []
    found = []
    for line in lines:
        what, attempt, at_s = line.split()
        found.append(Trace(what=what, attempt=int(attempt), at_s=float(at_s)))
    return found


def described(batch: Any, job_ids: Iterable[str]) -> list[dict[str, Any]]:
    ids = list(job_ids)
    found: list[dict[str, Any]] = []
    for first in range(0, len(ids), 100):
        found += batch.describe_jobs(jobs=ids[first : first + 100])["jobs"]
    return found


def every_job(batch: Any) -> list[dict[str, Any]]:
    """All jobs of the yard, acknowledged or not; an array by its parent."""
    pages = batch.get_paginator("list_jobs").paginate(
        jobQueue="default", filters=[{"name": "AFTER_CREATED_AT", "values": ["0"]}]
    )
    ids = [job["jobId"] for page in pages for job in page["jobSummaryList"]]
    return described(batch, ids)


def nothing_acknowledged_is_lost(batch: Any, load: Load) -> None:
    known = {job["jobId"]: job["jobName"] for job in every_job(batch)}
    assert load.acknowledged.items() <= known.items()


def await_ends(yard: KillableYard, batch: Any, load: Load) -> None:
    def open_jobs() -> list[dict[str, Any]]:
        return [job for job in every_job(batch) if job["status"] not in ENDED]

    def over() -> bool:
        assert yard.alive(), f"the server died by itself\n{yard.tail()}"
        return not open_jobs()

    try:
        until(over, "the end of every job")
    except AssertionError as error:
        told = [autopsy(yard, job, load.ledger) for job in open_jobs()[:10]]
        raise AssertionError("\n".join([str(error), *told, yard.tail()])) from None


def every_attempt_is_true(
    yard: KillableYard, batch: Any, load: Load, *, some_are_lost: bool = False
) -> int:
    """Exit codes, traces and logs of every attempt of every job; how many there were.

    Where `some_are_lost`, an attempt may have been given up with its instance: it ran once or not
    at all, and is retried as its strategy says.
    """
    jobs = every_job(batch)
    for parent in [job for job in jobs if "arrayProperties" in job]:
        size = parent["arrayProperties"]["size"]
        jobs += described(batch, (f"{parent['jobId']}:{i}" for i in range(size)))
    singles = [job for job in jobs if "size" not in job.get("arrayProperties", {})]
    sleepers = [job for job in singles if kind_of(job["jobName"]).kind == "sleeper"]
    for job in sleepers:
        _stopped_in_time(job, load)
    for job in (job for job in singles if kind_of(job["jobName"]).kind == "broken"):
        _never_started(job, load)
    apart = ("sleeper", "broken")
    others = [job for job in singles if kind_of(job["jobName"]).kind not in apart]
    for job in others:
        _true_to_its_name(job, load, some_are_lost=some_are_lost)
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda job: _logs_are_whole(yard, job), others))
    known = {job["jobId"] for job in singles}
    strangers = {path.name for path in load.ledger.iterdir()} - known - {"gate"}
    assert not strangers, "something ran that no job of the yard asked for"
    return sum(len(job["attempts"]) for job in singles)


def _codes(job: dict[str, Any]) -> list[int | None]:
    return [attempt["container"].get("exitCode") for attempt in job["attempts"]]


def is_lost(attempt: dict[str, Any]) -> bool:
    return "exitCode" not in attempt["container"] and bool(
        re.fullmatch(r"Host EC2 \(instance i-\w+\) terminated\.", attempt["statusReason"])
    )


def _true_to_its_name(job: dict[str, Any], load: Load, *, some_are_lost: bool) -> None:
    index = job.get("arrayProperties", {}).get("index", 0)
    expected: list[int | None] = [*expected_codes(job["jobName"], index)]
    traces = trace(load.ledger, job["jobId"])
    told = f"{job['jobId']} ({job['jobName']}): {job.get('statusReason')} {job['attempts']}"
    told += f" {traces}"
    # One start and one end for each attempt, in order: none ran twice, no two overlapped.
    lived = {n: ["start", "end"] for n in range(1, len(expected) + 1)}
    lost = [n for n, attempt in enumerate(job["attempts"], 1) if is_lost(attempt)]
    for number in lost if some_are_lost else ():
        expected[number - 1] = None
        lived[number] = lived[number][: len([1 for one in traces if one.attempt == number])]
    assert _codes(job) == expected, told
    assert job["status"] == ("SUCCEEDED" if expected[-1] == 0 else "FAILED"), told
    each = [(what, number) for number, lines in lived.items() for what in lines]
    assert [(one.what, one.attempt) for one in traces] == each, told
    assert all(a.at_s <= b.at_s for a, b in pairwise(traces)), told


def _stopped_in_time(job: dict[str, Any], load: Load) -> None:
    told = f"{job['jobId']}: {job.get('statusReason')} {job['attempts']}"
    assert job["status"] == "FAILED", told
    assert job["statusReason"] == f"enough of {job['jobId']}", told
    traces = trace(load.ledger, job["jobId"])
    assert [one.what for one in traces] == ["start"] * len(traces), told
    # One that was stopped before it started has no exit code and no trace.
    assert _codes(job) in ([], [None], [143], [137]), told
    assert len(traces) == len([code for code in _codes(job) if code is not None]), told


def _never_started(job: dict[str, Any], load: Load) -> None:
    told = f"{job['jobId']}: {job.get('statusReason')} {job['attempts']}"
    assert (job["status"], _codes(job)) == ("FAILED", [None]), told
    reason = job["attempts"][0]["container"]["reason"]
    assert reason.startswith("CannotStartContainerError"), told
    assert not trace(load.ledger, job["jobId"]), told


def _logs_are_whole(yard: KillableYard, job: dict[str, Any]) -> None:
    logs = yard.client("logs")
    try:
        for number, attempt in enumerate(job["attempts"], 1):
            if is_lost(attempt):
                continue  # what it said went with its instance
            page = logs.get_log_events(
                logGroupName=LOG_GROUP,
                logStreamName=attempt["container"]["logStreamName"],
                startFromHead=True,
            )
            me = f"{job['jobId'].partition(':')[0]} {number}"
            said = [event["message"] for event in page["events"]]
            full = f"{job['jobId']} {number}"
            assert said in ([f"begin {me}", f"end {me}"], [f"begin {full}", f"end {full}"]), said
    finally:
        logs.close()


def nothing_dangles(yard: KillableYard, load: Load) -> None:
    """Of a yard that runs and has nothing to do."""
    until(lambda: not yard.rows("SELECT doc FROM outbox"), "an empty outbox")
    if yard.engine == "docker":
        assert yard.containers() == []
    assert until(lambda: not yard.attempt_folders(), f"no attempts: {yard.attempt_folders()}")


def nothing_stays(yard: KillableYard, load: Load) -> None:
    """Of a yard that was stopped."""
    mark = str(load.ledger)
    until(lambda: not yard.processes(mark), f"no process: {yard.processes(mark)}")
    until(lambda: not yard.control_groups(), f"no control group: {yard.control_groups()}")

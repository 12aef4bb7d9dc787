"""What a test tells of a job that does not end: its traces, its container, its processes."""

import contextlib
import os
from pathlib import Path
from typing import Any

from faults.killable_yard import KillableYard, engine

_LABEL = "batchyard.attempt"


def autopsy(yard: KillableYard, job: dict[str, Any], ledger: Path) -> str:
    """Several lines, for a failure's message. Changes nothing."""
    told = [f"{job['jobName']} ({job['jobId']}) is {job['status']}: {job.get('statusReason', '')}"]
    with contextlib.suppress(OSError):
        told.append(f"  traces: {(ledger / job['jobId']).read_text().splitlines()}")
    told.append(f"  attempts: {job['attempts']}")
    told.append(f"  outbox: {yard.rows('SELECT doc FROM outbox')}")
    if yard.engine == "docker":
        told += _containers(yard, job["jobId"])
    told += [f"  process {line}" for line in _processes(job["jobId"])]
    return "\n".join(told)


def _containers(yard: KillableYard, job_id: str) -> list[str]:
    told = []
    for container_id in yard.containers():
        found = engine(yard.socket, "GET", f"/containers/{container_id}/json")
        if job_id in found["Config"]["Labels"].get(_LABEL, ""):
            told.append(f"  container {container_id[:12]}: {found['State']}")
    return told


def _processes(job_id: str) -> list[str]:
    told = []
    for pid in filter(str.isdecimal, os.listdir("/proc")):
        here = Path("/proc") / pid
        try:
            if f"AWS_BATCH_JOB_ID={job_id}".encode() not in (here / "environ").read_bytes():
                continue
            state = (here / "stat").read_text().rpartition(")")[2].split()[:2]
            files = {fd.name: os.readlink(fd) for fd in (here / "fd").iterdir()}
            name, waits_in = (here / "comm").read_text().strip(), (here / "wchan").read_text()
        except OSError:
            continue  # it has just ended
        told.append(f"{pid} {name} {state} in {waits_in}, files {files}")
    return told

"""DescribeJobs of 100 jobs while 1,000 jobs run, against the same call on an idle yard.

The jobs are real processes that sleep. Target: p99 under 20 ms.
"""

import argparse
import asyncio
import json
import statistics
import time

from lab import Lab, machine, register, send, yard


def latencies(lab: Lab, ids: list[str], *, calls: int) -> list[float]:
    """Milliseconds of each call, one after the other, each of another 100 jobs."""
    requests = []
    for i in range(calls):
        start = i * 37 % max(1, len(ids) - 100)
        requests.append(lab.request("DescribeJobs", {"jobs": ids[start : start + 100]}))
    answers = asyncio.run(send(lab, requests, connections=1))
    for status, body, _ in answers:
        if status != 200 or len(json.loads(body)["jobs"]) != 100:
            raise SystemExit(f"wrong answer {status}: {body[:200].decode()}")
    return [1000 * took for _, _, took in answers]


def row(name: str, values: list[float]) -> str:
    cuts = statistics.quantiles(values, n=100)
    return f"{name:24} ms: p50 {cuts[49]:.2f}  p99 {cuts[98]:.2f}  max {max(values):.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--running", type=int, default=1000)
    parser.add_argument("--calls", type=int, default=600)
    options = parser.parse_args()
    settings = f"[host]\nvcpus = {options.running}\n"
    with yard(executor="process", settings=settings) as lab:
        register(lab, "noop", ["/bin/true"], memory=4)
        register(lab, "sleep", ["sleep", "300"], memory=4)
        idle = submit(lab, "noop", 400)
        wait_for(lab, idle, "SUCCEEDED")
        quiet = latencies(lab, idle, calls=options.calls)
        busy = submit(lab, "sleep", options.running)
        wait_for(lab, busy, "RUNNING")
        loaded = latencies(lab, busy, calls=options.calls)
        for job in busy:
            lab.call("TerminateJob", jobId=job, reason="the benchmark is over")
        wait_for(lab, busy, "FAILED")
    print(f"machine: {machine()}; {options.calls} calls of 100 jobs each")
    print(row("idle yard", quiet))
    print(row(f"{options.running} jobs running", loaded) + "   target: p99 under 20")
    ratio = statistics.median(loaded) / statistics.median(quiet)
    print(f"ratio of medians         {ratio:.2f}")


def submit(lab: Lab, definition: str, count: int) -> list[str]:
    body = {"jobName": "j", "jobQueue": "default", "jobDefinition": definition}
    requests = [lab.request("SubmitJob", body) for _ in range(count)]
    answers = asyncio.run(send(lab, requests, connections=8))
    return [json.loads(answer)["jobId"] for _, answer, _ in answers]


def wait_for(lab: Lab, ids: list[str], status: str) -> None:
    deadline = time.monotonic() + 180
    pending = list(ids)
    while pending and time.monotonic() < deadline:
        found: dict[str, object] = lab.call("DescribeJobs", jobs=pending[:100])
        jobs = found["jobs"]
        assert isinstance(jobs, list)
        done = {job["jobId"] for job in jobs if job["status"] == status}
        pending = [job for job in pending if job not in done]
        time.sleep(0 if done else 0.1)
    if pending:
        raise SystemExit(f"{len(pending)} jobs did not become {status}")


if __name__ == "__main__":
    main()

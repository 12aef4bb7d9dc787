"""10,000 no-op jobs through `process`, end to end, against a bare fork/exec loop of the same size.

Prints the overhead per job: what the yard costs on top of starting the same program with nothing
around it. Target: at most 5 ms (aim for 3).
"""

import argparse
import asyncio
import os
import time

from lab import Lab, machine, register, send, spread, yard


def bare_loop(count: int, at_once: int) -> float:
    """Seconds per program, starting `/bin/true` directly with the same concurrency."""
    began = time.perf_counter()
    live = 0
    for _ in range(count):
        if live == at_once:
            os.wait()
            live -= 1
        os.posix_spawn("/bin/true", ["/bin/true"], {})
        live += 1
    while live:
        os.wait()
        live -= 1
    return (time.perf_counter() - began) / count


def through_yard(lab: Lab, count: int) -> float:
    """Seconds per job, from the SubmitJob of an array to its SUCCEEDED."""
    began = time.perf_counter()
    job = lab.call(
        "SubmitJob",
        jobName="noop",
        jobQueue="default",
        jobDefinition="noop",
        arrayProperties={"size": count},
    )["jobId"]
    while True:
        request = lab.request("DescribeJobs", {"jobs": [job]})
        _, body, _ = asyncio.run(send(lab, [request], connections=1))[0]
        if b'"status":"SUCCEEDED"' in body or b'"status":"FAILED"' in body:
            if b'"FAILED":0' not in body:
                raise SystemExit(f"a child failed: {body.decode()}")
            return (time.perf_counter() - began) / count
        time.sleep(0.05)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--at-once", type=int, default=8, help="vCPUs the yard may hand out")
    options = parser.parse_args()
    with yard(executor="process", settings=f"[host]\nvcpus = {options.at_once}\n") as lab:
        register(lab, "noop", ["/bin/true"])
        through_yard(lab, 200)
        bare, jobs = [], []
        for _ in range(options.rounds):
            bare.append(1000 * bare_loop(options.jobs, options.at_once))
            jobs.append(1000 * through_yard(lab, options.jobs))
    over = [j - b for j, b in zip(jobs, bare, strict=True)]
    print(f"machine: {machine()}; {options.jobs} jobs, {options.at_once} at once")
    print(f"bare fork/exec    ms per program: {spread(bare)}")
    print(f"through the yard  ms per job:     {spread(jobs)}")
    print(f"overhead          ms per job:     {spread(over)}   target: at most 5")


if __name__ == "__main__":
    main()

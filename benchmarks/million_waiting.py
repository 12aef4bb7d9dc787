"""A whole yard with 1,000 and then with 1,000,000 jobs waiting: passes, SubmitJob, memory.

The jobs are written through the yard's own kernel and store, without HTTP, then a server is started
on that home and asked over HTTP. Each of its passes is caused by a job that ends and places the
next one. Targets: pass time flat within 2x; resident memory under 1.2 GiB at a million.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from pathlib import Path

from lab import Lab, call_extension, machine, serve

from batchyard.kernel.commands import (
    Command,
    CreateComputeEnvironment,
    CreateJobQueue,
    RegisterJobDefinition,
    SettleComputeEnvironment,
    SettleJobQueue,
    SubmitJob,
)
from batchyard.kernel.decide import decide
from batchyard.server.job_ids import job_ids
from batchyard.server.yard import now_ms
from batchyard.store.port import Transaction
from batchyard.store.sqlite import open_store

SETTINGS = "[host]\nvcpus = 4\n"


async def fill(home: Path, jobs: int) -> None:
    """A queue with so many jobs, each of which runs for 50 ms once it is placed."""
    store = open_store(home)
    fresh = job_ids(now_ms)

    def do(tx: Transaction, command: Command) -> None:
        tx.record(decide(command, tx, now_ms()))

    sizes = [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "16"}]
    first = [
        CreateComputeEnvironment(
            uuid="u", request={"computeEnvironmentName": "host", "type": "UNMANAGED"}
        ),
        SettleComputeEnvironment(name="host", generation=1),
        CreateJobQueue(
            request={
                "jobQueueName": "many",
                "priority": 5,
                "computeEnvironmentOrder": [{"order": 1, "computeEnvironment": "host"}],
            }
        ),
        SettleJobQueue(name="many", generation=1),
        RegisterJobDefinition(
            request={
                "jobDefinitionName": "nap",
                "type": "container",
                "parameters": {"run_for": "0.05"},
                "containerProperties": {"image": "none", "resourceRequirements": sizes},
            }
        ),
    ]
    for command in first:
        await store.write(lambda tx, command=command: do(tx, command))
    seq = store.read_now(lambda r: r.next_seq())
    request: dict[str, object] = {"jobName": "j", "jobQueue": "many", "jobDefinition": "nap"}

    def portion(tx: Transaction, start: int, count: int) -> None:
        for i in range(start, start + count):
            do(tx, SubmitJob(job_id=fresh(), seq=seq + i, request=request))

    for start in range(0, jobs, 1000):
        await store.write(lambda tx, start=start: portion(tx, start, min(1000, jobs - start)))
    await store.close()


def measure(lab: Lab) -> tuple[list[float], int]:
    """Pass times in us and resident MiB, after the yard has worked for a while."""
    time.sleep(4.0)
    found = call_extension(lab, "passes")["passes"]
    assert isinstance(found, list)
    return [p["durationUs"] for p in found if p["placed"]], rss_mib(lab.pid)


def rss_mib(pid: int) -> int:
    text = Path(f"/proc/{pid}/status").read_text()
    line = next(line for line in text.splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) // 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--waiting", type=int, default=1_000_000)
    options = parser.parse_args()
    rows = []
    for jobs in (1000, options.waiting):
        with tempfile.TemporaryDirectory(prefix="batchyard-bench-") as folder:
            home = Path(folder)
            began = time.perf_counter()
            asyncio.run(fill(home, jobs))
            filling = time.perf_counter() - began
            began = time.perf_counter()
            with serve(home, executor="mock", settings=SETTINGS) as lab:
                starting = time.perf_counter() - began
                passes, resident = measure(lab)
            rows.append((jobs, passes, resident, filling, starting))
    print(f"machine: {machine()}")
    for jobs, passes, resident, filling, starting in rows:
        print(
            f"{jobs:>9,} waiting: pass median {statistics.median(passes):.0f} us "
            f"({len(passes)} passes), resident {resident} MiB, up in {starting:.1f} s "
            f"(written at {jobs / filling:,.0f} jobs/s)"
        )
    ratio = statistics.median(rows[1][1]) / statistics.median(rows[0][1])
    print(f"ratio of medians  {ratio:.2f}   target: at most 2; resident target: under 1229 MiB")


if __name__ == "__main__":
    main()

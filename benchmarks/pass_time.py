"""One scheduler pass with 1,000 and with 1,000,000 waiting jobs, side by side, and their memory.

Each pass places one job that fits and starts from a fresh snapshot of the live index, as in a yard;
a hundred queues share the jobs. Targets: flat within 2x; resident memory under 1.2 GiB at a
million.
"""

import argparse
import resource
import statistics
import time
import uuid

from lab import machine

from batchyard.control.scheduling import WINDOW
from batchyard.kernel import events as ev
from batchyard.kernel.environment import ComputeEnvironment, JobQueue
from batchyard.kernel.job import Job
from batchyard.kernel.resources import Shape
from batchyard.scheduler.index import LiveIndex
from batchyard.scheduler.plan import plan
from batchyard.scheduler.snapshot import Instance

QUEUES = 100


def loaded(waiting: int) -> LiveIndex:
    """An index with so many single jobs waiting, in random order of arrival over the queues."""
    index = LiveIndex()
    index.add_instance(
        Instance(instance_id="i-1", total=Shape(vcpu_milli=64_000, memory_mib=256_000))
    )
    index.apply(
        ev.ComputeEnvironmentSaved(
            compute_environment=ComputeEnvironment(
                name="ce",
                type="UNMANAGED",
                state="ENABLED",
                status="VALID",
                status_reason="",
                uuid="u",
                created_at_ms=0,
            )
        ),
        None,
    )
    for q in range(QUEUES):
        queue = JobQueue(
            name=f"q{q}",
            state="ENABLED",
            status="VALID",
            status_reason="",
            priority=q % 7,
            compute_environments=("ce",),
            created_at_ms=0,
        )
        index.apply(ev.QueueSaved(queue=queue), None)
    shapes = [
        Shape(vcpu_milli=1000 * (1 + i % 4), memory_mib=1024 * (1 + i % 5)) for i in range(20)
    ]
    for i in range(waiting):
        index.load(
            Job(
                job_id=str(uuid.UUID(int=i << 64 | i)),
                kind="single",
                name="j",
                queue=f"q{i % QUEUES}",
                definition="d:1",
                status="RUNNABLE",
                seq=i,
                shape=shapes[i % 20],
                created_at_ms=0,
            )
        )
    return index


def one_pass(index: LiveIndex) -> float:
    """Microseconds of snapshot, plan, reserve; the machine is emptied again afterwards."""
    began = time.perf_counter()
    planned = plan(index.snapshot(window=WINDOW))
    for placement in planned.placements:
        index.reserve(placement)
    took = 1e6 * (time.perf_counter() - began)
    if not planned.placements:
        raise SystemExit("a pass placed nothing")
    for placement in planned.placements:
        index.occupancy.release(placement.job_id)
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--passes", type=int, default=200)
    parser.add_argument("--waiting", type=int, default=1_000_000)
    options = parser.parse_args()
    began = time.perf_counter()
    large = loaded(options.waiting)
    loading = time.perf_counter() - began
    resident = rss_mib()
    few, many = [], []
    small = loaded(1000)
    for i in range(options.passes):
        if i % 20 == 0:
            small = loaded(1000)
        few.append(one_pass(small))
        many.append(one_pass(large))
    print(f"machine: {machine()}; {options.passes} passes of each, in turn")
    print(f"1,000 waiting        us per pass: {summary(few)}")
    print(f"{options.waiting:,} waiting    us per pass: {summary(many)}")
    ratio = statistics.median(many) / statistics.median(few)
    print(f"ratio of medians     {ratio:.2f}   target: at most 2")
    print(f"resident memory      {resident} MiB with the large index   target: under 1229")
    print(f"loading              {loading:.1f} s")


def rss_mib() -> int:
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize() // 2**20


def summary(values: list[float]) -> str:
    return f"median {statistics.median(values):.0f}, min {min(values):.0f}, max {max(values):.0f}"


if __name__ == "__main__":
    main()

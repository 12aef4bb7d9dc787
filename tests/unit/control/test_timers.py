"""Attempt timeouts: on time, after a restart, and never against an attempt that is over."""

from batchyard.kernel import commands as cmd
from batchyard.kernel.faults import BatchyardError
from batchyard.kernel.ids import attempt_id
from batchyard.testing.simulated import SimulatedYard, simulated_yard
from batchyard.testing.virtual_time import VirtualTime, run_virtually
from unit.control.bench_store import Disk

TIMED_OUT = "Job attempt duration exceeded timeout"


async def running(yard: SimulatedYard, *, timeout_s: int, attempts: int = 1) -> str:
    job = await yard.submit(timeout_s=timeout_s, attempts=attempts)
    await yard.executor.begins(attempt_id(job, 1))
    await yard.rest()
    return job


def test_an_attempt_is_stopped_when_its_time_is_over_and_not_retried() -> None:
    async def main(time: VirtualTime) -> None:
        async with simulated_yard(time) as yard:
            long = await running(yard, timeout_s=120)
            short = await running(yard, timeout_s=60, attempts=3)
            unlimited = await yard.submit()
            await yard.executor.begins(attempt_id(unlimited, 1))
            await yard.rest(59.9)
            assert (await yard.job(short)).status == "RUNNING"
            await yard.rest(0.2)
            row = await yard.job(short)
            assert (row.status, row.status_reason, len(row.attempts)) == ("FAILED", TIMED_OUT, 1)
            assert (await yard.job(long)).status == "RUNNING"
            await yard.rest(60)
            assert (await yard.job(long)).status_reason == TIMED_OUT
            assert (await yard.job(unlimited)).status == "RUNNING"

    run_virtually(main)


def test_the_clock_runs_from_running_and_anew_for_each_attempt() -> None:
    async def main(time: VirtualTime) -> None:
        async with simulated_yard(time) as yard:
            job = await yard.submit(timeout_s=60, attempts=2)
            first, second = attempt_id(job, 1), attempt_id(job, 2)
            await yard.executor.until(lambda: first in yard.executor.held, what="start")
            await yard.rest(300)
            assert (await yard.job(job)).status == "STARTING"
            yard.executor.run(first)
            await yard.rest(50)
            yard.executor.ends(first, 1)
            await yard.executor.begins(second)
            # The deadline of the first attempt passes by.
            await yard.rest(50)
            assert (await yard.job(job)).status == "RUNNING"
            assert yard.executor.count("stop", second) == 0
            await yard.rest(11)
            assert (await yard.job(job)).status_reason == TIMED_OUT

    run_virtually(main)


def test_a_restart_finds_the_deadlines_again() -> None:
    async def main(time: VirtualTime) -> None:
        async with simulated_yard(time) as yard:
            job = await running(yard, timeout_s=100)
            over = await running(yard, timeout_s=60)
            await yard.rest(1)
            await yard.kill()
            await yard.rest(70)
            await yard.start()
            await yard.rest()
            # Its time was over while no server lived.
            assert (await yard.job(over)).status_reason == TIMED_OUT
            assert (await yard.job(job)).status == "RUNNING"
            await yard.rest(30)
            assert (await yard.job(job)).status_reason == TIMED_OUT

    run_virtually(main)


def test_a_full_disk_delays_a_timeout_and_does_not_lose_it() -> None:
    async def main(time: VirtualTime) -> None:
        disk = Disk()
        async with simulated_yard(time, store_failpoint=disk) as yard:
            job = await running(yard, timeout_s=60)
            await yard.rest(10)
            disk.full = True
            await yard.rest(90)
            assert (await yard.job(job)).status == "RUNNING"
            disk.full = False
            await yard.rest(3)
            assert (await yard.job(job)).status_reason == TIMED_OUT

    run_virtually(main)


def test_who_was_stopped_before_the_deadline_keeps_the_first_reason() -> None:
    async def main(time: VirtualTime) -> None:
        async with simulated_yard(time, deaf=True) as yard:
            job = await running(yard, timeout_s=60)
            await yard.do(cmd.TerminateJob(job_id=job, reason="enough"))
            await yard.rest(70)
            assert yard.executor.count("stop", attempt_id(job, 1)) == 1
            yard.executor.ends(attempt_id(job, 1), 137)
            await yard.rest()
            assert (await yard.job(job)).status_reason == "enough"

    run_virtually(main)


def test_less_than_a_minute_is_refused_at_submit() -> None:
    async def main(time: VirtualTime) -> None:
        async with simulated_yard(time) as yard:
            refusal: BatchyardError | None = None
            try:
                await yard.submit(timeout_s=59)
            except BatchyardError as fault:
                refusal = fault
            assert refusal is not None
            assert refusal.code == "ClientException"

    run_virtually(main)

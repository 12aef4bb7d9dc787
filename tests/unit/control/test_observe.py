"""What executors see becomes commands: together where possible, and each once it can be kept."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from batchyard.control.bus import Bus
from batchyard.control.observe import MOST, Observer, command
from batchyard.control.port import Failpoint, no_failpoint
from batchyard.executors.port import Ended, Lost, Observation, Started, StartFailed
from batchyard.kernel import commands as cmd
from batchyard.kernel.ids import attempt_id
from batchyard.testing.simulated import SimulatedYard, simulated_yard
from batchyard.testing.virtual_time import PatientStore, VirtualTime, run_virtually
from unit.control.bench_store import Disk

UUID = "00000001-0000-4000-8000-000000000000"


@asynccontextmanager
async def observing(
    yard: SimulatedYard, time: VirtualTime, failpoint: Failpoint = no_failpoint
) -> AsyncIterator[Observer]:
    """An observer of its own on the store of a yard whose server has stopped."""
    await yard.rest(1)
    await yard.stop()
    bus = Bus(PatientStore(yard.store, time), clock=time.now_ms)
    observer = Observer(bus, failpoint=failpoint)
    serving = asyncio.create_task(observer.serve())
    try:
        yield observer
    finally:
        serving.cancel()
        with suppress(asyncio.CancelledError):
            await serving


async def placed(yard: SimulatedYard) -> str:
    """A job in STARTING; its attempt's id."""
    job = await yard.submit(attempts=2)
    place = cmd.PlaceAttempt(
        job_id=job, attempt=1, compute_environment="environment", instance_id="i-1"
    )
    assert await yard.do(place) is True
    return attempt_id(job, 1)


def test_every_observation_has_its_command() -> None:
    name, child = f"{UUID}.a2", f"{UUID}.i7.a1"
    assert command(Started(attempt_id=name, at_ms=5, handle="h", notes=("n",))) == (
        cmd.ReportStarted(job_id=UUID, attempt=2, at_ms=5, notes=("n",))
    )
    ended = Ended(
        attempt_id=child, at_ms=9, started_at_ms=5, exit_code=137, reason="OOM", notes=("n",)
    )
    assert command(ended) == cmd.ReportEnded(
        job_id=f"{UUID}:7",
        attempt=1,
        at_ms=9,
        started_at_ms=5,
        exit_code=137,
        reason="OOM",
        notes=("n",),
    )
    assert command(StartFailed(attempt_id=name, at_ms=5, reason="r")) == (
        cmd.ReportStartFailed(job_id=UUID, attempt=2, at_ms=5, reason="r")
    )
    assert command(Lost(attempt_id=name, at_ms=5, detail="d")) == (
        cmd.ReportLost(job_id=UUID, attempt=2, at_ms=5, detail="d")
    )


def test_what_happens_together_is_reported_together_and_no_more_than_fits() -> None:
    async def main(time: VirtualTime) -> None:
        batches: list[str] = []
        async with simulated_yard(time) as yard, observing(yard, time, batches.append) as observer:
            for index in range(MOST + 3):
                observer.observe(Lost(attempt_id=f"{UUID}.i{index}.a1", at_ms=1, detail=""))
            await yard.rest()
            assert batches == ["observe.before_report", "observe.after_report"] * 2

    run_virtually(main)


def test_stale_repeated_and_foreign_reports_change_nothing() -> None:
    async def main(time: VirtualTime) -> None:
        async with simulated_yard(time) as yard, observing(yard, time) as observer:
            name = await placed(yard)
            now_ms = time.now_ms()
            ended = Ended(attempt_id=name, at_ms=now_ms, started_at_ms=now_ms, exit_code=3)
            strangers: list[Observation] = [
                Lost(attempt_id=f"{UUID}.a9", at_ms=1, detail="no such attempt"),
                Lost(attempt_id="not ours", at_ms=1, detail="no such name"),
                Started(attempt_id="", at_ms=1, handle=""),
            ]
            for observation in (*strangers, ended, ended, *strangers):
                observer.observe(observation)
            await yard.rest()
            job = await yard.job(name.partition(".")[0])
            assert (job.status, len(job.attempts), job.attempts[0].exit_code) == ("RUNNABLE", 1, 3)
            observer.observe(Started(attempt_id=name, at_ms=1, handle=""))
            observer.observe(ended)
            await yard.rest()
            assert await yard.job(job.job_id) == job

    run_virtually(main)


def test_a_full_disk_delays_a_report_and_does_not_lose_it() -> None:
    async def main(time: VirtualTime) -> None:
        disk = Disk()
        async with (
            simulated_yard(time, store_failpoint=disk) as yard,
            observing(yard, time) as observer,
        ):
            name = await placed(yard)
            disk.full = True
            observer.observe(Started(attempt_id=name, at_ms=time.now_ms(), handle=""))
            await yard.rest(30)
            assert (await yard.job(name.partition(".")[0])).status == "STARTING"
            disk.full = False
            await yard.rest(2)
            assert (await yard.job(name.partition(".")[0])).status == "RUNNING"

    run_virtually(main)

"""Housekeeping: what is over goes in its time, what lives stays."""

import asyncio
from contextlib import suppress

from batchyard.control.janitors import DAY_MS, PURGE_S, SWEEP_S
from batchyard.control.supervise import PAUSE_S, supervise
from batchyard.kernel.faults import StoreUnavailable
from batchyard.kernel.ids import attempt_id, child_id
from batchyard.testing.simulated import SimulatedYard, simulated_yard
from batchyard.testing.virtual_time import VirtualTime, run_virtually

DAY_S = DAY_MS / 1000


async def ended(yard: SimulatedYard, job_id: str) -> None:
    await yard.executor.begins(attempt_id(job_id, 1))
    yard.executor.ends(attempt_id(job_id, 1), 0)
    await yard.rest()


async def known(yard: SimulatedYard, *job_ids: str) -> set[str]:
    return set(await yard.store.read(lambda r: r.jobs(job_ids)))


def test_ended_jobs_are_kept_for_seven_days_and_open_ones_for_ever() -> None:
    async def main(time: VirtualTime) -> None:
        async with simulated_yard(time) as yard:
            done = await yard.submit()
            await ended(yard, done)
            forever = await yard.submit()
            await yard.executor.begins(attempt_id(forever, 1))
            waiting = await yard.submit(depends_on=[{"jobId": forever}])
            array = await yard.submit(array=2)
            await ended(yard, child_id(array, 0))
            time.jump(7 * DAY_S - 900)
            await yard.rest(PURGE_S)
            every = (done, forever, waiting, array, child_id(array, 0))
            assert await known(yard, *every) == set(every)
            await yard.rest(2 * PURGE_S + 60)
            # The child goes when its whole array may.
            assert await known(yard, *every) == set(every) - {done}
            events = await yard.store.read(lambda r: r.events_of("job", done))
            assert events == []
            await yard.executor.begins(attempt_id(child_id(array, 1), 1))
            yard.executor.ends(attempt_id(child_id(array, 1), 1), 0)
            await yard.rest()
            time.jump(7 * DAY_S)
            await yard.rest(PURGE_S)
            assert await known(yard, *every) == {forever, waiting}
            yard.executor.ends(attempt_id(forever, 1), 0)
            await ended(yard, waiting)
            assert (await yard.job(waiting)).status == "SUCCEEDED"

    run_virtually(main)


def test_acknowledgements_that_no_command_takes_along_are_written_soon() -> None:
    async def main(time: VirtualTime) -> None:
        async with simulated_yard(time) as yard:
            job = await yard.submit()
            await ended(yard, job)
            await yard.rest(1)
            assert await yard.effects() == 0

    run_virtually(main)


def test_what_dangles_in_the_engine_is_swept_away_and_nothing_else() -> None:
    async def main(time: VirtualTime) -> None:
        async with simulated_yard(time) as yard:
            live, done = await yard.submit(), await yard.submit()
            await yard.executor.begins(attempt_id(live, 1))
            await yard.executor.begins(attempt_id(done, 1))
            remains = yard.executor.held[attempt_id(done, 1)]
            yard.executor.ends(attempt_id(done, 1), 0)
            await yard.rest(1)
            # The engine did not really forget it, and the removal is acknowledged.
            yard.executor.held[attempt_id(done, 1)] = remains
            await yard.rest(SWEEP_S)
            assert list(yard.executor.held) == [attempt_id(live, 1)]

    run_virtually(main)


def test_a_sweep_that_finds_no_engine_is_made_again_later() -> None:
    async def main(time: VirtualTime) -> None:
        async with simulated_yard(time) as yard:
            live = await yard.submit()
            await yard.executor.begins(attempt_id(live, 1))
            await yard.rest(1)
            yard.executor.held["stranger.a1"] = yard.executor.held[attempt_id(live, 1)]
            yard.executor.unavailable(times=1)
            await yard.rest(SWEEP_S)
            assert "stranger.a1" in yard.executor.held
            await yard.rest(SWEEP_S)
            assert list(yard.executor.held) == [attempt_id(live, 1)]

    run_virtually(main)


def test_a_loop_that_fails_begins_again_and_ends_when_it_is_cancelled() -> None:
    async def main(time: VirtualTime) -> None:
        began: list[float] = []

        async def loop() -> None:
            began.append(time.time())
            if len(began) == 1:
                raise KeyError("a defect")
            if len(began) == 2:
                raise StoreUnavailable("the disk is full", hint="Make room.")
            if len(began) == 4:
                await asyncio.Event().wait()

        supervised = asyncio.create_task(supervise("a loop", loop))
        await asyncio.sleep(10)
        assert began == [0, PAUSE_S, 2 * PAUSE_S, 3 * PAUSE_S]
        supervised.cancel()
        with suppress(asyncio.CancelledError):
            await supervised
        assert supervised.cancelled()

    run_virtually(main)

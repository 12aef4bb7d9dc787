"""A server that comes after another finds every attempt where it is."""

from collections.abc import Awaitable, Callable

import pytest

from batchyard.kernel import commands as cmd
from batchyard.kernel.faults import EngineUnavailable
from batchyard.kernel.ids import attempt_id
from batchyard.testing.simulated import SimulatedYard, simulated_yard
from batchyard.testing.virtual_time import VirtualTime, run_virtually


async def running(yard: SimulatedYard) -> tuple[str, str]:
    """A job in RUNNING whose start is acknowledged, and its attempt's id."""
    job = await yard.submit()
    name = attempt_id(job, 1)
    await yard.executor.begins(name)
    await yard.rest(1)
    assert await yard.effects() == 0
    return job, name


def restarted(
    while_down: Callable[[SimulatedYard, str], object],
    then: Callable[[SimulatedYard, str, str], Awaitable[None]],
) -> None:
    async def main(time: VirtualTime) -> None:
        async with simulated_yard(time) as yard:
            job, name = await running(yard)
            await yard.kill()
            while_down(yard, name)
            await yard.rest(10)
            await yard.start()
            await yard.rest()
            await then(yard, job, name)
            await yard.rest(1)
            assert await yard.effects() == 0

    run_virtually(main)


def test_what_lives_is_adopted_and_goes_on() -> None:
    async def then(yard: SimulatedYard, job: str, name: str) -> None:
        assert (await yard.job(job)).status == "RUNNING"
        assert yard.executor.count("adopt", name) == 1
        assert yard.executor.count("start", name) == 1
        yard.executor.ends(name, 0)
        await yard.rest()
        assert (await yard.job(job)).status == "SUCCEEDED"

    restarted(lambda yard, name: None, then)


def test_what_ended_while_no_server_lived_has_its_true_exit_code() -> None:
    async def then(yard: SimulatedYard, job: str, name: str) -> None:
        row = await yard.job(job)
        assert (row.status, row.attempts[0].exit_code) == ("FAILED", 7)
        assert yard.executor.held == {}

    restarted(lambda yard, name: yard.executor.ends(name, 7), then)


def test_what_the_engine_forgot_is_lost() -> None:
    async def then(yard: SimulatedYard, job: str, name: str) -> None:
        row = await yard.job(job)
        assert row.status == "FAILED"
        assert row.status_reason is not None
        assert row.status_reason.startswith("Host EC2 (instance i-")
        assert row.attempts[0].exit_code is None

    restarted(lambda yard, name: yard.executor.forgets(name), then)


def test_what_nobody_knows_is_removed() -> None:
    def leave_behind(yard: SimulatedYard, name: str) -> None:
        yard.executor.held[attempt_id("another-job", 1)] = yard.executor.held[name]

    async def then(yard: SimulatedYard, job: str, name: str) -> None:
        assert list(yard.executor.held) == [name]

    restarted(leave_behind, then)


def test_a_start_that_is_still_due_is_made_and_not_taken_for_lost() -> None:
    async def main(time: VirtualTime) -> None:
        async with simulated_yard(time) as yard:
            yard.executor.unavailable(times=100)
            job = await yard.submit()
            await yard.rest(1)
            assert (await yard.job(job)).status == "STARTING"
            await yard.kill()
            yard.executor.recovers()
            await yard.start()
            await yard.rest()
            assert yard.executor.calls[-1] == ("start", attempt_id(job, 1))
            assert yard.executor.count("adopt", attempt_id(job, 1)) == 0
            assert (await yard.job(job)).status == "STARTING"

    run_virtually(main)


def test_a_start_that_was_made_but_not_acknowledged_is_not_made_twice() -> None:
    async def main(time: VirtualTime) -> None:
        async with simulated_yard(time) as yard:
            await yard.rest(1)
            job = await yard.submit()
            name = attempt_id(job, 1)
            await yard.executor.until(lambda: name in yard.executor.held, what="the start")
            await yard.kill()
            assert await yard.effects() >= 1
            yard.executor.ends(name, 3)
            await yard.start()
            await yard.rest()
            assert yard.executor.began[name] == 1
            assert (await yard.job(job)).attempts[0].exit_code == 3

    run_virtually(main)


def test_a_start_and_a_stop_that_are_both_due_come_in_order() -> None:
    async def main(time: VirtualTime) -> None:
        async with simulated_yard(time) as yard:
            yard.executor.unavailable(times=100)
            job = await yard.submit(attempts=3)
            name = attempt_id(job, 1)
            await yard.rest(1)
            await yard.do(cmd.TerminateJob(job_id=job, reason="not wanted any more"))
            await yard.kill()
            yard.executor.recovers()
            await yard.start()
            await yard.rest()
            verbs = [verb for verb, what in yard.executor.calls if what == name]
            assert verbs == ["start", "stop", "remove"]
            row = await yard.job(job)
            assert (row.status, row.status_reason) == ("FAILED", "not wanted any more")

    run_virtually(main)


def test_follow_ups_of_the_last_life_are_executed() -> None:
    async def main(time: VirtualTime) -> None:
        async with simulated_yard(time) as yard:
            await yard.rest(1)
            await yard.stop()
            # Without loops nothing is dispatched: the release of the dependent stays due.
            job = await yard.submit()
            after = await yard.submit(depends_on=[{"jobId": job}])
            await yard.do(cmd.CancelJob(job_id=job, reason="no"))
            assert (await yard.job(after)).status == "PENDING"
            await yard.start()
            await yard.rest()
            assert (await yard.job(after)).status == "FAILED"

    run_virtually(main)


def test_the_room_of_adopted_attempts_is_not_given_away() -> None:
    async def main(time: VirtualTime) -> None:
        async with simulated_yard(time, vcpus=1) as yard:
            _, name = await running(yard)
            waiting = await yard.submit()
            await yard.kill()
            await yard.start()
            await yard.rest()
            assert (await yard.job(waiting)).status == "RUNNABLE"
            yard.executor.ends(name, 0)
            await yard.rest()
            assert (await yard.job(waiting)).status == "STARTING"

    run_virtually(main)


def test_an_engine_that_goes_away_during_a_start_is_told() -> None:
    async def main(time: VirtualTime) -> None:
        async with simulated_yard(time) as yard:
            await running(yard)
            await yard.kill()
            yard.executor.unavailable(times=1)
            with pytest.raises(EngineUnavailable):
                await yard.start()
            await yard.start()

    run_virtually(main)


def test_a_full_disk_at_the_end_does_not_keep_the_engine_open() -> None:
    async def main(time: VirtualTime) -> None:
        full = False

        def refuse(name: str, /) -> None:
            if full and name == "store.before_commit":
                raise OSError("no space left on device")

        async with simulated_yard(time, store_failpoint=refuse) as yard:
            job, name = await running(yard)
            heard: list[object] = []
            await yard.executor.open(heard.append)
            full = True
            yard.control.bus.acknowledge(1)
            await yard.stop()
            full = False
            yard.executor.ends(name, 0)
            # It was closed: nobody listens, and the next server adopts.
            assert heard == []
            await yard.start()
            await yard.rest()
            assert (await yard.job(job)).status == "SUCCEEDED"

    run_virtually(main)

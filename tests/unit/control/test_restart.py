"""A server that comes after another finds every attempt where it is."""

from batchyard.kernel.ids import attempt_id
from batchyard.testing.simulated import simulated_yard
from batchyard.testing.virtual_time import VirtualTime, run_virtually


def test_an_attempt_that_ended_while_no_server_lived_has_its_true_exit_code() -> None:
    async def main(time: VirtualTime) -> None:
        async with simulated_yard(time) as yard:
            job = await yard.submit()
            await yard.executor.begins(attempt_id(job, 1))
            await yard.rest()
            assert (await yard.job(job)).status == "RUNNING"
            await yard.kill()
            yard.executor.ends(attempt_id(job, 1), 7)
            await yard.start()
            await yard.rest()
            row = await yard.job(job)
            assert (row.status, row.attempts[0].exit_code) == ("FAILED", 7)
            assert yard.executor.began[attempt_id(job, 1)] == 1
            assert yard.executor.held == {}
            await yard.rest(1)
            assert await yard.effects() == 0

    run_virtually(main)

"""Head jobs that have been blocked for too long are cancelled where the queue says so."""

from batchyard.kernel import commands as cmd
from batchyard.testing.simulated import SimulatedYard, simulated_yard
from batchyard.testing.virtual_time import VirtualTime, run_virtually

CODE = "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT"


async def limited_queue(yard: SimulatedYard, reason: str = CODE) -> None:
    action = {
        "reason": reason,
        "state": "RUNNABLE",
        "maxTimeSeconds": 600,
        "action": "CANCEL",
    }
    request: dict[str, object] = {
        "jobQueueName": "limited",
        "priority": 1,
        "computeEnvironmentOrder": [{"order": 1, "computeEnvironment": "environment"}],
        "jobStateTimeLimitActions": [action],
    }
    await yard.do(cmd.CreateJobQueue(request=request))
    await yard.rest()


def test_a_job_that_can_never_start_goes_after_its_time_and_lets_the_next_one_through() -> None:
    async def main(time: VirtualTime) -> None:
        async with simulated_yard(time, vcpus=4) as yard:
            await limited_queue(yard)
            head = await yard.submit(queue="limited", vcpus=99)
            behind = await yard.submit(queue="limited")
            await yard.rest(590)
            assert (await yard.job(head)).status == "RUNNABLE"
            assert (await yard.job(behind)).status == "RUNNABLE"
            await yard.rest(20)
            gone = await yard.job(head)
            assert gone.status == "FAILED"
            assert gone.cancelled
            assert gone.status_reason == (
                f"Canceled by JobStateTimeLimit action due to reason: {CODE}"
            )
            assert (await yard.job(behind)).status == "STARTING"

    run_virtually(main)


def test_an_array_goes_as_a_whole_and_a_restart_begins_the_time_again() -> None:
    async def main(time: VirtualTime) -> None:
        async with simulated_yard(time, vcpus=4) as yard:
            await limited_queue(yard)
            head = await yard.submit(queue="limited", vcpus=99, array=200)
            await yard.rest(500)
            await yard.kill()
            await yard.start()
            await yard.rest(500)
            assert (await yard.job(head)).status == "PENDING"
            await yard.rest(120)
            assert (await yard.job(head)).status == "FAILED"

    run_virtually(main)


def test_another_reason_and_another_queue_are_left_alone() -> None:
    async def main(time: VirtualTime) -> None:
        async with simulated_yard(time, vcpus=4) as yard:
            await limited_queue(yard, reason="CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY")
            other_reason = await yard.submit(queue="limited", vcpus=99)
            no_limit = await yard.submit(vcpus=99)
            await yard.rest(5000)
            assert (await yard.job(other_reason)).status == "RUNNABLE"
            assert (await yard.job(no_limit)).status == "RUNNABLE"

    run_virtually(main)

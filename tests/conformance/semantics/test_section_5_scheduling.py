"""Queues and the order in which they are served: 5.1, 5.2 and 5.4, one test per rule."""

import pytest

from batchyard.kernel import commands as cmd
from batchyard.kernel.faults import ClientFault
from batchyard.kernel.ids import child_id
from unit.scheduler.scheduling_world import SchedulingWorld, machine


@pytest.fixture
def world() -> SchedulingWorld:
    world = SchedulingWorld(machine(vcpus=2))
    world.queue()
    return world


def test_5_1_a_disabled_queue_takes_no_jobs_and_serves_those_it_holds(
    world: SchedulingWorld,
) -> None:
    job = world.submit()
    world.do(cmd.UpdateJobQueue(request={"jobQueue": "q", "state": "DISABLED"}))
    world.settle()
    with pytest.raises(ClientFault):
        world.submit()
    assert world.run_pass() == [job]


def test_5_2_the_higher_priority_goes_first(world: SchedulingWorld) -> None:
    world.queue("high", priority=10)
    low = [world.submit() for _ in range(2)]
    high = world.submit(queue="high")
    assert world.run_pass() == [high, low[0]]


def test_5_2_priority_is_no_preemption(world: SchedulingWorld) -> None:
    world.queue("high", priority=10)
    low = [world.submit() for _ in range(2)]
    assert world.run_pass() == low
    world.submit(queue="high")
    assert world.run_pass() == []
    assert world.stops() == []


def test_5_2_first_in_first_out_once_dependencies_are_met(world: SchedulingWorld) -> None:
    first = world.submit()
    second = world.submit(depends_on=[first])
    third, fourth = world.submit(), world.submit()
    assert world.run_pass() == [first, third]
    world.end(first)
    world.settle()
    assert world.run_pass() == [second]
    world.end(third)
    assert world.run_pass() == [fourth]


def test_5_2_a_head_that_cannot_be_placed_blocks_those_behind_it(world: SchedulingWorld) -> None:
    world.definition("giant", vcpus=3)
    world.submit(definition="giant")
    world.submit()
    assert world.run_pass() == []


def test_5_2_a_blocked_queue_lets_lower_ones_pass(world: SchedulingWorld) -> None:
    world.definition("giant", vcpus=3)
    world.queue("high", priority=10)
    world.submit(queue="high", definition="giant")
    low = world.submit()
    assert world.run_pass() == [low]


def test_5_2_a_retried_job_goes_to_the_front_of_its_queue(world: SchedulingWorld) -> None:
    first = world.submit(attempts=2)
    world.run_pass()
    others = [world.submit() for _ in range(3)]
    world.end(first, exit_code=1)
    assert world.run_pass() == [first, others[0]]


def test_5_2_the_first_environment_in_order_that_can_take_it(world: SchedulingWorld) -> None:
    first = world.environment("first", max_vcpus=1)
    second = world.environment("second", max_vcpus=8)
    world.queue("both", environments=[first, second])
    jobs = [world.submit(queue="both") for _ in range(2)]
    world.run_pass()
    used = []
    for job in jobs:
        current = world.job(job).current
        assert current is not None
        used.append(current.compute_environment)
    assert used == ["first", "second"]


def test_5_2_a_disabled_environment_is_passed_over(world: SchedulingWorld) -> None:
    first, second = world.environment("first"), world.environment("second")
    world.queue("both", environments=[first, second])
    disable = {"computeEnvironment": "first", "state": "DISABLED"}
    world.do(cmd.UpdateComputeEnvironment(request=dict(disable)))
    world.settle()
    job = world.submit(queue="both")
    world.run_pass()
    current = world.job(job).current
    assert current is not None
    assert current.compute_environment == "second"


def test_5_2_children_go_in_order_of_their_index(world: SchedulingWorld) -> None:
    array = world.submit(array=5)
    assert world.run_pass() == [child_id(array, 0), child_id(array, 1)]


def reason(world: SchedulingWorld) -> str | None:
    (refusal,) = world.plan().refusals
    return refusal.explanation.status_reason


def test_5_4_a_job_larger_than_every_machine(world: SchedulingWorld) -> None:
    world.definition("giant", memory_mib=999_999)
    world.submit(definition="giant")
    assert reason(world) == (
        "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT - The job resource requirement "
        "(vCPU/memory/GPU) is higher than that can be met by the CE(s) attached to the job queue."
    )


def test_5_4_a_job_larger_than_max_vcpus(world: SchedulingWorld) -> None:
    world.definition("giant", vcpus=3)
    world.queue("small", environments=[world.environment("managed", max_vcpus=2)])
    world.submit(queue="small", definition="giant")
    assert reason(world) == (
        "MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE - CE(s) associated with the job queue "
        "cannot meet the CPU requirement of the job."
    )


def test_5_4_no_environment_that_can_be_used(world: SchedulingWorld) -> None:
    disable = {"computeEnvironment": "environment", "state": "DISABLED"}
    world.do(cmd.UpdateComputeEnvironment(request=dict(disable)))
    world.settle()
    world.submit()
    assert reason(world) == "ACTION_REQUIRED - CE(s) associated with the job queue are invalid."


def test_5_4_a_job_that_merely_waits_is_not_blocked(world: SchedulingWorld) -> None:
    for _ in range(3):
        world.submit()
    world.run_pass()
    assert reason(world) is None


def test_5_4_only_a_runnable_job_says_why_it_waits(world: SchedulingWorld) -> None:
    job = world.submit()
    world.do(cmd.Explain(job_id=job, status_reason="why"))
    assert world.job(job).status_reason == "why"
    world.run_pass()
    assert world.job(job).status_reason is None

"""What a naive clone gets wrong, as far as the kernel decides it: by number of section 10."""

import pytest

from batchyard.kernel import commands as cmd
from batchyard.kernel.faults import ClientFault
from batchyard.kernel.ids import attempt_id, task_id
from batchyard.testing.world import World


@pytest.fixture
def world() -> World:
    world = World()
    world.queue()
    return world


def command_of(world: World, job_id: str) -> object:
    return world.view.spec(job_id).container["command"]


def define(world: World, name: str, *, command: list[str]) -> None:
    properties = {"image": "busybox", "vcpus": 1, "memory": 4, "command": command}
    request: dict[str, object] = {
        "jobDefinitionName": name,
        "type": "container",
        "containerProperties": properties,
    }
    world.do(cmd.RegisterJobDefinition(request=request))


def test_10_10_a_retry_keeps_the_job_id(world: World) -> None:
    job = world.submit(attempts=2)
    world.execute(job, exit_code=1)
    assert [row.job_id for row in world.view.jobs().values()] == [job]


def test_10_22_a_bare_name_means_the_latest_active_revision(world: World) -> None:
    for _ in range(3):
        world.definition("d")
    world.do(cmd.DeregisterJobDefinition(job_definition="d:3"))
    job = world.submit(definition="d")
    assert world.job(job).definition == "d:2"
    assert world.view.spec(job).definition_arn.endswith(":job-definition/d:2")


def test_10_24_an_identical_definition_is_a_new_revision(world: World) -> None:
    assert [world.definition("d") for _ in range(3)] == ["d:1", "d:2", "d:3"]


def test_10_25_an_unresolved_reference_fails_the_submission(world: World) -> None:
    define(world, "d", command=["echo", "Ref::word"])
    with pytest.raises(ClientFault, match="No parameter found for reference word"):
        world.submit(definition="d")
    job = world.submit(definition="d", members={"parameters": {"word": "hello"}})
    assert command_of(world, job) == ["echo", "hello"]


def test_10_31_overrides_that_are_too_long_fail_the_job_and_not_the_submission(
    world: World,
) -> None:
    environment = [{"name": "A", "value": "x" * 8192}]
    job = world.submit(members={"containerOverrides": {"environment": environment}})
    row = world.job(job)
    assert row.status == "FAILED"
    assert row.status_reason == "Container Overrides length must be at most 8192"


def test_10_33_the_log_stream_has_200_characters_of_the_name_and_the_task(world: World) -> None:
    name = "d" * 128
    world.definition(name)
    job = world.submit(definition=name, attempts=2)
    world.execute(job, exit_code=1)
    world.execute(job)
    assert [a.log_stream for a in world.job(job).attempts] == [
        f"{name}/default/{task_id(attempt_id(job, n))}" for n in (1, 2)
    ]


def test_10_34_queues_settle_in_a_step_of_their_own(world: World) -> None:
    queue = world.view.queue("q")
    assert queue is not None
    assert queue.status == "VALID"
    world.do(cmd.UpdateJobQueue(request={"jobQueue": "q", "state": "DISABLED"}))
    states = []
    for command in (None, cmd.DeleteJobQueue(job_queue="q")):
        if command is not None:
            world.do(command)
        while (row := world.view.queue("q")) is not None:
            states.append(row.status)
            if not world.follow_ups:
                break
            world.do(world.follow_ups.pop(0))
    assert states[:2] == ["UPDATING", "VALID"]
    assert set(states[2:]) == {"DELETING"}
    assert world.view.queue("q") is None


@pytest.mark.parametrize("state", ["ENABLED", "UPDATING"])
def test_10_36_a_queue_that_is_on_or_changing_is_not_deleted(world: World, state: str) -> None:
    if state == "UPDATING":
        world.do(cmd.UpdateJobQueue(request={"jobQueue": "q", "state": "DISABLED"}))
    with pytest.raises(ClientFault) as caught:
        world.do(cmd.DeleteJobQueue(job_queue="q"))
    if state == "UPDATING":
        assert str(caught.value) == "Cannot delete, resource is being modified"


def test_10_36_an_environment_with_a_queue_is_not_deleted(world: World) -> None:
    disable = {"computeEnvironment": "environment", "state": "DISABLED"}
    world.do(cmd.UpdateComputeEnvironment(request=dict(disable)))
    world.settle()
    with pytest.raises(ClientFault) as caught:
        world.do(cmd.DeleteComputeEnvironment(compute_environment="environment"))
    assert str(caught.value) == "Cannot delete, found existing JobQueue relationship"


def test_10_40_submitting_twice_makes_two_jobs(world: World) -> None:
    assert world.submit() != world.submit()
    assert len(world.view.jobs()) == 2

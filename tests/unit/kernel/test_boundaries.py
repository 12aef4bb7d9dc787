"""The last values that are taken, and what a change keeps: beside the refusals, the acceptances."""

from typing import Any

import pytest

from batchyard.kernel import commands as cmd
from batchyard.kernel import container
from batchyard.kernel.environment import ComputeEnvironment, JobQueue
from batchyard.testing.world import World
from unit.kernel.refusal_cases import EC2, named, yard


@pytest.fixture
def world() -> World:
    return yard()


def environment(world: World, name: str) -> ComputeEnvironment:
    found = world.view.compute_environment(name)
    assert found is not None
    return found


def queue(world: World, name: str) -> JobQueue:
    found = world.view.queue(name)
    assert found is not None
    return found


def update(world: World, name: str, **resources: Any) -> dict[str, Any]:
    """The computeResources of an environment after an update."""
    request = {"computeEnvironment": name, "computeResources": resources}
    world.do(cmd.UpdateComputeEnvironment(request=dict(request)))
    return dict(environment(world, name).compute_resources or {})


def create(world: World, **resources: Any) -> None:
    request = {
        "computeEnvironmentName": "new",
        "type": "MANAGED",
        "computeResources": resources,
    }
    world.do(cmd.CreateComputeEnvironment(request=dict(request), uuid="u"))
    world.settle()


def register(world: World, **members: Any) -> None:
    world.do(cmd.RegisterJobDefinition(request={"jobDefinitionName": "new", **members}))


def group(targets: str) -> dict[str, Any]:
    return {"targetNodes": targets, "container": {"image": "busybox"}}


@pytest.mark.parametrize(
    ("count", "targets"),
    [(5, ["0", "1", "2", "3", "4"]), (2, [":1"]), (2, ["0:"]), (3, ["0:1", "2"]), (1, ["0"])],
)
def test_groups_that_cover_every_node_are_taken(
    world: World, count: int, targets: list[str]
) -> None:
    nodes = {
        "numNodes": count,
        "mainNode": count - 1,
        "nodeRangeProperties": [group(t) for t in targets],
    }
    register(world, type="multinode", nodeProperties=nodes)
    assert world.view.latest_revision("new") == 1


def test_ten_containers_are_taken(world: World) -> None:
    task = {"containers": [named(f"c{n}") for n in range(10)]}
    register(world, type="container", ecsProperties={"taskProperties": [task]})
    assert world.view.latest_revision("new") == 1


def test_devices_that_are_no_objects_are_left_as_they_are() -> None:
    filled = container.filled({"linuxParameters": {"devices": ["/dev/fuse"]}})
    assert filled["linuxParameters"] == {"devices": ["/dev/fuse"], "tmpfs": []}


def test_an_environment_that_was_scaled_to_nothing_can_be_changed(world: World) -> None:
    create(world, **{**EC2, "maxvCpus": 0})
    after = update(world, "new", minScaleDownDelayMinutes=20)
    assert (after["minvCpus"], after["desiredvCpus"], after["maxvCpus"]) == (0, 0, 0)


def test_the_desired_vcpus_may_be_said_again(world: World) -> None:
    assert update(world, "grown", desiredvCpus=4)["desiredvCpus"] == 4
    assert update(world, "grown", desiredvCpus=8)["desiredvCpus"] == 8


def test_managed_instances_have_no_desired_vcpus(world: World) -> None:
    create(world, type="ECS_MANAGED_INSTANCES", maxvCpus=8)
    assert "desiredvCpus" not in update(world, "new", minvCpus=1)


def test_fargate_has_no_desired_vcpus(world: World) -> None:
    assert "desiredvCpus" not in update(world, "fargate", maxvCpus=9)


@pytest.mark.parametrize(
    ("template", "kept"),
    [
        ({"launchTemplateId": "lt-1"}, True),
        ({"launchTemplateName": "mine"}, True),
        ({"launchTemplateId": ""}, False),
        ({"launchTemplateName": ""}, False),
        ({}, False),
    ],
)
def test_a_launch_template_goes_with_its_name(
    world: World, template: dict[str, str], kept: bool
) -> None:
    update(world, "progressive", launchTemplate={"launchTemplateId": "lt-0"})
    after = update(world, "progressive", launchTemplate=template)
    assert after.get("launchTemplate") == (template if kept else None)


def test_whatever_leaves_has_a_new_generation_and_no_reason(world: World) -> None:
    before = environment(world, "idle")
    world.do(cmd.DeleteComputeEnvironment(compute_environment="idle"))
    after = environment(world, "idle")
    assert (after.status, after.status_reason) == ("DELETING", "")
    assert after.generation == before.generation + 1
    was = queue(world, "off")
    world.do(cmd.DeleteJobQueue(job_queue="off"))
    now = queue(world, "off")
    assert (now.status, now.status_reason) == ("DELETING", "")
    assert now.generation == was.generation + 1


def test_a_queue_keeps_its_state_when_nothing_is_said_of_it(world: World) -> None:
    world.do(cmd.UpdateJobQueue(request={"jobQueue": "off", "priority": 7}))
    assert (queue(world, "off").state, queue(world, "off").priority) == ("DISABLED", 7)
    world.do(cmd.UpdateJobQueue(request={"jobQueue": "q", "priority": 7}))
    assert queue(world, "q").state == "ENABLED"


@pytest.mark.parametrize("state", ["ENABLED", "DISABLED"])
def test_a_queue_has_the_state_it_is_given(world: World, state: str) -> None:
    order = [{"order": 1, "computeEnvironment": "progressive"}]
    request = {"jobQueueName": "new", "priority": 1, "computeEnvironmentOrder": order}
    world.do(cmd.CreateJobQueue(request={**request, "state": state}))
    assert queue(world, "new").state == state
    world.do(cmd.UpdateJobQueue(request={"jobQueue": "off", "state": state}))
    assert queue(world, "off").state == state


def test_a_new_order_is_told_as_it_was_given(world: World) -> None:
    order = [
        {"order": 9, "computeEnvironment": "progressive"},
        {"order": 3, "computeEnvironment": "best-fit"},
    ]
    world.do(cmd.UpdateJobQueue(request={"jobQueue": "q", "computeEnvironmentOrder": order}))
    changed = queue(world, "q")
    assert changed.compute_environments == ("best-fit", "progressive")
    arn = world.view.realm.compute_environment
    assert changed.extra["computeEnvironmentOrder"] == [
        {"order": 3, "computeEnvironment": arn("best-fit")},
        {"order": 9, "computeEnvironment": arn("progressive")},
    ]

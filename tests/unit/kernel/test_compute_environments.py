"""Compute environments, their resources and their asynchronous steps."""

from typing import Any

import pytest

from batchyard.kernel.commands import (
    CreateComputeEnvironment,
    CreateJobQueue,
    DeleteComputeEnvironment,
    SettleComputeEnvironment,
    UpdateComputeEnvironment,
)
from batchyard.kernel.compute_environments import capability
from batchyard.kernel.environment import ComputeEnvironment
from batchyard.kernel.faults import (
    ClientFault,
    Conflict,
    InvalidRequest,
    NotAllowedInState,
    NotFound,
)
from unit.kernel.yard_world import World

ARN = "arn:aws:batch:us-east-1:000000000000:compute-environment/ce"
EC2 = {"type": "EC2", "instanceRole": "ecsInstanceRole", "minvCpus": 2, "maxvCpus": 16}
PROGRESSIVE = {**EC2, "allocationStrategy": "BEST_FIT_PROGRESSIVE"}
FARGATE = {"type": "FARGATE", "maxvCpus": 4, "subnets": ["s"], "securityGroupIds": ["g"]}


@pytest.fixture
def world() -> World:
    return World()


def create(world: World, resources: object = None, **members: Any) -> dict[str, Any]:
    request = {"computeEnvironmentName": "ce", "type": "UNMANAGED", **members}
    if resources is not None:
        request |= {"type": "MANAGED", "computeResources": resources}
    return world.do(CreateComputeEnvironment(request=request, uuid="u-1"))


def update(world: World, resources: object = None, **members: Any) -> dict[str, Any]:
    request = {"computeEnvironment": "ce", **members}
    if resources is not None:
        request["computeResources"] = resources
    return world.do(UpdateComputeEnvironment(request=request))


def got(world: World) -> ComputeEnvironment:
    environment = world.compute_environment("ce")
    assert environment is not None
    return environment


def resources(world: World) -> dict[str, Any]:
    found = got(world).compute_resources
    assert found is not None
    return dict(found)


def test_a_new_environment_is_creating_and_then_valid(world: World) -> None:
    reply = create(world, serviceRole="AWSBatchServiceRole", unmanagedvCpus=4, tags={"k": "v"})
    assert reply == {"computeEnvironmentName": "ce", "computeEnvironmentArn": ARN}
    assert (got(world).status, got(world).state, got(world).uuid) == ("CREATING", "ENABLED", "u-1")
    assert world.follow_ups() == [SettleComputeEnvironment(name="ce", generation=1)]
    world.settle()
    environment = got(world)
    assert (environment.status, environment.status_reason) == (
        "VALID",
        "ComputeEnvironment Healthy",
    )
    assert environment.service_role == "AWSBatchServiceRole"
    assert environment.extra == {"unmanagedvCpus": 4}
    assert (environment.compute_resources, environment.tags) == (None, {"k": "v"})


def test_desired_vcpus_start_at_the_minimum(world: World) -> None:
    create(world, {**EC2, "futureMember": 1, "imageId": None}, state="DISABLED")
    assert resources(world) == {**EC2, "futureMember": 1, "desiredvCpus": 2}
    assert got(world).state == "DISABLED"


@pytest.mark.parametrize(
    "accepted",
    [
        {**EC2, "desiredvCpus": 16},
        {**EC2, "type": "SPOT", "spotIamFleetRole": "r", "bidPercentage": 60},
        {**EC2, "type": "SPOT", "allocationStrategy": "A_FUTURE_ONE"},
        FARGATE,
        {**FARGATE, "type": "FARGATE_SPOT"},
        {"type": "ECS_MANAGED_INSTANCES", "maxvCpus": 4},
    ],
)
def test_accepts(world: World, accepted: dict[str, Any]) -> None:
    create(world, accepted)
    assert resources(world).items() >= accepted.items()


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"computeEnvironmentName": "a b"}, "should match valid pattern"),
        ({"type": None}, "type must be specified"),
        ({"type": "HYBRID"}, "type must be MANAGED or UNMANAGED"),
        ({"type": "MANAGED"}, "computeResources must be provided"),
        ({"type": "UNMANAGED", "computeResources": EC2}, "must not be provided for an UNMANAGED"),
        ({"state": "enabled"}, "state must be ENABLED or DISABLED"),
        ({"unmanagedvCpus": -1}, "unmanagedvCpus must be at least 0"),
        (
            {"type": "MANAGED", "computeResources": EC2, "unmanagedvCpus": 1},
            "unmanagedvCpus is for UNMANAGED",
        ),
        ({"tags": {"aws:x": ""}}, "reserved"),
    ],
)
def test_refuses(world: World, members: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        create(world, **members)
    assert said in caught.value.message
    assert world.rows == {}


@pytest.mark.parametrize(
    ("refused", "said"),
    [
        ({**EC2, "type": None}, "Resource type is required."),
        ({**EC2, "type": "ON_PREMISES"}, "type must be EC2 or SPOT or FARGATE"),
        ({**EC2, "instanceRole": None}, "Instance role is required."),
        ({**EC2, "minvCpus": None}, "Resource minvCpus is required."),
        ({**EC2, "maxvCpus": None}, "Resource maxvCpus is required."),
        ({**EC2, "minvCpus": -1}, "minvCpus must be at least 0"),
        ({**EC2, "minvCpus": 17}, "but are 17, 17 and 16"),
        ({**EC2, "desiredvCpus": 1}, "but are 2, 1 and 16"),
        ({**EC2, "desiredvCpus": 17}, "but are 2, 17 and 16"),
        ({**EC2, "type": "SPOT"}, "Spot fleet role is required."),
        ({**EC2, "type": "SPOT", "bidPercentage": 101}, "between 1 and 100"),
        ({**FARGATE, "desiredvCpus": 1}, "desiredvCpus is not applicable for Fargate."),
        ({**FARGATE, "tags": {"a": "b"}}, "tags is not applicable for Fargate."),
        ({**FARGATE, "instanceRole": "r"}, "instanceRole is not applicable for Fargate."),
    ],
)
def test_refuses_resources(world: World, refused: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        create(world, refused)
    assert said in caught.value.message
    assert world.rows == {}


def test_a_name_is_taken_once(world: World) -> None:
    create(world)
    with pytest.raises(Conflict, match="Object already exists"):
        create(world)


def test_an_update_merges(world: World) -> None:
    create(world, {**PROGRESSIVE, "imageId": "ami", "launchTemplate": {"launchTemplateId": "l"}})
    world.settle()
    reply = update(
        world,
        {"maxvCpus": 32, "minvCpus": 4, "subnets": ["s"], "updateToLatestImageVersion": True},
        computeEnvironment=ARN,
        state="DISABLED",
        serviceRole="r",
        updatePolicy={"terminateJobsOnUpdate": True},
    )
    assert reply == {"computeEnvironmentName": "ce", "computeEnvironmentArn": ARN}
    environment = got(world)
    assert (environment.status, environment.state, environment.generation) == (
        "UPDATING",
        "DISABLED",
        2,
    )
    assert environment.service_role == "r"
    assert environment.extra == {"updatePolicy": {"terminateJobsOnUpdate": True}}
    assert resources(world) == {
        **PROGRESSIVE,
        "imageId": "ami",
        "launchTemplate": {"launchTemplateId": "l"},
        "maxvCpus": 32,
        "minvCpus": 4,
        "desiredvCpus": 4,
        "subnets": ["s"],
    }
    world.settle()
    update(world, {"imageId": "", "launchTemplate": {"launchTemplateId": ""}})
    assert resources(world).keys() == {*PROGRESSIVE, "desiredvCpus", "subnets"}
    assert (got(world).state, got(world).service_role) == ("DISABLED", "r")


def test_a_new_launch_template_replaces_the_old(world: World) -> None:
    create(world, PROGRESSIVE)
    update(world, {"launchTemplate": {"launchTemplateName": "t"}})
    assert resources(world)["launchTemplate"] == {"launchTemplateName": "t"}


def test_desired_vcpus_only_grow_and_stay_between_the_limits(world: World) -> None:
    create(world, {**EC2, "desiredvCpus": 8})
    with pytest.raises(InvalidRequest, match="Manually scaling down compute environment is not"):
        update(world, {"desiredvCpus": 7})
    with pytest.raises(InvalidRequest, match="but are 2, 17 and 16"):
        update(world, {"desiredvCpus": 17})
    with pytest.raises(InvalidRequest, match="but are 5, 5 and 4"):
        update(world, {"minvCpus": 5, "maxvCpus": 4})
    update(world, {"desiredvCpus": 9})
    assert resources(world)["desiredvCpus"] == 9
    update(world, {"maxvCpus": 3})
    assert resources(world)["desiredvCpus"] == 3


def test_a_fargate_environment_has_no_desired_vcpus(world: World) -> None:
    create(world, FARGATE)
    update(world, {"maxvCpus": 8, "subnets": ["t"]})
    assert resources(world) == {**FARGATE, "maxvCpus": 8, "subnets": ["t"]}
    for refused in ({"instanceTypes": ["m5"]}, {"updateToLatestImageVersion": True}):
        with pytest.raises(InvalidRequest, match="can't be updated for Fargate"):
            update(world, refused)


def test_infrastructure_changes_need_another_strategy_than_best_fit(world: World) -> None:
    create(world, EC2)
    with pytest.raises(NotAllowedInState, match="instanceTypes, subnets cannot be updated"):
        update(world, {"subnets": ["s"], "instanceTypes": ["m5"]})
    update(world, {"instanceRole": "ecsInstanceRole", "type": "EC2", "maxvCpus": 20})
    assert resources(world)["maxvCpus"] == 20


def test_best_fit_cannot_be_set_by_an_update(world: World) -> None:
    create(world, PROGRESSIVE)
    with pytest.raises(InvalidRequest, match="cannot be changed to BEST_FIT"):
        update(world, {"allocationStrategy": "BEST_FIT"})


@pytest.mark.parametrize(
    ("managed", "changes", "said"),
    [
        (True, {"computeResources": {}}, "At least one compute-resources attribute must be spec"),
        (True, {"computeResources": {"type": "X"}}, "type must be EC2"),
        (True, {"unmanagedvCpus": 1}, "unmanagedvCpus is for UNMANAGED"),
        (False, {"computeResources": {"maxvCpus": 1}}, "cannot be set on an UNMANAGED"),
        (False, {"state": "OFF"}, "state must be"),
        (False, {"computeEnvironment": ""}, "computeEnvironment must be specified"),
    ],
)
def test_refuses_updates(world: World, managed: bool, changes: dict[str, Any], said: str) -> None:
    create(world, EC2 if managed else None)
    before = got(world)
    with pytest.raises(InvalidRequest) as caught:
        update(world, **changes)
    assert said in caught.value.message
    assert got(world) == before


def test_updating_an_unknown_environment_says_that_it_does_not_exist(world: World) -> None:
    with pytest.raises(NotFound, match="does not exist"):
        update(world)


def test_a_stale_or_repeated_settling_step_does_nothing(world: World) -> None:
    create(world)
    update(world, unmanagedvCpus=2)
    for name, generation in (("ce", 1), ("gone", 1)):
        world.do(SettleComputeEnvironment(name=name, generation=generation))
        assert world.last.events == ()
    world.do(SettleComputeEnvironment(name="ce", generation=2))
    assert got(world).status == "VALID"
    world.do(SettleComputeEnvironment(name="ce", generation=2))
    assert world.last.events == ()


def expect_refusal(world: World, fault: type[ClientFault], said: str) -> None:
    before = dict(world.rows)
    with pytest.raises(fault) as caught:
        world.do(DeleteComputeEnvironment(compute_environment="ce"))
    assert caught.value.message == said
    assert world.rows == before


def test_the_way_to_deletion(world: World) -> None:
    modified = "Cannot delete, resource is being modified"
    create(world)
    expect_refusal(world, NotAllowedInState, modified)
    world.settle()
    expect_refusal(world, NotAllowedInState, "Cannot delete, compute environment ce is ENABLED")
    order = [{"order": 1, "computeEnvironment": "ce"}]
    queue = {"jobQueueName": "q", "priority": 1, "computeEnvironmentOrder": order}
    world.do(CreateJobQueue(request=queue))
    update(world, state="DISABLED")
    expect_refusal(world, NotAllowedInState, modified)
    world.settle()
    expect_refusal(world, Conflict, "Cannot delete, found existing JobQueue relationship")
    del world.rows["queue", "q"]
    world.do(DeleteComputeEnvironment(compute_environment=ARN))
    assert got(world).status == "DELETING"
    with pytest.raises(NotAllowedInState, match="ce is being deleted"):
        update(world)
    announced = world.follow_ups()
    world.do(DeleteComputeEnvironment(compute_environment="ce"))
    assert world.last.events == ()
    for step in announced:
        world.do(step)
    assert world.compute_environment("ce") is None
    world.do(DeleteComputeEnvironment(compute_environment="ce"))
    assert world.last.events == ()


def test_deleting_nothing_is_refused(world: World) -> None:
    with pytest.raises(InvalidRequest, match="computeEnvironment must be specified"):
        world.do(DeleteComputeEnvironment(compute_environment=""))


@pytest.mark.parametrize(
    ("given", "members", "wanted"),
    [
        (None, {}, "EC2"),
        (EC2, {}, "EC2"),
        ({**FARGATE, "type": "FARGATE_SPOT"}, {}, "FARGATE"),
        ({"type": "ECS_MANAGED_INSTANCES", "maxvCpus": 1}, {}, "MANAGED_INSTANCES"),
        (EC2, {"eksConfiguration": {"eksClusterArn": "a", "kubernetesNamespace": "n"}}, "EKS"),
    ],
)
def test_capability(world: World, given: object, members: dict[str, Any], wanted: str) -> None:
    create(world, given, **members)
    assert capability(got(world)) == wanted

"""Updates of compute environments that name an EKS cluster, and of those that do not."""

import pytest

from batchyard.kernel.commands import CreateComputeEnvironment, UpdateComputeEnvironment
from batchyard.kernel.faults import InvalidRequest
from unit.kernel.yard_world import World

CLUSTER = {"eksClusterArn": "arn:aws:eks:us-east-1:000000000000:cluster/c"}


def make(world: World, **members: object) -> None:
    request = {"computeEnvironmentName": "ce", "type": "UNMANAGED", **members}
    world.do(CreateComputeEnvironment(request=request, uuid="u"))


def update(world: World, configuration: object) -> None:
    request = {"computeEnvironment": "ce", "eksConfiguration": configuration}
    world.do(UpdateComputeEnvironment(request=request))


def test_an_update_keeps_the_cluster() -> None:
    world = World()
    make(world, eksConfiguration=CLUSTER)
    update(world, {"accessEntry": {"desiredState": "ENABLED"}})
    environment = world.compute_environment("ce")
    assert environment is not None
    assert environment.extra["eksConfiguration"] == {
        **CLUSTER,
        "accessEntry": {"desiredState": "ENABLED"},
    }


def test_an_environment_does_not_move_to_eks_by_an_update() -> None:
    world = World()
    make(world)
    before = world.compute_environment("ce")
    with pytest.raises(InvalidRequest, match="eksConfiguration") as refused:
        update(world, {"accessEntry": {"desiredState": "ENABLED"}})
    assert refused.value.field == "eksConfiguration"
    assert world.compute_environment("ce") == before

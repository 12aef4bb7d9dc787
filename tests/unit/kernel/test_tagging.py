"""TagResource and UntagResource on the four kinds of resources."""

from typing import Any

import pytest

from batchyard.kernel.commands import (
    CreateComputeEnvironment,
    CreateJobQueue,
    RegisterJobDefinition,
    SubmitJob,
    TagResource,
    UntagResource,
)
from batchyard.kernel.faults import ClientFault, InvalidRequest, LimitExceeded, NotFound
from unit.kernel.yard_world import World

ARN = "arn:aws:batch:us-east-1:000000000000:"
RESOURCES = ["job-queue/q", "compute-environment/ce", "job-definition/d:1", "job/j1"]


@pytest.fixture
def world() -> World:
    world = World()
    tags = {"first": "1"}
    environment: dict[str, Any] = {"computeEnvironmentName": "ce", "type": "UNMANAGED"}
    world.do(CreateComputeEnvironment(request={**environment, "tags": tags}, uuid="u"))
    world.settle()
    order = [{"order": 1, "computeEnvironment": "ce"}]
    queue: dict[str, Any] = {"jobQueueName": "q", "priority": 1, "computeEnvironmentOrder": order}
    world.do(CreateJobQueue(request={**queue, "tags": tags}))
    world.settle()
    container = {"image": "i", "vcpus": 1, "memory": 4}
    definition = {"jobDefinitionName": "d", "type": "container", "containerProperties": container}
    world.do(RegisterJobDefinition(request={**definition, "tags": tags}))
    submit = {"jobName": "j", "jobQueue": "q", "jobDefinition": "d", "tags": tags}
    world.do(SubmitJob(job_id="j1", seq=1, request=submit))
    return world


def tags(world: World, resource: str) -> dict[str, str]:
    kind, _, name = resource.partition("/")
    rows = {
        "job-queue": world.queue,
        "compute-environment": world.compute_environment,
        "job": world.job,
    }
    row = rows[kind](name) if kind in rows else world.definition("d", 1)
    assert row is not None
    return row.tags


@pytest.mark.parametrize("resource", RESOURCES)
def test_tags_merge_and_go(world: World, resource: str) -> None:
    world.do(TagResource(arn=ARN + resource, tags={"first": "2", "second": "3"}))
    assert tags(world, resource) == {"first": "2", "second": "3"}
    world.do(UntagResource(arn=ARN + resource, keys=("first", "unknown")))
    assert tags(world, resource) == {"second": "3"}
    others = [r for r in RESOURCES if r != resource]
    assert all(tags(world, other) == {"first": "1"} for other in others)


@pytest.mark.parametrize("resource", RESOURCES)
def test_at_most_50_together(world: World, resource: str) -> None:
    world.do(TagResource(arn=ARN + resource, tags={str(i): "" for i in range(49)}))
    with pytest.raises(LimitExceeded):
        world.do(TagResource(arn=ARN + resource, tags={"one more": ""}))
    assert len(tags(world, resource)) == 50


@pytest.mark.parametrize(
    ("arn", "fault", "said"),
    [
        ("q", InvalidRequest, "is not the ARN of a Batch resource"),
        ("arn:aws:s3:us-east-1:000000000000:job/j1", InvalidRequest, "is not the ARN of a Batch"),
        (ARN + "job", InvalidRequest, "is not the ARN of a Batch"),
        (ARN + "fleet/x", InvalidRequest, "type fleet cannot be tagged"),
        (ARN + "job/j1:0", InvalidRequest, "not supported for children"),
        (ARN + "job/j1#0", InvalidRequest, "not supported for children"),
        (ARN + "job/j2", NotFound, "does not exist"),
        (ARN + "job-queue/x", NotFound, "does not exist"),
        (ARN + "compute-environment/x", NotFound, "does not exist"),
        (ARN + "job-definition/d:2", NotFound, "does not exist"),
        (ARN + "job-definition/d", NotFound, "does not exist"),
        ("arn:aws:batch:eu-west-1:000000000000:job/j1", NotFound, "does not exist"),
    ],
)
def test_refuses(world: World, arn: str, fault: type[ClientFault], said: str) -> None:
    for command in (TagResource(arn=arn, tags={"a": "b"}), UntagResource(arn=arn, keys=("a",))):
        with pytest.raises(fault) as caught:
            world.do(command)
        assert said in caught.value.message


def test_refuses_reserved_keys(world: World) -> None:
    with pytest.raises(InvalidRequest, match="reserved"):
        world.do(TagResource(arn=ARN + "job-queue/q", tags={"AWS:x": ""}))

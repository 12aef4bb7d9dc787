"""Job definitions, queues, compute environments and tags as they are answered on the wire."""

from typing import Any

import pytest

from batchyard.kernel.faults import InvalidRequest, NotFound
from unit.api.served_yard import ARN, ServedYard

BUSYBOX = {"image": "busybox", "vcpus": 1, "memory": 128}
NAMES = {
    "DescribeComputeEnvironments": "computeEnvironments",
    "DescribeJobQueues": "jobQueues",
    "DescribeJobDefinitions": "jobDefinitions",
}


def register(yard: ServedYard, name: str, **members: Any) -> str:
    members = {"type": "container", "containerProperties": BUSYBOX, **members}
    reply = yard.call("RegisterJobDefinition", jobDefinitionName=name, **members)
    return str(reply["jobDefinitionArn"])


def definitions(yard: ServedYard, **params: Any) -> list[dict[str, Any]]:
    return list(yard.call("DescribeJobDefinitions", **params)["jobDefinitions"])


def keys(found: list[dict[str, Any]]) -> list[str]:
    return [f"{d['jobDefinitionName']}:{d['revision']}" for d in found]


def test_a_definition_comes_back_with_empty_lists_filled_in(empty_yard: ServedYard) -> None:
    sent = {
        **BUSYBOX,
        "linuxParameters": {"tmpfs": [{"containerPath": "/t", "size": 1}]},
        "logConfiguration": {"logDriver": "awslogs"},
        "futureMember": {"deep": [1]},
    }
    arn = register(
        empty_yard,
        "d",
        containerProperties=sent,
        retryStrategy={"attempts": 2},
        parameters={"nf-token": "x"},
        tags={"k": "v"},
    )
    (found,) = definitions(empty_yard, jobDefinitionName="d")
    assert found == {
        "jobDefinitionName": "d",
        "jobDefinitionArn": arn,
        "revision": 1,
        "status": "ACTIVE",
        "type": "container",
        "parameters": {"nf-token": "x"},
        "retryStrategy": {"attempts": 2, "evaluateOnExit": []},
        "tags": {"k": "v"},
        "containerOrchestrationType": "ECS",
        "containerProperties": {
            **BUSYBOX,
            "command": [],
            "environment": [],
            "mountPoints": [],
            "resourceRequirements": [],
            "secrets": [],
            "ulimits": [],
            "volumes": [],
            "linuxParameters": {
                "devices": [],
                "tmpfs": [{"containerPath": "/t", "size": 1, "mountOptions": []}],
            },
            "logConfiguration": {"logDriver": "awslogs", "options": {}, "secretOptions": []},
            "futureMember": {"deep": [1]},
        },
    }


def test_other_kinds_of_definitions_come_back_too(empty_yard: ServedYard) -> None:
    requirements = [{"type": "VCPU", "value": "0.25"}, {"type": "MEMORY", "value": "512"}]
    fargate = {"image": "i", "executionRoleArn": "r", "resourceRequirements": requirements}
    register(empty_yard, "f", containerProperties=fargate, platformCapabilities=["FARGATE"])
    pod = {"podProperties": {"containers": [{"image": "i"}]}}
    register(empty_yard, "k", containerProperties=None, eksProperties=pod)
    groups = [
        {"targetNodes": "0", "container": BUSYBOX},
        {"targetNodes": "1", "ecsProperties": {"taskProperties": []}},
    ]
    nodes = {"numNodes": 2, "mainNode": 0, "nodeRangeProperties": groups}
    register(empty_yard, "n", type="multinode", containerProperties=None, nodeProperties=nodes)
    by_name = {d["jobDefinitionName"]: d for d in definitions(empty_yard)}
    platform = by_name["f"]["containerProperties"]["fargatePlatformConfiguration"]
    assert platform == {"platformVersion": "LATEST"}
    assert by_name["k"]["containerOrchestrationType"] == "EKS"
    assert by_name["k"]["eksProperties"] == pod
    shown = by_name["n"]["nodeProperties"]["nodeRangeProperties"]
    assert shown[0]["container"]["volumes"] == []
    assert shown[1] == groups[1]


def test_definitions_are_found_by_name_status_and_list(empty_yard: ServedYard) -> None:
    arns = [register(empty_yard, "a"), register(empty_yard, "a"), register(empty_yard, "b")]
    empty_yard.call("DeregisterJobDefinition", jobDefinition=arns[1])
    assert sorted(keys(definitions(empty_yard))) == ["a:1", "a:2", "b:1"]
    assert keys(definitions(empty_yard, jobDefinitionName="a", status="ACTIVE")) == ["a:1"]
    assert keys(definitions(empty_yard, status="INACTIVE")) == ["a:2"]
    listed = definitions(empty_yard, jobDefinitions=["b:1", arns[1], "gone:1", "b:1"])
    assert keys(listed) == ["b:1", "a:2"]
    assert listed[1]["status"] == "INACTIVE"
    assert keys(definitions(empty_yard, jobDefinitions=["a", "nothing"])) == ["a:2", "a:1"]


def test_definitions_in_pages(empty_yard: ServedYard) -> None:
    for name in ("a", "a", "b", "c", "c"):
        register(empty_yard, name)
    found: list[str] = []
    params: dict[str, Any] = {"maxResults": 2, "status": "ACTIVE"}
    pages = 0
    while True:
        answer = empty_yard.call("DescribeJobDefinitions", **params)
        found += keys(answer["jobDefinitions"])
        pages += 1
        if "nextToken" not in answer:
            break
        params["nextToken"] = answer["nextToken"]
    assert pages == 3
    assert found == ["a:2", "a:1", "b:1", "c:2", "c:1"]


@pytest.mark.parametrize("member", ["jobDefinitionName", "status", "nextToken"])
def test_a_list_of_definitions_is_used_alone(yard: ServedYard, member: str) -> None:
    with pytest.raises(InvalidRequest, match=f"jobDefinitions and {member} cannot both be set"):
        yard.call("DescribeJobDefinitions", jobDefinitions=["d:1"], **{member: "ACTIVE"})


@pytest.mark.parametrize(("operation", "member"), NAMES.items())
def test_names_exclude_max_results(yard: ServedYard, operation: str, member: str) -> None:
    said = f"{member[0].upper()}{member[1:]} and MaxResults cannot both be set"
    with pytest.raises(InvalidRequest) as caught:
        yard.call(operation, **{member: ["x"], "maxResults": 5})
    assert caught.value.message == said
    assert yard.call(operation, **{member: [], "maxResults": 5})[member]


@pytest.mark.parametrize(("operation", "member"), NAMES.items())
def test_at_most_100_names(yard: ServedYard, operation: str, member: str) -> None:
    assert yard.call(operation, **{member: ["x:1"] * 100}) == {member: []}
    with pytest.raises(InvalidRequest, match="at most 100 entries, but has 101"):
        yard.call(operation, **{member: ["x:1"] * 101})


@pytest.mark.parametrize("operation", NAMES)
@pytest.mark.parametrize(
    "token", ["no base64!", "e30=", "WyJhIiwiYiJd", "WzEsMl0=", "\N{SNOWMAN}", "AAAA"]
)
def test_a_damaged_token_is_refused(yard: ServedYard, operation: str, token: str) -> None:
    with pytest.raises(InvalidRequest, match="nextToken is not valid"):
        yard.call(operation, nextToken=token)


@pytest.mark.parametrize("operation", NAMES)
@pytest.mark.parametrize("size", [0, -1, "5"])
def test_max_results_must_be_a_positive_number(
    yard: ServedYard, operation: str, size: object
) -> None:
    with pytest.raises(InvalidRequest, match="maxResults must be"):
        yard.call(operation, maxResults=size)


def test_a_token_belongs_to_its_query(empty_yard: ServedYard) -> None:
    for name in ("a", "b"):
        register(empty_yard, name)
    token = empty_yard.call("DescribeJobDefinitions", maxResults=1)["nextToken"]
    with pytest.raises(InvalidRequest, match="nextToken is not valid"):
        empty_yard.call("DescribeJobDefinitions", status="ACTIVE", nextToken=token)
    with pytest.raises(InvalidRequest, match="nextToken is not valid"):
        empty_yard.call("DescribeJobQueues", nextToken=token)
    assert keys(definitions(empty_yard, nextToken=token, maxResults=50)) == ["b:1"]


def test_an_unmanaged_environment(yard: ServedYard) -> None:
    (found,) = yard.call("DescribeComputeEnvironments")["computeEnvironments"]
    uuid = found.pop("uuid")
    assert found == {
        "computeEnvironmentName": "ce",
        "computeEnvironmentArn": ARN + "compute-environment/ce",
        "ecsClusterArn": f"arn:aws:ecs:us-east-1:000000000000:cluster/AWSBatch-ce-{uuid}",
        "type": "UNMANAGED",
        "state": "ENABLED",
        "status": "VALID",
        "statusReason": "ComputeEnvironment Healthy",
        "serviceRole": "arn:aws:iam::000000000000:role/aws-service-role/"
        "batch.amazonaws.com/AWSServiceRoleForBatch",
        "containerOrchestrationType": "ECS",
        "tags": {},
    }


def test_a_managed_environment_keeps_what_was_sent(empty_yard: ServedYard) -> None:
    resources = {
        "type": "EC2",
        "instanceRole": "ecsInstanceRole",
        "minvCpus": 0,
        "maxvCpus": 8,
        "instanceTypes": ["optimal"],
    }
    eks = {"eksClusterArn": "arn:aws:eks:x", "kubernetesNamespace": "n"}
    empty_yard.settling = False
    empty_yard.call(
        "CreateComputeEnvironment",
        computeEnvironmentName="k",
        type="MANAGED",
        serviceRole="AWSBatchServiceRole",
        computeResources=resources,
        eksConfiguration=eks,
    )
    (found,) = empty_yard.call("DescribeComputeEnvironments")["computeEnvironments"]
    assert found["computeResources"] == {**resources, "desiredvCpus": 0}
    assert (found["status"], found["statusReason"]) == ("CREATING", "")
    assert (found["containerOrchestrationType"], found["eksConfiguration"]) == ("EKS", eks)
    assert found["serviceRole"] == "AWSBatchServiceRole"
    assert "ecsClusterArn" not in found


def test_a_queue(yard: ServedYard) -> None:
    (found,) = yard.call("DescribeJobQueues", jobQueues=["q", ARN + "job-queue/q", "x"])[
        "jobQueues"
    ]
    environment = ARN + "compute-environment/ce"
    assert found == {
        "jobQueueName": "q",
        "jobQueueArn": ARN + "job-queue/q",
        "state": "ENABLED",
        "status": "VALID",
        "statusReason": "JobQueue Healthy",
        "priority": 1,
        "computeEnvironmentOrder": [{"order": 1, "computeEnvironment": environment}],
        "tags": {},
    }


def test_queues_in_pages(yard: ServedYard) -> None:
    order = [{"order": 1, "computeEnvironment": "ce"}]
    for i in range(4):
        yard.call("CreateJobQueue", jobQueueName=f"p{i}", priority=i, computeEnvironmentOrder=order)
    names: list[str] = []
    params: dict[str, Any] = {"maxResults": 2}
    while True:
        answer = yard.call("DescribeJobQueues", **params)
        names += [queue["jobQueueName"] for queue in answer["jobQueues"]]
        if "nextToken" not in answer:
            break
        params["nextToken"] = answer["nextToken"]
    assert names == ["p0", "p1", "p2", "p3", "q"]


def test_the_ends_of_a_queue_and_its_environment(yard: ServedYard) -> None:
    yard.call("UpdateJobQueue", jobQueue="q", state="DISABLED", priority=5)
    (queue,) = yard.call("DescribeJobQueues")["jobQueues"]
    assert (queue["state"], queue["status"], queue["priority"]) == ("DISABLED", "VALID", 5)
    assert yard.call("DeleteJobQueue", jobQueue="q") == {}
    assert yard.call("DescribeJobQueues") == {"jobQueues": []}
    yard.call("UpdateComputeEnvironment", computeEnvironment="ce", state="DISABLED")
    assert yard.call("DeleteComputeEnvironment", computeEnvironment="ce") == {}
    assert yard.call("DescribeComputeEnvironments") == {"computeEnvironments": []}


@pytest.mark.parametrize(
    "resource", ["job-queue/q", "compute-environment/ce", "job-definition/d:1"]
)
def test_tags_of_a_resource(yard: ServedYard, resource: str) -> None:
    arn = ARN + resource
    assert yard.call("ListTagsForResource", resourceArn=arn) == {"tags": {}}
    assert yard.call("TagResource", resourceArn=arn, tags={"a": "1", "b": "2"}) == {}
    assert yard.call("UntagResource", resourceArn=arn, tagKeys=["a"]) == {}
    assert yard.call("ListTagsForResource", resourceArn=arn) == {"tags": {"b": "2"}}


def test_tags_of_a_job(yard: ServedYard) -> None:
    job = yard.call("SubmitJob", jobName="j", jobQueue="q", jobDefinition="d", tags={"a": "1"})
    yard.call("TagResource", resourceArn=job["jobArn"], tags={"b": "2"})
    tags = {"a": "1", "b": "2"}
    assert yard.call("ListTagsForResource", resourceArn=job["jobArn"]) == {"tags": tags}
    (found,) = yard.call("DescribeJobs", jobs=[job["jobId"]])["jobs"]
    assert found["tags"] == tags


@pytest.mark.parametrize(
    "resource", ["job-queue/x", "compute-environment/x", "job-definition/d:7", "job/x"]
)
def test_tags_of_an_unknown_resource(yard: ServedYard, resource: str) -> None:
    with pytest.raises(NotFound, match="does not exist"):
        yard.call("ListTagsForResource", resourceArn=ARN + resource)


@pytest.mark.parametrize(
    ("operation", "params"), [("TagResource", {"tags": {}}), ("UntagResource", {"tagKeys": []})]
)
def test_tagging_needs_tags(yard: ServedYard, operation: str, params: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest, match="must have at least one"):
        yard.call(operation, resourceArn=ARN + "job-queue/q", **params)

"""Bad requests about job definitions."""

from typing import Any

from conformance.bad_input.furnished_yard import CONTAINER, REQUIREMENTS
from conformance.bad_input.refused_request import Bad, batch

FOREIGN = "arn:aws:batch:us-east-1:999999999999:job-definition/plain:1"


def register(told: str, *, name: str = "", **members: Any) -> Bad:
    """A registration that is right but for these members; None takes one away."""
    base = {"jobDefinitionName": "new", "type": "container", "containerProperties": CONTAINER}
    body = {k: v for k, v in {**base, **members}.items() if v is not None}
    return batch("RegisterJobDefinition", body, told, name=name or str(members)[:90])


def properties(told: str, *, name: str = "", **members: Any) -> Bad:
    found = {k: v for k, v in {**CONTAINER, **members}.items() if v is not None}
    shown = name or f"properties {members}"[:90]
    return register(told, name=shown, containerProperties=found)


def fargate(told: str, *, vcpus: str = "1", memory: str = "2048", **members: Any) -> Bad:
    props = {
        "image": "any",
        "executionRoleArn": "arn:aws:iam::000000000000:role/r",
        "resourceRequirements": [
            {"type": "VCPU", "value": vcpus},
            {"type": "MEMORY", "value": memory},
        ],
        **members,
    }
    return register(
        told,
        name=f"Fargate {vcpus} {memory} {members}"[:90],
        platformCapabilities=["FARGATE"],
        containerProperties={k: v for k, v in props.items() if v is not None},
    )


def nodes(told: str, **members: Any) -> Bad:
    group = {"targetNodes": "0:1", "container": CONTAINER}
    found = {"numNodes": 2, "mainNode": 0, "nodeRangeProperties": [group], **members}
    return register(
        told,
        name=f"nodes {members}"[:90],
        type="multinode",
        containerProperties=None,
        nodeProperties=found,
    )


def range_of(target: str) -> list[dict[str, Any]]:
    return [{"targetNodes": target, "container": CONTAINER}]


MOUNT = {"sourceVolume": "v", "containerPath": "/data"}

REGISTER = [
    batch("RegisterJobDefinition", {}, r"jobDefinitionName is required\. type is required"),
    register("jobDefinitionName is required", jobDefinitionName=None),
    register("jobDefinitionName must be specified", jobDefinitionName=""),
    register("should match valid pattern", jobDefinitionName="a b"),
    register("should match valid pattern", jobDefinitionName="a:1"),
    register("should match valid pattern", jobDefinitionName="ä"),
    register("should match valid pattern", jobDefinitionName="n" * 129, name="name of 129"),
    register("type is required", type=None),
    register("type must be container or multinode", type="Container"),
    register("needs containerProperties or .* none was given", containerProperties=None),
    register("containerProperties and eksProperties was given",
             eksProperties={"podProperties": {}}),
    register("needs nodeProperties, and only that; containerProperties was", type="multinode"),
    register("containerProperties must be an object", containerProperties="busybox"),
    register("containerProperties must be an object", containerProperties=[]),
    properties("containerProperties.image must be specified", image=None),
    properties("containerProperties.image must be specified", image=""),
    properties("containerProperties.image must be a string", image=1),
    properties("vCPU is not provided", resourceRequirements=REQUIREMENTS[1:]),
    properties("Memory is not provided", resourceRequirements=REQUIREMENTS[:1]),
    properties("vCPU is not provided", resourceRequirements=None),
    properties("names MEMORY more than once",
               resourceRequirements=[*REQUIREMENTS, REQUIREMENTS[1]]),
    properties("Value two for type VCPU",
               resourceRequirements=[{"type": "VCPU", "value": "two"}, REQUIREMENTS[1]]),
    properties("Value 0.25 for type VCPU",
               resourceRequirements=[{"type": "VCPU", "value": "0.25"}, REQUIREMENTS[1]]),
    properties("Value one for type GPU",
               resourceRequirements=[*REQUIREMENTS, {"type": "GPU", "value": "one"}]),
    properties("vcpus must be a whole number", vcpus=1.5),
    properties("command must be a list", command="echo hi"),
    properties("environment must be a list", environment={"A": "b"}),
    properties("cannot start with AWS_BATCH", environment=[{"name": "AWS_BATCH_X", "value": "1"}]),
    properties("does not match regex", user="Root User"),
    properties("does not match regex", user="-root"),
    properties("volumes has none of that name", mountPoints=[MOUNT]),
    properties("must be an absolute path", volumes=[{"name": "v"}],
               mountPoints=[{**MOUNT, "containerPath": "data"}]),
    properties("containerPath must be specified", volumes=[{"name": "v"}],
               mountPoints=[{"sourceVolume": "v"}]),
    properties("readOnly must be true or false", volumes=[{"name": "v"}],
               mountPoints=[{**MOUNT, "readOnly": "no"}]),
    properties("names 'v' more than once", volumes=[{"name": "v"}] * 2),
    properties("name is required|must be specified",
               ulimits=[{"softLimit": 1, "hardLimit": 2}]),
    properties("softLimit 3 is above hardLimit 2",
               ulimits=[{"name": "nofile", "softLimit": 3, "hardLimit": 2}]),
    properties("softLimit -1 is above hardLimit 2",
               ulimits=[{"name": "nofile", "softLimit": -1, "hardLimit": 2}]),
    properties("hardLimit is required", ulimits=[{"name": "nofile", "softLimit": 3}]),
    properties("privileged must be true or false", privileged="true"),
    properties("swappiness must be between 0 and 100", linuxParameters={"swappiness": 101}),
    properties("sharedMemorySize must be at least 1", linuxParameters={"sharedMemorySize": 0}),
    properties("hostPath (is required|must be specified)", linuxParameters={"devices": [{}]}),
    properties("size (is required|must be specified)",
               linuxParameters={"tmpfs": [{"containerPath": "/t"}]}),
    properties("networkConfiguration not applicable for EC2",
               networkConfiguration={"assignPublicIp": "ENABLED"}),
    properties("ephemeralStorage not applicable for EC2", ephemeralStorage={"sizeInGiB": 30}),
    register("RetryAttempts must be provided", retryStrategy={}),
    register("attempts must be between 1 and 10", retryStrategy={"attempts": 11}),
    register("minimum value for the timeout is 60", timeout={"attemptDurationSeconds": 1}),
    register("schedulingPriority must be between 0 and 9999", schedulingPriority=-1),
    register("parameters.a must be a string", parameters={"a": 1}),
    register("platformCapabilities must be EC2 or FARGATE", platformCapabilities=["LAMBDA"]),
    register("one entry only", platformCapabilities=["EC2", "FARGATE"]),
    register("less than or equal to 50", tags={f"k{i}": "v" for i in range(51)}, name="51 tags"),
    register("start with aws: are reserved", tags={"aws:x": "y"}),
    register("JobDefinition size must be less than 24576 bytes", parameters={"a": "x" * 25_000},
             name="of 25 kB"),
    fargate(r"Fargate resource requirements \(1.25 vCPU\) not valid", vcpus="1.25"),
    fargate(r"Fargate resource requirements \(1.00 vCPU, 1000 MiB\) not valid", memory="1000"),
    fargate("Fargate requires that the 'privileged' setting be 'false'", privileged=True),
    fargate("executionRoleArn must be specified", executionRoleArn=None),
    fargate("ulimits is not applicable for Fargate",
            ulimits=[{"name": "nofile", "softLimit": 1, "hardLimit": 2}]),
    fargate("sourcePath is not applicable for Fargate",
            volumes=[{"name": "v", "host": {"sourcePath": "/data"}}]),
    nodes("mainNode is 2, but the nodes are 0 to 1", mainNode=2),
    nodes("numNodes must be between 1 and 1000", numNodes=0),
    nodes("numNodes must be between 1 and 1000", numNodes=1001),
    nodes("numNodes is required", numNodes=None),
    nodes("must have 1 to 5 groups, but has 0", nodeRangeProperties=[]),
    nodes("does not cover node 1 of 2", nodeRangeProperties=range_of("0")),
    nodes("must look like 0:3", nodeRangeProperties=range_of("all")),
    nodes("must look like 0:3", nodeRangeProperties=range_of(":")),
    nodes("is '0:9', but the nodes are 0 to 1", nodeRangeProperties=range_of("0:9")),
    nodes("is '1:0', but", nodeRangeProperties=range_of("1:0")),
    register("podProperties must be specified", containerProperties=None, eksProperties={}),
    register("must have 1 to 10 containers, but has 0", containerProperties=None,
             eksProperties={"podProperties": {"containers": []}}),
    register("must have exactly 1 element, but has 0", containerProperties=None,
             ecsProperties={"taskProperties": []}),
]  # fmt: skip

REST = [
    batch("DeregisterJobDefinition", {}, "jobDefinition is required"),
    batch("DeregisterJobDefinition", {"jobDefinition": ""}, "jobDefinition must be specified"),
    batch("DeregisterJobDefinition", {"jobDefinition": "plain"}, "must be name:revision or an ARN"),
    batch("DeregisterJobDefinition", {"jobDefinition": "plain:3"}, "plain:3 does not exist"),
    batch("DeregisterJobDefinition", {"jobDefinition": "none:1"}, "none:1 does not exist"),
    batch("DeregisterJobDefinition", {"jobDefinition": "plain:one"}, "must be name:revision"),
    batch("DeregisterJobDefinition", {"jobDefinition": FOREIGN}, "must be name:revision|does not"),
    batch("DescribeJobDefinitions", {"jobDefinitions": ["plain"], "maxResults": 1},
          "JobDefinitions and MaxResults cannot both be set"),
    batch("DescribeJobDefinitions", {"jobDefinitions": ["plain"], "status": "ACTIVE"},
          "jobDefinitions and status cannot both be set"),
    batch("DescribeJobDefinitions", {"jobDefinitions": ["a"] * 101}, "at most 100", name="101"),
    batch("DescribeJobDefinitions", {"status": "active"}, "status must be ACTIVE or INACTIVE"),
    batch("DescribeJobDefinitions", {"maxResults": 0}, "maxResults must be at least 1"),
    batch("DescribeJobDefinitions", {"nextToken": "AAAA"}, "nextToken is not valid"),
    batch("DescribeJobDefinitions", {"jobDefinitions": "plain"}, "jobDefinitions must be a list"),
]  # fmt: skip

CASES = [*REGISTER, *REST]

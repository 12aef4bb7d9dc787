"""What docs/coverage.md says of members is so: stored ones come back, refused ones are refused."""

from collections.abc import Iterator
from typing import Any

import pytest

from batchyard.kernel.faults import ClientFault, NotSupported
from batchyard.wire.model import Models
from unit.api.served_yard import ServedYard
from unit.docs.generated_pages import script

COVERAGE = script("coverage")
MODELS = Models()
MANAGED = {
    "type": "EC2",
    "minvCpus": 0,
    "maxvCpus": 8,
    "instanceRole": "ecsInstanceRole",
    "allocationStrategy": "BEST_FIT_PROGRESSIVE",
}
BASES: dict[str, dict[str, Any]] = {
    "CreateComputeEnvironment": {
        "computeEnvironmentName": "new",
        "type": "MANAGED",
        "computeResources": MANAGED,
    },
    "UpdateComputeEnvironment": {
        "computeEnvironment": "new",
        "computeResources": {"maxvCpus": 16},
    },
    "CreateJobQueue": {
        "jobQueueName": "new",
        "priority": 1,
        "computeEnvironmentOrder": [{"order": 1, "computeEnvironment": "ce"}],
    },
    "UpdateJobQueue": {"jobQueue": "q"},
    "RegisterJobDefinition": {
        "jobDefinitionName": "new",
        "type": "container",
        "containerProperties": {"image": "i", "vcpus": 1, "memory": 128, "command": ["true"]},
    },
    "SubmitJob": {"jobName": "j", "jobQueue": "q", "jobDefinition": "d"},
}
SPECIAL = ("unmanagedvCpus", "eksConfiguration")
"""Members of UpdateComputeEnvironment that only environments with such a member take."""
DESCRIBE = {
    "CreateComputeEnvironment": ("DescribeComputeEnvironments", "computeEnvironments", "new"),
    "UpdateComputeEnvironment": ("DescribeComputeEnvironments", "computeEnvironments", "new"),
    "CreateJobQueue": ("DescribeJobQueues", "jobQueues", "new"),
    "UpdateJobQueue": ("DescribeJobQueues", "jobQueues", "q"),
    "RegisterJobDefinition": ("DescribeJobDefinitions", "jobDefinitions", "new:1"),
}
SAMPLES: dict[str, Any] = {
    "computeResources.desiredvCpus": 1,
    "computeResources.minvCpus": 1,
    "jobStateTimeLimitActions": [
        {"reason": "r", "state": "RUNNABLE", "maxTimeSeconds": 600, "action": "CANCEL"}
    ],
    "jobQueueType": "ECS",
    "containerProperties.volumes.efsVolumeConfiguration": {"fileSystemId": "fs-1"},
    "nodeProperties": {
        "numNodes": 1,
        "mainNode": 0,
        "nodeRangeProperties": [{"targetNodes": "0", "container": {"image": "i"}}],
    },
    "ecsProperties": {"taskProperties": [{"containers": [{"image": "i"}]}]},
    "eksProperties": {"podProperties": {"containers": [{"image": "i"}]}},
    "computeResources": {**MANAGED, "imageId": "ami-1"},
}


def entries(status: str) -> list[Any]:
    return [
        pytest.param(operation, entry.path, id=f"{operation}.{entry.path}")
        for operation, said in COVERAGE["words"]().items()
        for entry in said
        if entry.status == status
    ]


def sample(shape: Any) -> Any:
    """Some value of a shape, small and whole."""
    match shape.type_name:
        case "structure":
            return {name: sample(member) for name, member in list(shape.members.items())[:2]}
        case "list":
            return [sample(shape.member)]
        case "map":
            return {"k": sample(shape.value)}
        case "boolean":
            return True
        case "integer" | "long":
            return 1
        case _:
            return "x"


def request(operation: str, path: str) -> dict[str, Any]:
    """The least request of an operation, with a sample at `path`."""
    shape = COVERAGE["shapes"]()[operation]
    out = nested = {**BASES[operation]}
    steps = path.split(".")
    for step in steps[:-1]:
        shape = shape.members[step]
        inner = nested.get(step, {})
        if shape.type_name == "list":
            shape = shape.member
            inner = {"name": "v"}
            nested[step] = [inner]
        else:
            inner = {**inner}
            nested[step] = inner
        nested = inner
    value = SAMPLES.get(path)
    nested[steps[-1]] = sample(shape.members[steps[-1]]) if value is None else value
    if steps[0] in ("nodeProperties", "ecsProperties", "eksProperties"):
        del out["containerProperties"]
        out["type"] = "multinode" if steps[0] == "nodeProperties" else "container"
    if path == "unmanagedvCpus":
        out["computeResources"] = None
        if operation == "CreateComputeEnvironment":
            out["type"] = "UNMANAGED"
    return out


def found(answer: Any, path: str) -> Any:
    for step in path.split("."):
        answer = answer[0] if isinstance(answer, list) else answer
        answer = answer.get(step)
    return answer


def holds(answered: Any, sent: Any) -> bool:
    """Everything that was sent is in the answer; lists that AWS fills in may be there besides."""
    if isinstance(sent, dict):
        return isinstance(answered, dict) and all(
            holds(answered.get(name), value) for name, value in sent.items()
        )
    if isinstance(sent, list) and isinstance(answered, list):
        return len(sent) == len(answered) and all(map(holds, answered, sent))
    return bool(answered == sent)


def described(yard: ServedYard, operation: str) -> dict[str, Any]:
    describe, member, name = DESCRIBE[operation]
    answer: dict[str, Any] = yard.call(describe, **{member: [name]})[member][0]
    return answer


@pytest.fixture
def yard() -> Iterator[ServedYard]:
    yard = ServedYard(MODELS)
    yard.call("CreateComputeEnvironment", computeEnvironmentName="ce", type="UNMANAGED")
    base = BASES["CreateJobQueue"]
    yard.call("CreateJobQueue", **{**base, "jobQueueName": "q"})
    yard.call(
        "RegisterJobDefinition", **{**BASES["RegisterJobDefinition"], "jobDefinitionName": "d"}
    )
    yield yard
    yard.close()


def prepare(yard: ServedYard, operation: str, path: str) -> None:
    """Make the environment that an update changes."""
    if operation == "UpdateComputeEnvironment":
        made = request("CreateComputeEnvironment", path if path in SPECIAL else "state")
        yard.call("CreateComputeEnvironment", **{**made, "state": "ENABLED"})


@pytest.mark.parametrize(("operation", "path"), entries("stored"))
def test_a_stored_member_is_returned(yard: ServedYard, operation: str, path: str) -> None:
    prepare(yard, operation, path)
    sent = request(operation, path)
    if operation == "SubmitJob":
        job_id = yard.call(operation, **sent)["jobId"]
        answer = yard.call("DescribeJobs", jobs=[job_id])["jobs"][0]
    else:
        yard.call(operation, **sent)
        answer = described(yard, operation)
    assert holds(found(answer, path), found(sent, path))


@pytest.mark.parametrize(("operation", "path"), entries("refused by SubmitJob"))
def test_a_definition_registers_and_its_jobs_are_refused(
    yard: ServedYard, operation: str, path: str
) -> None:
    sent = request(operation, path)
    yard.call(operation, **sent)
    assert holds(found(described(yard, operation), path), found(sent, path))
    with pytest.raises(ClientFault, match="Batchyard"):
        yard.call("SubmitJob", **{**BASES["SubmitJob"], "jobDefinition": "new"})


@pytest.mark.parametrize(("operation", "path"), entries("refused"))
def test_a_refused_member_is_refused(yard: ServedYard, operation: str, path: str) -> None:
    with pytest.raises(ClientFault) as refused:
        yard.call(operation, **request(operation, path))
    named = getattr(refused.value, "field", "")
    assert named == path or isinstance(refused.value, NotSupported)
    # It is that member which is refused, and nothing else of the request.
    yard.call(operation, **BASES[operation])


@pytest.mark.parametrize(("operation", "path"), entries("ignored"))
def test_an_ignored_member_is_accepted(yard: ServedYard, operation: str, path: str) -> None:
    prepare(yard, operation, path)
    sent = request(operation, path)
    answer = yard.call(operation, **sent)
    if operation == "SubmitJob":
        answer = yard.call("DescribeJobs", jobs=[answer["jobId"]])["jobs"][0]["container"]
        path = path.rpartition(".")[2]
    else:
        answer = described(yard, operation)
    assert found(answer, path) is None

"""Bad requests about job queues, compute environments and tags."""

from typing import Any
from urllib.parse import quote

from conformance.bad_input.furnished_yard import REALM, RESOURCES
from conformance.bad_input.refused_request import Bad, batch


def create_queue(told: str, **members: Any) -> Bad:
    base = {
        "jobQueueName": "new",
        "priority": 1,
        "computeEnvironmentOrder": [{"order": 1, "computeEnvironment": "machines"}],
    }
    body = {k: v for k, v in {**base, **members}.items() if v is not None}
    return batch("CreateJobQueue", body, told, name=str(members)[:90])


def update_queue(told: str, **members: Any) -> Bad:
    return batch("UpdateJobQueue", {"jobQueue": "open", **members}, told)


def create_environment(told: str, **members: Any) -> Bad:
    base = {"computeEnvironmentName": "new", "type": "MANAGED", "computeResources": RESOURCES}
    body = {k: v for k, v in {**base, **members}.items() if v is not None}
    return batch("CreateComputeEnvironment", body, told, name=str(members)[:90])


def resources(told: str, **members: Any) -> Bad:
    found = {k: v for k, v in {**RESOURCES, **members}.items() if v is not None}
    return batch(
        "CreateComputeEnvironment",
        {"computeEnvironmentName": "new", "type": "MANAGED", "computeResources": found},
        told,
        name=f"resources {members}"[:90],
    )


def update_environment(told: str, name: str = "machines", **members: Any) -> Bad:
    return batch("UpdateComputeEnvironment", {"computeEnvironment": name, **members}, told)


def order(*entries: tuple[object, object]) -> list[dict[str, object]]:
    return [{"order": at, "computeEnvironment": name} for at, name in entries]


def tags(method: str, arn: str, told: str, body: bytes = b"", query: str = "") -> Bad:
    path = f"/v1/tags/{quote(arn, safe='$')}{query}"
    return Bad(name=f"{method} {path[:80]}", method=method, path=path, body=body, told=told)


QUEUES = [
    batch("CreateJobQueue", {}, r"jobQueueName is required\. priority is required"),
    create_queue("jobQueueName is required", jobQueueName=None),
    create_queue("should match valid pattern", jobQueueName="a b"),
    create_queue("should match valid pattern", jobQueueName="n" * 129),
    create_queue("priority is required", priority=None),
    create_queue("priority must be at least 0", priority=-1),
    create_queue("priority must be a whole number", priority="high"),
    create_queue("state must be ENABLED or DISABLED", state="ON"),
    create_queue("must have 1 to 3 compute environments", computeEnvironmentOrder=[]),
    create_queue("must have 1 to 3 compute environments", computeEnvironmentOrder=None),
    create_queue("at most 3 compute environments, but has 4",
                 computeEnvironmentOrder=order(*((i, f"e{i}") for i in range(4)))),
    create_queue("Compute environment nowhere does not exist",
                 computeEnvironmentOrder=order((1, "nowhere"))),
    create_queue("order .*different for each",
                 computeEnvironmentOrder=order((1, "machines"), (1, "free"))),
    create_queue("names machines more than once",
                 computeEnvironmentOrder=order((1, "machines"), (2, "machines"))),
    create_queue("of one kind, but are", computeEnvironmentOrder=order((1, "machines"),
                                                                       (2, "fargate"))),
    create_queue("order must be at least 0", computeEnvironmentOrder=order((-1, "machines"))),
    create_queue("^Object already exists$", jobQueueName="open"),
    create_queue("no scheduling policies yet",
                 schedulingPolicyArn=f"{REALM}:scheduling-policy/p"),
    create_queue("no service environments yet", computeEnvironmentOrder=None,
                 serviceEnvironmentOrder=[{"order": 1, "serviceEnvironment": "s"}]),
    create_queue("maxTimeSeconds must be between 600 and 86400", jobStateTimeLimitActions=[
        {"reason": "r", "state": "RUNNABLE", "maxTimeSeconds": 60, "action": "CANCEL"}]),
    create_queue("state must be RUNNABLE", jobStateTimeLimitActions=[
        {"reason": "r", "state": "RUNNING", "maxTimeSeconds": 600, "action": "CANCEL"}]),
    create_queue("start with aws: are reserved", tags={"aws:x": "y"}),
    batch("UpdateJobQueue", {}, "jobQueue is required"),
    batch("UpdateJobQueue", {"jobQueue": "nowhere"}, "JobQueue nowhere does not exist"),
    update_queue("state must be ENABLED or DISABLED", state="paused"),
    update_queue("priority must be at least 0", priority=-5),
    update_queue("does not exist", computeEnvironmentOrder=order((1, "nowhere"))),
    update_queue("of one kind", computeEnvironmentOrder=order((1, "machines"), (2, "fargate"))),
    batch("DeleteJobQueue", {}, "jobQueue is required"),
    batch("DeleteJobQueue", {"jobQueue": ""}, "jobQueue must be specified"),
    batch("DeleteJobQueue", {"jobQueue": "open"}, "^Cannot delete, job queue open is ENABLED"),
    batch("DescribeJobQueues", {"jobQueues": ["open"], "maxResults": 1},
          "JobQueues and MaxResults cannot both be set"),
    batch("DescribeJobQueues", {"maxResults": -1}, "maxResults must be at least 1"),
    batch("DescribeJobQueues", {"nextToken": "x"}, "nextToken is not valid"),
    batch("DescribeJobQueues", {"jobQueues": "open"}, "jobQueues must be a list"),
]  # fmt: skip

ENVIRONMENTS = [
    batch("CreateComputeEnvironment", {}, r"computeEnvironmentName is required\. type is required"),
    create_environment("should match valid pattern", computeEnvironmentName="a b"),
    create_environment("should match valid pattern", computeEnvironmentName="../etc"),
    create_environment("type must be MANAGED or UNMANAGED", type="managed"),
    create_environment("computeResources must be provided", computeResources=None),
    create_environment("must not be provided for an UNMANAGED", type="UNMANAGED"),
    create_environment("state must be ENABLED or DISABLED", state="enabled"),
    create_environment("^Object already exists$", computeEnvironmentName="machines"),
    create_environment("unmanagedvCpus is for UNMANAGED", unmanagedvCpus=4),
    create_environment("computeResources must be an object", computeResources="m5.large"),
    resources("type (is required|must be)", type=None),
    resources("type must be EC2 or SPOT", type="CLOUD"),
    resources("maxvCpus is required", maxvCpus=None),
    resources("minvCpus is required", minvCpus=None),
    resources("minvCpus must be at least 0", minvCpus=-1),
    resources("in the order minvCpus <= desiredvCpus <= maxvCpus, but are 32, 32 and 16",
              minvCpus=32),
    resources("but are 0, 64 and 16", desiredvCpus=64),
    resources("maxvCpus must be a whole number", maxvCpus="16"),
    resources("Instance role is required", instanceRole=None),
    resources("Spot fleet role is required", type="SPOT"),
    resources("bidPercentage must be between 1 and 100", type="SPOT", bidPercentage=101,
              spotIamFleetRole="r"),
    resources("instanceTypes must be a list", instanceTypes="optimal"),
    resources("desiredvCpus is not applicable for Fargate", type="FARGATE", minvCpus=None,
              instanceTypes=None, instanceRole=None, desiredvCpus=1),
    resources("instanceRole is not applicable for Fargate", type="FARGATE", minvCpus=None,
              instanceTypes=None),
    batch("UpdateComputeEnvironment", {}, "computeEnvironment is required"),
    update_environment("Compute environment nowhere does not exist", name="nowhere"),
    update_environment("does not exist", name=f"{REALM}:compute-environment/nowhere"),
    update_environment("state must be ENABLED or DISABLED", state="OFF"),
    update_environment("At least one compute-resources attribute", computeResources={}),
    update_environment("cannot be changed to BEST_FIT",
                       computeResources={"allocationStrategy": "BEST_FIT"}),
    update_environment("cannot be updated while the allocationStrategy is BEST_FIT",
                       computeResources={"instanceTypes": ["m5.large"]}),
    update_environment("in the order minvCpus", computeResources={"minvCpus": 17}),
    update_environment("in the order minvCpus", computeResources={"desiredvCpus": 17}),
    update_environment("can't be updated for Fargate compute environment", name="fargate",
                       computeResources={"instanceTypes": ["m5.large"]}),
    update_environment("cannot be set on an UNMANAGED", name="free",
                       computeResources={"maxvCpus": 1}),
    batch("DeleteComputeEnvironment", {}, "computeEnvironment is required"),
    batch("DeleteComputeEnvironment", {"computeEnvironment": ""}, "must be specified"),
    batch("DeleteComputeEnvironment", {"computeEnvironment": "free"}, "free is ENABLED"),
    batch("DeleteComputeEnvironment", {"computeEnvironment": "resting"},
          "^Cannot delete, found existing JobQueue relationship$"),
    batch("DescribeComputeEnvironments", {"computeEnvironments": ["free"], "maxResults": 5},
          "ComputeEnvironments and MaxResults cannot both be set"),
    batch("DescribeComputeEnvironments", {"nextToken": "?"}, "nextToken is not valid"),
]  # fmt: skip

QUEUE = f"{REALM}:job-queue/open"
TAGS = [
    tags("GET", f"{REALM}:job-queue/nowhere", "nowhere does not exist"),
    tags("GET", f"{REALM}:job-definition/plain:9", "does not exist"),
    tags("GET", "open", "is not the ARN of a Batch resource"),
    tags("GET", "arn:aws:s3:::bucket", "is not the ARN of a Batch resource"),
    tags("GET", f"{REALM}:scheduling-policy/p", "cannot be tagged"),
    tags("GET", "arn:aws:batch:us-east-1:999999999999:job-queue/open", "does not exist"),
    tags("GET", f"{REALM}:job/$array:0", "not supported for children of array jobs"),
    tags("POST", QUEUE, "tags is required", b"{}"),
    tags("POST", QUEUE, "length greater than or equal to 1", b'{"tags": {}}'),
    tags("POST", QUEUE, "tags must be a map", b'{"tags": ["a"]}'),
    tags("POST", QUEUE, "tags.a must be a string", b'{"tags": {"a": 1}}'),
    tags("POST", QUEUE, "start with aws: are reserved", b'{"tags": {"aws:a": "b"}}'),
    tags("POST", QUEUE, "An error occurred during JSON parsing", b"tags"),
    tags("POST", f"{REALM}:job-queue/nowhere", "does not exist", b'{"tags": {"a": "b"}}'),
    tags("POST", f"{REALM}:job/$array:1", "not supported for children", b'{"tags": {"a": "b"}}'),
    tags("DELETE", QUEUE, "tagKeys is required|at least one key"),
    tags("DELETE", f"{REALM}:job-queue/nowhere", "does not exist", query="?tagKeys=a"),
    tags("DELETE", "arn", "is not the ARN of a Batch resource", query="?tagKeys=a"),
]

CASES = [*QUEUES, *ENVIRONMENTS, *TAGS]

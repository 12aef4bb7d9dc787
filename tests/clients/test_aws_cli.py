"""`aws batch` and `aws logs`, version 1 from PyPI and Debian's version 2, as people type them."""

import json
import re
from collections.abc import Iterator

import pytest

from batchyard.testing.server import until
from clients.real_clients import AwsCli

pytestmark = pytest.mark.clients

GROUP = "/aws/batch/job"


@pytest.fixture(scope="module")
def place(aws: AwsCli) -> Iterator[str]:
    """A queue and an environment of one name, made and removed by the client."""
    name = f"cli-{aws.name}"
    made = aws(
        "batch", "create-compute-environment", "--compute-environment-name", name,
        "--type", "MANAGED", "--state", "ENABLED", "--service-role", "AWSBatchServiceRole",
        "--compute-resources",
        "type=EC2,minvCpus=0,maxvCpus=8,desiredvCpus=0,instanceTypes=optimal,"
        "subnets=subnet-1,subnet-2,securityGroupIds=sg-1,instanceRole=ecsInstanceRole",
    )  # fmt: skip
    assert made["computeEnvironmentName"] == name
    assert environment_status(aws, name, "VALID")
    made = aws(
        "batch", "create-job-queue", "--job-queue-name", name, "--priority", "5",
        "--compute-environment-order", f"order=1,computeEnvironment={name}",
    )  # fmt: skip
    assert made["jobQueueArn"].endswith(f":job-queue/{name}")
    assert queue_status(aws, name, "VALID")
    yield name
    remove(aws, name)


def remove(aws: AwsCli, name: str) -> None:
    aws("batch", "update-job-queue", "--job-queue", name, "--state", "DISABLED")
    assert queue_status(aws, name, "VALID")
    aws("batch", "delete-job-queue", "--job-queue", name)
    assert queue_status(aws, name, "")
    aws(
        "batch", "update-compute-environment", "--compute-environment", name,
        "--state", "DISABLED", "--compute-resources", "maxvCpus=4",
    )  # fmt: skip
    assert environment_status(aws, name, "VALID")
    aws("batch", "delete-compute-environment", "--compute-environment", name)
    assert environment_status(aws, name, "")


def queue_status(aws: AwsCli, name: str, wanted: str) -> bool:
    """Wait for the status; "" when the queue is to be gone. By boto3, which takes less time."""
    describe = aws.yard.boto3("batch").describe_job_queues

    def look() -> bool | None:
        found = describe(jobQueues=[name])["jobQueues"]
        return True if (found[0]["status"] if found else "") == wanted else None

    return until(look, what=f"queue {name} is {wanted or 'gone'}")


def environment_status(aws: AwsCli, name: str, wanted: str) -> bool:
    describe = aws.yard.boto3("batch").describe_compute_environments

    def look() -> bool | None:
        found = describe(computeEnvironments=[name])["computeEnvironments"]
        return True if (found[0]["status"] if found else "") == wanted else None

    return until(look, what=f"environment {name} is {wanted or 'gone'}")


def register(aws: AwsCli, name: str, *command: str) -> str:
    properties = {
        "image": "debian:stable",
        "command": list(command),
        "resourceRequirements": [
            {"type": "VCPU", "value": "1"},
            {"type": "MEMORY", "value": "32"},
        ],
    }
    made = aws(
        "batch", "register-job-definition", "--job-definition-name", name, "--type", "container",
        "--container-properties", json.dumps(properties),
        "--parameters", "greeting=hello", "--retry-strategy", "attempts=2",
        "--timeout", "attemptDurationSeconds=600", "--tags", "team=genomics,cost=none",
    )  # fmt: skip
    arn: str = made["jobDefinitionArn"]
    return arn


def test_from_the_definition_to_the_log(aws: AwsCli, place: str) -> None:
    name = f"{place}-log"
    script = 'echo "$0 child $AWS_BATCH_JOB_ARRAY_INDEX"'
    definition = register(aws, name, "sh", "-c", script, "Ref::greeting")

    array = aws(
        "batch", "submit-job", "--job-name", "children", "--job-queue", place,
        "--job-definition", name, "--array-properties", "size=3", "--parameters", "greeting=hey",
        "--tags", "run=1",
    )["jobId"]  # fmt: skip
    after = aws(
        "batch", "submit-job", "--job-name", "after", "--job-queue", place,
        "--job-definition", definition, "--depends-on", f"jobId={array}",
        "--container-overrides",
        "command=sh,-c,exit 3,environment=[{name=A,value=b}],"
        "resourceRequirements=[{type=MEMORY,value=16}]",
        "--retry-strategy", "attempts=1",
    )["jobId"]  # fmt: skip
    aws.yard.wait(after, "FAILED")

    first, second = aws("batch", "describe-jobs", "--jobs", array, after, "x" * 32)["jobs"]
    assert (first["status"], second["status"]) == ("SUCCEEDED", "FAILED")
    assert first["arrayProperties"]["statusSummary"]["SUCCEEDED"] == 3
    assert first["tags"] == {"run": "1"}
    assert first["timeout"] == {"attemptDurationSeconds": 600}
    assert second["container"]["exitCode"] == 3
    assert second["statusReason"] == "Essential container in task exited"
    assert second["dependsOn"] == [{"jobId": array}]
    assert {"name": "A", "value": "b"} in second["container"]["environment"]
    assert len(second["attempts"]) == 1

    stream = aws.text(
        "batch", "describe-jobs", "--jobs", f"{array}:2",
        "--query", "jobs[0].container.logStreamName",
    )  # fmt: skip
    page = aws("logs", "get-log-events", "--log-group-name", GROUP, "--log-stream-name", stream)
    assert [event["message"] for event in page["events"]] == ["hey child 2"]
    found = aws(
        "logs", "filter-log-events", "--log-group-name", GROUP,
        "--log-stream-name-prefix", f"{name}/", "--filter-pattern", "child",
    )  # fmt: skip
    assert sorted(event["message"] for event in found["events"]) == [
        f"hey child {index}" for index in range(3)
    ]
    streams = aws("logs", "describe-log-streams", "--log-group-name", GROUP,
                  "--log-stream-name-prefix", f"{name}/")  # fmt: skip
    assert stream in [one["logStreamName"] for one in streams["logStreams"]]


def test_jobs_are_listed_in_pages_and_by_filter(aws: AwsCli, place: str) -> None:
    name = f"{place}-list"
    register(aws, name, "true")
    submit = ("batch", "submit-job", "--job-queue", place, "--job-definition", name)
    array = aws(*submit, "--job-name", "many", "--array-properties", "size=5")["jobId"]
    others = {aws(*submit, "--job-name", f"other-{index}")["jobId"] for index in range(2)}
    for job_id in {array, *others}:
        aws.yard.wait(job_id, "SUCCEEDED")

    def listed(*more: str) -> list[str]:
        found = aws("batch", "list-jobs", *more)["jobSummaryList"]
        return [job["jobId"] for job in found]

    children = ("--array-job-id", array, "--job-status", "SUCCEEDED")
    assert listed(*children, "--page-size", "2") == [f"{array}:{i}" for i in range(5)]
    part = aws("batch", "list-jobs", *children, "--max-items", "3", "--page-size", "2")
    assert len(part["jobSummaryList"]) == 3
    rest = listed(*children, "--starting-token", part["NextToken"])
    assert rest == [f"{array}:{i}" for i in (3, 4)]
    queue = ("--job-queue", place)
    assert listed(*queue) == []
    assert set(listed(*queue, "--filters", "name=JOB_NAME,values=OTHER*")) == others
    assert listed(*queue, "--filters", f"name=JOB_DEFINITION,values={name}")[-1] == array
    assert set(listed(*queue, "--job-status", "SUCCEEDED")) >= {array, *others}


def test_jobs_are_stopped_with_a_reason(aws: AwsCli, place: str) -> None:
    name = f"{place}-stop"
    register(aws, name, "sleep", "1000")
    submit = ("batch", "submit-job", "--job-queue", place, "--job-definition", name)
    running = aws(*submit, "--job-name", "running")["jobId"]
    waiting = aws(*submit, "--job-name", "waiting", "--depends-on", f"jobId={running}")["jobId"]
    aws.yard.wait(running, "RUNNING")

    aws("batch", "cancel-job", "--job-id", waiting, "--reason", "not needed")
    aws("batch", "cancel-job", "--job-id", running, "--reason", "has no effect")
    aws("batch", "terminate-job", "--job-id", running, "--reason", "enough of it")
    ended = aws.yard.wait(running, "FAILED")
    cancelled = aws.yard.wait(waiting, "FAILED")

    assert ended["statusReason"] == "enough of it"
    assert ended["isTerminated"]
    assert cancelled["isCancelled"]
    assert "startedAt" not in cancelled
    aws("batch", "terminate-job", "--job-id", running, "--reason", "again")
    assert aws.yard.describe(running)["statusReason"] == "enough of it"


def test_queues_and_environments_are_described(aws: AwsCli, place: str) -> None:
    (queue,) = aws("batch", "describe-job-queues", "--job-queues", place)["jobQueues"]
    environment = aws(
        "batch", "describe-compute-environments", "--query",
        f"computeEnvironments[?computeEnvironmentName=='{place}'] | [0]",
    )  # fmt: skip

    assert (queue["state"], queue["status"], queue["priority"]) == ("ENABLED", "VALID", 5)
    (attached,) = queue["computeEnvironmentOrder"]
    assert attached["computeEnvironment"] == environment["computeEnvironmentArn"]
    assert environment["statusReason"] == "ComputeEnvironment Healthy"
    assert environment["computeResources"]["subnets"] == ["subnet-1", "subnet-2"]


def test_tags_and_the_end_of_a_definition(aws: AwsCli, place: str) -> None:
    name = f"{place}-tags"
    definition = register(aws, name, "true")

    aws("batch", "tag-resource", "--resource-arn", definition, "--tags", "a=1,b=2")
    aws("batch", "untag-resource", "--resource-arn", definition, "--tag-keys", "cost", "b")
    tags = aws("batch", "list-tags-for-resource", "--resource-arn", definition)["tags"]
    aws("batch", "deregister-job-definition", "--job-definition", definition)
    (found,) = aws(
        "batch", "describe-job-definitions", "--job-definitions", definition
    )["jobDefinitions"]  # fmt: skip
    active = aws(
        "batch", "describe-job-definitions", "--job-definition-name", name, "--status", "ACTIVE"
    )

    assert tags == {"team": "genomics", "a": "1"}
    assert found["status"] == "INACTIVE"
    assert found["containerProperties"]["ulimits"] == []
    assert active["jobDefinitions"] == []


def test_refusals_are_told_in_awss_own_form(aws: AwsCli) -> None:
    refused = aws.refused(
        "batch", "submit-job", "--job-name", "j", "--job-queue", "nowhere",
        "--job-definition", "none",
    )  # fmt: skip
    gone = aws.refused("batch", "update-job-queue", "--job-queue", "nowhere", "--priority", "1")
    unsupported = aws.refused("batch", "list-scheduling-policies")

    assert re.search(
        r"An error occurred \(ClientException\) when calling the SubmitJob operation: "
        r"JobQueue nowhere not found",
        refused,
    )
    assert "does not exist" in gone
    assert "not supported by Batchyard yet: ListSchedulingPolicies" in unsupported


def test_who_am_i(aws: AwsCli) -> None:
    found = aws("sts", "get-caller-identity")

    assert found["Account"] == aws.yard.account
    assert found["Arn"] == f"arn:aws:iam::{aws.yard.account}:user/owner"

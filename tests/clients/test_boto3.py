"""boto3 against a live yard: every paginator Batch has, errors as classes, logs by their tokens."""

import os
from pathlib import Path
from typing import Any

import boto3
import botocore.loaders
import pytest
from botocore.exceptions import ClientError

from batchyard.server.response_check import VARIABLE
from batchyard.testing.server import LiveYard, until

pytestmark = pytest.mark.clients

COUNT = 5
PREFIX = "paged"
CONTAINER = {
    "image": "debian:stable",
    "command": ["sh", "-c", "for i in 1 2 3 4 5; do echo line $i; done"],
    "resourceRequirements": [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "16"}],
}
PAGINATORS: dict[str, dict[str, Any]] = botocore.loaders.Loader().load_service_model(
    "batch", "paginators-1"
)["pagination"]
SERVED = {
    "DescribeComputeEnvironments": {},
    "DescribeJobDefinitions": {},
    "DescribeJobQueues": {},
    "ListJobs": {"jobQueue": f"{PREFIX}-0", "jobStatus": "SUCCEEDED"},
}
UNSERVED_INPUT: dict[str, dict[str, Any]] = {
    "ListJobsByConsumableResource": {"consumableResource": "licence"},
    "ListQuotaShares": {"jobQueue": "default"},
    "ListServiceJobs": {"jobQueue": "default"},
}


@pytest.fixture(scope="module")
def batch(live: LiveYard) -> Any:
    return live.boto3("batch")


@pytest.fixture(scope="module")
def jobs(live: LiveYard, batch: Any) -> list[str]:
    """So many of each: environments, queues, revisions, and jobs that have ended."""
    names = [f"{PREFIX}-{index}" for index in range(COUNT)]
    for name in names:
        batch.create_compute_environment(computeEnvironmentName=name, type="UNMANAGED")
    settled(batch.describe_compute_environments, "computeEnvironments", names)
    for name in names:
        batch.create_job_queue(
            jobQueueName=name,
            priority=1,
            computeEnvironmentOrder=[{"order": 1, "computeEnvironment": name}],
        )
        batch.register_job_definition(
            jobDefinitionName=PREFIX, type="container", containerProperties=CONTAINER
        )
    settled(batch.describe_job_queues, "jobQueues", names)
    ids = [
        batch.submit_job(jobName=name, jobQueue=names[0], jobDefinition=PREFIX)["jobId"]
        for name in names
    ]
    for job_id in ids:
        live.wait(job_id, "SUCCEEDED")
    return ids


def settled(describe: Any, member: str, names: list[str]) -> None:
    def look() -> bool | None:
        found = describe(**{member: names})[member]
        return True if all(one["status"] == "VALID" for one in found) else None

    until(look, what=f"{member} are VALID")


def python_name(operation: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in operation)[1:]


@pytest.mark.parametrize("operation", sorted(PAGINATORS))
def test_every_paginator_of_batch(batch: Any, jobs: list[str], operation: str) -> None:
    paginator = batch.get_paginator(python_name(operation))
    key = PAGINATORS[operation]["result_key"]
    if operation not in SERVED:
        pages = paginator.paginate(**UNSERVED_INPUT.get(operation, {}))
        with pytest.raises(batch.exceptions.ClientException, match=f"yet: {operation}"):
            next(iter(pages))
        return
    asked = SERVED[operation]

    pages = list(paginator.paginate(**asked, PaginationConfig={"PageSize": 2}))
    whole = paginator.paginate(**asked).build_full_result()[key]

    assert [one for page in pages for one in page[key]] == whole
    assert len(whole) >= COUNT
    assert all(len(page[key]) == 2 for page in pages[:-1])
    assert all(bool(page.get("nextToken")) == (page is not pages[-1]) for page in pages)


def test_a_page_can_be_continued_by_another_client(
    live: LiveYard, batch: Any, jobs: list[str]
) -> None:
    asked = {"jobQueue": f"{PREFIX}-0", "jobStatus": "SUCCEEDED"}
    first = batch.list_jobs(**asked, maxResults=3)

    paginator = batch.get_paginator("list_jobs").paginate(
        **asked, PaginationConfig={"StartingToken": first["nextToken"]}
    )

    rest = paginator.build_full_result()["jobSummaryList"]
    found = [job["jobId"] for job in [*first["jobSummaryList"], *rest]]
    assert found == jobs[::-1]


def test_errors_are_classes_with_their_facts(batch: Any) -> None:
    with pytest.raises(batch.exceptions.ClientException) as caught:
        batch.submit_job(jobName="j", jobQueue="nowhere", jobDefinition="none")

    told = caught.value.response
    assert told["Error"] == {"Code": "ClientException", "Message": "JobQueue nowhere not found."}
    assert told["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert len(told["ResponseMetadata"]["RequestId"]) == 36
    assert told["ResponseMetadata"]["RetryAttempts"] == 0


def test_wrong_keys(live: LiveYard) -> None:
    stranger = boto3.client(
        "batch",
        endpoint_url=live.endpoint,
        region_name="eu-central-1",
        aws_access_key_id=live.credentials.access_key_id,
        aws_secret_access_key="wrong",
    )
    with pytest.raises(ClientError, match="InvalidSignatureException") as caught:
        stranger.describe_job_queues()
    stranger.close()

    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403


def test_any_region_and_a_resource_of_odd_characters(live: LiveYard, batch: Any) -> None:
    definition = batch.register_job_definition(
        jobDefinitionName="_-odd-_", type="container", containerProperties=CONTAINER
    )["jobDefinitionArn"]
    tags = {"a b/c:d=e+f@g": "ü ☃ %2F &", "k": ""}

    batch.tag_resource(resourceArn=definition, tags=tags)
    found = batch.list_tags_for_resource(resourceArn=definition)["tags"]
    batch.untag_resource(resourceArn=definition, tagKeys=list(tags))

    assert found == tags
    assert batch.list_tags_for_resource(resourceArn=definition)["tags"] == {}


def test_unknown_things_are_left_out(batch: Any) -> None:
    assert batch.describe_jobs(jobs=["a" * 32])["jobs"] == []
    assert batch.describe_job_queues(jobQueues=["nowhere"])["jobQueues"] == []
    found = batch.describe_compute_environments(computeEnvironments=["nowhere"])
    assert found["computeEnvironments"] == []
    assert batch.describe_job_definitions(jobDefinitions=["none:1"])["jobDefinitions"] == []


def test_the_yard_of_these_tests_checks_its_answers(live: LiveYard) -> None:
    """What tests/conftest.py asks for has reached the server, so that a wrong answer is noticed."""
    environ = Path(f"/proc/{live.pid}/environ").read_bytes().split(b"\0")

    assert f"{VARIABLE}={os.environ[VARIABLE]}".encode() in environ


def test_batch_has_no_waiters(batch: Any) -> None:
    assert batch.waiter_names == []


def test_log_events_by_their_tokens(live: LiveYard, jobs: list[str]) -> None:
    logs = live.boto3("logs")
    stream = live.describe(jobs[0])["container"]["logStreamName"]
    asked = {"logGroupName": "/aws/batch/job", "logStreamName": stream}
    lines = [f"line {number}" for number in range(1, 6)]

    def read(token: str, **more: Any) -> list[list[str]]:
        """The pages up to the first token that repeats."""
        pages: list[list[str]] = []
        page = logs.get_log_events(**asked, limit=2, **more)
        while True:
            pages.append([event["message"] for event in page["events"]])
            following = logs.get_log_events(**asked, limit=2, nextToken=page[token], **more)
            if following[token] == page[token]:
                return pages
            page = following

    assert [line for page in read("nextForwardToken", startFromHead=True) for line in page] == lines
    backward = read("nextBackwardToken", startFromHead=False)
    assert [line for page in reversed(backward) for line in page] == lines


@pytest.mark.parametrize(
    ("operation", "key", "least", "asked"),
    [
        ("describe_log_groups", "logGroups", 1, {}),
        ("describe_log_streams", "logStreams", COUNT, {"logGroupName": "/aws/batch/job"}),
        (
            "filter_log_events",
            "events",
            COUNT * 5,
            {"logGroupName": "/aws/batch/job", "logStreamNamePrefix": f"{PREFIX}/"},
        ),
    ],
)
def test_paginators_of_logs(
    live: LiveYard, jobs: list[str], operation: str, key: str, least: int, asked: dict[str, str]
) -> None:
    paginator = live.boto3("logs").get_paginator(operation)

    pages = list(paginator.paginate(**asked, PaginationConfig={"PageSize": 2}))
    whole = paginator.paginate(**asked).build_full_result()[key]

    assert [one for page in pages for one in page[key]] == whole
    assert len(whole) >= least

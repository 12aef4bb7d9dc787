"""Unmodified botocore clients get right results and the right exception classes."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from typing import Any

import boto3
import botocore.exceptions
import pytest
import uvicorn
from botocore.config import Config

from batchyard.kernel.faults import (
    NotFound,
    ServiceFault,
    SpecRejected,
    StoreUnavailable,
    Throttled,
)
from batchyard.wire.check import response_problems
from batchyard.wire.gateway import Credential, Gateway
from batchyard.wire.model import Models
from conformance.wire.asgi_client import (
    ACCOUNT,
    EXPIRED,
    LIVE,
    Recorder,
    client,
    gateway,
)

QUEUE_ARN = f"arn:aws:batch:us-east-1:{ACCOUNT}:job-queue/a queue/with%2Fodd+name"
SUBMIT = {"jobName": "j", "jobQueue": "q", "jobDefinition": "d"}


def now_ms() -> int:
    import time

    return time.time_ns() // 1_000_000


def app(handlers: dict[tuple[str, str], Any], **more: Any) -> Gateway:
    return gateway(handlers, now_ms=now_ms(), **more)


def code_of(error: botocore.exceptions.ClientError) -> tuple[str, int]:
    return error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]


def test_submit_job_reaches_the_handler_with_its_context() -> None:
    submit = Recorder({"jobArn": "arn", "jobName": "j", "jobId": "an-id"})
    found = client(app({("batch", "SubmitJob"): submit}), "batch").submit_job(
        **SUBMIT, arrayProperties={"size": 3}, parameters={"ö": "ü"}
    )
    assert found["jobId"] == "an-id"
    (context, params) = submit.calls[0]
    assert params == {**SUBMIT, "arrayProperties": {"size": 3}, "parameters": {"ö": "ü"}}
    assert (context.service, context.operation) == ("batch", "SubmitJob")
    assert (context.access_key_id, context.account) == (LIVE[0], ACCOUNT)
    assert context.region == "us-east-1"
    assert "Botocore" in context.user_agent
    assert found["ResponseMetadata"]["RequestId"] == context.request_id


def test_tag_operations_take_an_arn_in_one_segment() -> None:
    tag, untag = Recorder({}), Recorder({})
    listing = Recorder({"tags": {"k": "v"}})
    batch = client(
        app(
            {
                ("batch", "TagResource"): tag,
                ("batch", "UntagResource"): untag,
                ("batch", "ListTagsForResource"): listing,
            }
        ),
        "batch",
    )
    batch.tag_resource(resourceArn=QUEUE_ARN, tags={"a": "b"})
    batch.untag_resource(resourceArn=QUEUE_ARN, tagKeys=["a", "b&c=d", "e f+g"])
    assert batch.list_tags_for_resource(resourceArn=QUEUE_ARN)["tags"] == {"k": "v"}
    assert tag.calls[0][1] == {"resourceArn": QUEUE_ARN, "tags": {"a": "b"}}
    assert untag.calls[0][1] == {"resourceArn": QUEUE_ARN, "tagKeys": ["a", "b&c=d", "e f+g"]}
    assert listing.calls[0][1] == {"resourceArn": QUEUE_ARN}


def test_a_client_fault_is_a_client_exception_with_the_exact_text() -> None:
    refusal = NotFound("JobQueue q not found.", hint="Create it first.\nThen try again: ü")
    batch = client(app({("batch", "SubmitJob"): Recorder(refusal)}), "batch")
    with pytest.raises(batch.exceptions.ClientException) as caught:
        batch.submit_job(**SUBMIT)
    assert caught.value.response["Error"]["Message"] == "JobQueue q not found."
    assert code_of(caught.value) == ("ClientException", 400)
    headers = caught.value.response["ResponseMetadata"]["HTTPHeaders"]
    assert headers["x-batchyard-hint"] == "Create it first. Then try again: ?"


@pytest.mark.parametrize(
    ("error", "code", "status"),
    [
        (Throttled("Too Many Requests"), "TooManyRequestsException", 429),
        (StoreUnavailable("the disk is full"), "ServerException", 500),
        (SpecRejected("the engine said no"), "ServerException", 500),
        (ZeroDivisionError("secret detail"), "ServerException", 500),
    ],
)
def test_other_faults_of_batch(error: Exception, code: str, status: int) -> None:
    batch = client(app({("batch", "SubmitJob"): Recorder(error)}), "batch")
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        batch.submit_job(**SUBMIT)
    assert code_of(caught.value) == (code, status)
    if code == "ServerException":
        assert isinstance(caught.value, batch.exceptions.ServerException)
    assert "secret detail" not in str(caught.value)
    assert "the engine said no" not in str(caught.value)


def test_an_operation_without_handler_is_refused_by_name() -> None:
    batch = client(app({("batch", "SubmitJob"): Recorder({})}), "batch")
    with pytest.raises(batch.exceptions.ClientException, match="ListSchedulingPolicies") as caught:
        batch.list_scheduling_policies()
    assert "not supported by Batchyard yet" in str(caught.value)


def test_logs_speak_json_with_their_own_error_classes() -> None:
    events = {"events": [{"timestamp": 1, "message": "hé"}], "nextForwardToken": "f/1"}
    logs = client(app({("logs", "GetLogEvents"): Recorder(events)}), "logs")
    found = logs.get_log_events(logGroupName="/aws/batch/job", logStreamName="d/default/1")
    assert found["events"] == [{"timestamp": 1, "message": "hé"}]

    missing = ServiceFault("ResourceNotFoundException", "The specified log stream does not exist.")
    logs = client(app({("logs", "GetLogEvents"): Recorder(missing)}), "logs")
    with pytest.raises(logs.exceptions.ResourceNotFoundException, match="log stream"):
        logs.get_log_events(logGroupName="g", logStreamName="s")
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        logs.describe_log_groups()
    assert code_of(caught.value) == ("NotImplemented", 501)


def test_a_limit_out_of_range_is_invalid_parameter_in_logs() -> None:
    logs = client(app({("logs", "GetLogEvents"): Recorder({})}), "logs")
    with pytest.raises(logs.exceptions.InvalidParameterException) as caught:
        logs.get_log_events(logGroupName="g", logStreamName="s", limit=10001)
    assert caught.value.response["Error"]["Message"] == (
        "1 validation error detected: Value '10001' at 'limit' failed to satisfy constraint: "
        "Member must have value less than or equal to 10000"
    )


def test_sts_speaks_query_and_xml() -> None:
    whoami = {"UserId": "AIDA", "Account": ACCOUNT, "Arn": "arn:aws:iam::1:user/a&<b>"}
    handlers = {("sts", "GetCallerIdentity"): Recorder(whoami)}
    found = client(app(handlers), "sts").get_caller_identity()
    assert {k: found[k] for k in whoami} == whoami
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        client(app(handlers), "sts").get_session_token()
    assert code_of(caught.value) == ("NotImplemented", 501)
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        client(app(handlers), "sts", key=("AKIAOTHER", "x")).get_caller_identity()
    assert code_of(caught.value) == ("InvalidClientTokenId", 403)
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        client(app(handlers), "sts", key=(LIVE[0], "x")).get_caller_identity()
    assert code_of(caught.value) == ("SignatureDoesNotMatch", 403)


def test_an_expired_key_is_named_so() -> None:
    batch = client(
        app({("batch", "SubmitJob"): Recorder({})}), "batch", key=(*EXPIRED, "old-token")
    )
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        batch.submit_job(**SUBMIT)
    assert code_of(caught.value) == ("ExpiredTokenException", 403)


@pytest.mark.parametrize(
    ("service", "operation", "params", "code", "status"),
    [
        ("ec2", "describe_instances", {}, "NotImplemented", 501),
        ("iam", "list_roles", {}, "NotImplemented", 501),
        ("ecs", "list_clusters", {}, "NotImplemented", 501),
        ("lambda", "get_function", {"FunctionName": "f"}, "ResourceNotFoundException", 404),
        ("s3", "list_objects_v2", {"Bucket": "bucket"}, "NotImplemented", 501),
    ],
)
def test_other_services_get_a_well_formed_refusal(
    service: str, operation: str, params: dict[str, Any], code: str, status: int
) -> None:
    other = client(app({("batch", "SubmitJob"): Recorder({})}), service)
    with pytest.raises(botocore.exceptions.ClientError, match="Batchyard does not serve") as caught:
        getattr(other, operation)(**params)
    assert code_of(caught.value) == (code, status)


def test_every_answer_can_be_checked_against_its_shape() -> None:
    models = Models()
    problems: list[str] = []

    def check(context: Any, operation: str, status: int, output: Any) -> None:
        if status == 200:
            shape = models.service(context.service).operations[operation].output_shape
            problems.extend(response_problems(shape, output))

    answer = {"jobArn": "arn", "jobName": 7, "jobID": "typo"}
    handlers = {("batch", "SubmitJob"): Recorder(answer)}
    client(app(handlers, on_response=check), "batch").submit_job(**SUBMIT)
    assert problems == [
        ".jobId: required by SubmitJobResponse, absent",
        ".jobName: expected string, got 7",
        ".jobID: not a member of SubmitJobResponse",
    ]


class _EveryKey:
    def secret_for(self, access_key_id: str, session_token: str | None) -> Credential | None:
        return Credential(secret="sk", principal_arn="arn:aws:iam::1:user/u", account=ACCOUNT)


@pytest.fixture
def served() -> Iterator[tuple[str, Recorder]]:
    """A real HTTP server on a loopback port."""
    listing = Recorder({"tags": {"k": "v"}})
    application = Gateway(
        handlers={("batch", "ListTagsForResource"): listing},
        extensions={},
        plain={},
        keys=_EveryKey(),
        region="us-east-1",
        clock=now_ms,
    )
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        listener.listen()
        server = uvicorn.Server(uvicorn.Config(application, lifespan="off", log_config=None))
        thread = threading.Thread(
            target=lambda: asyncio.run(server.serve(sockets=[listener])), daemon=True
        )
        thread.start()
        yield f"http://127.0.0.1:{port}", listing
        server.should_exit = True
        thread.join(timeout=10)
        assert not thread.is_alive()


def test_over_real_http_an_arn_keeps_its_slashes(served: tuple[str, Recorder]) -> None:
    url, listing = served
    batch = boto3.client(
        "batch",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="ak",
        aws_secret_access_key="sk",
        config=Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=5),
    )
    assert batch.list_tags_for_resource(resourceArn=QUEUE_ARN)["tags"] == {"k": "v"}
    assert listing.calls[0][1] == {"resourceArn": QUEUE_ARN}
    batch.close()

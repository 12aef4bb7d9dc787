"""Every malformed request gets the right modelled error, and no handler sees it."""

import json
import re
from typing import Any

import msgspec
import pytest

from conformance.wire.asgi_client import HOST, NOW_MS, URL, Answer, Recorder, call, gateway, signed

UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
OPERATIONS = (
    ("batch", "SubmitJob"),
    ("batch", "DescribeJobs"),
    ("batch", "RegisterJobDefinition"),
    ("batch", "CreateComputeEnvironment"),
    ("batch", "CreateJobQueue"),
    ("batch", "ListJobs"),
    ("batch", "TerminateJob"),
    ("batch", "TagResource"),
    ("batch", "UntagResource"),
    ("batch", "ListTagsForResource"),
    ("batch", "SubmitServiceJob"),
    ("logs", "GetLogEvents"),
    ("logs", "FilterLogEvents"),
    ("sts", "GetCallerIdentity"),
    ("sts", "AssumeRole"),
)


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """A request and what must come back. `message` is a regular expression."""

    service: str = "batch"
    method: str = "POST"
    path: str
    body: bytes = b""
    headers: dict[str, str] = {}
    signed: bool = True
    status: int = 400
    code: str = "ClientException"
    message: str


def batch(operation: str, body: object, message: str, **more: Any) -> Refused:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Refused(path=f"/v1/{operation.lower()}", body=raw, message=message, **more)


def wrong(operation: str, body: object, message: str) -> Refused:
    """A shape error of Batch, in its wrapper."""
    whole = f"Error executing request, Exception : {message}, RequestId: {UUID}"
    return batch(operation, body, whole)


def logs(operation: str, body: object, message: str, **more: Any) -> Refused:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    target = {"X-Amz-Target": f"Logs_20140328.{operation}"}
    settings: dict[str, Any] = {"code": "InvalidParameterException", "headers": target, **more}
    return Refused(service="logs", path="/", body=raw, message=message, **settings)


def sts(body: bytes, message: str, **more: Any) -> Refused:
    settings: dict[str, Any] = {
        "code": "ValidationError",
        "headers": {"Content-Type": "application/x-www-form-urlencoded"},
        **more,
    }
    return Refused(service="sts", path="/", body=body, message=message, **settings)


PARSING = "An error occurred during JSON parsing"
JOB = {"jobName": "n", "jobQueue": "q", "jobDefinition": "d"}
DEFINITION = {"jobDefinitionName": "n", "type": "container"}
CREATE_CE = {"computeEnvironmentName": "n", "type": "MANAGED"}
CREATE_QUEUE = {"jobQueueName": "n", "priority": 1}
ARN = "/v1/tags/arn%3Aaws%3Abatch%3Aus-east-1%3A1%3Ajob-queue%2Fq"
ASSUME = b"Action=AssumeRole&Version=2011-06-15&RoleSessionName=abc"
ROLE = b"&RoleArn=arn:aws:iam::123456789012:role/r"

CASES: dict[str, Refused] = {
    # Not JSON, or not an object.
    "truncated": batch("SubmitJob", b'{"jobName": "n"', PARSING),
    "not json": batch("SubmitJob", b"jobName=n", PARSING),
    "single quotes": batch("SubmitJob", b"{'jobName': 'n'}", PARSING),
    "trailing comma": batch("SubmitJob", b'{"jobName": "n",}', PARSING),
    "two documents": batch("SubmitJob", b"{}{}", PARSING),
    "a list": batch("SubmitJob", [], PARSING),
    "a string": batch("SubmitJob", "x", PARSING),
    "a number": batch("SubmitJob", 1, PARSING),
    "null": batch("SubmitJob", None, PARSING),
    "not utf-8": batch("SubmitJob", b'{"jobName": "\xff"}', PARSING),
    "half a surrogate pair": batch("SubmitJob", b'{"jobName": "\\ud800"}', PARSING),
    "utf-16": batch("SubmitJob", '{"jobName": "n"}'.encode("utf-16"), PARSING),
    "nan": batch("SubmitJob", b'{"jobName": NaN}', PARSING),
    "only blanks": batch("SubmitJob", b"   ", PARSING),
    "nested without end": batch("SubmitJob", b'{"x":' + b"[" * 100_000, PARSING),
    # Required members.
    "nothing": wrong(
        "SubmitJob", {}, r"jobName is required\. jobQueue is required\. jobDefinition is required\."
    ),
    "empty body": wrong("DescribeJobs", b"", r"jobs is required\."),
    "null is absent": wrong("SubmitJob", {**JOB, "jobName": None}, r"jobName is required\."),
    "wrong case": wrong("DescribeJobs", {"Jobs": ["a"]}, r"jobs is required\."),
    "no reason": wrong("TerminateJob", {"jobId": "a"}, r"reason is required\."),
    "deep required": wrong(
        "RegisterJobDefinition",
        {**DEFINITION, "containerProperties": {"resourceRequirements": [{"type": "VCPU"}]}},
        r"containerProperties\.resourceRequirements\[0\]\.value is required\.",
    ),
    "second of a list": wrong(
        "CreateJobQueue",
        {**CREATE_QUEUE, "computeEnvironmentOrder": [{"order": 1, "computeEnvironment": "c"}, {}]},
        r"computeEnvironmentOrder\[1\]\.order is required\. "
        r"computeEnvironmentOrder\[1\]\.computeEnvironment is required\.",
    ),
    "resources without maximum": wrong(
        "CreateComputeEnvironment",
        {**CREATE_CE, "computeResources": {"type": "EC2"}},
        r"computeResources\.maxvCpus is required\.",
    ),
    "service job": wrong("SubmitServiceJob", {**JOB}, r"serviceRequestPayload is required\. .*"),
    # Types.
    "name is a number": wrong(
        "SubmitJob", {**JOB, "jobName": 7}, r"jobName must be a string, got 7\."
    ),
    "name is a list": wrong(
        "SubmitJob", {**JOB, "jobName": ["n"]}, r"jobName must be a string, got \['n'\]\."
    ),
    "name is an object": wrong("SubmitJob", {**JOB, "jobName": {}}, "jobName must be a string.*"),
    "name is true": wrong("SubmitJob", {**JOB, "jobName": True}, "jobName must be a string.*"),
    "size is a string": wrong(
        "SubmitJob",
        {**JOB, "arrayProperties": {"size": "10"}},
        r"arrayProperties\.size must be a whole number, got '10'\.",
    ),
    "size is a fraction": wrong(
        "SubmitJob",
        {**JOB, "arrayProperties": {"size": 2.5}},
        r"arrayProperties\.size must be a whole number, got 2\.5\.",
    ),
    "size is true": wrong(
        "SubmitJob", {**JOB, "arrayProperties": {"size": True}}, ".*whole number, got True.*"
    ),
    "size beyond 32 bits": wrong(
        "SubmitJob",
        {**JOB, "arrayProperties": {"size": 2**31}},
        r"arrayProperties\.size must be a whole number from -2147483648 to 2147483647.*",
    ),
    "size beyond any bits": wrong(
        "SubmitJob", {**JOB, "arrayProperties": {"size": 10**400}}, r"arrayProperties\.size must .*"
    ),
    "array is a number": wrong(
        "SubmitJob", {**JOB, "arrayProperties": 3}, "arrayProperties must be an object, got 3.*"
    ),
    "command is a string": wrong(
        "SubmitJob",
        {**JOB, "containerOverrides": {"command": "echo hi"}},
        r"containerOverrides\.command must be a list, got 'echo hi'\.",
    ),
    "command holds null": wrong(
        "SubmitJob",
        {**JOB, "containerOverrides": {"command": ["a", None]}},
        r"containerOverrides\.command\[1\] must be a string, got None\.",
    ),
    "environment is a map": wrong(
        "SubmitJob",
        {**JOB, "containerOverrides": {"environment": {"A": "b"}}},
        r"containerOverrides\.environment must be a list.*",
    ),
    "environment value is a number": wrong(
        "SubmitJob",
        {**JOB, "containerOverrides": {"environment": [{"name": "A", "value": 1}]}},
        r"containerOverrides\.environment\[0\]\.value must be a string, got 1\.",
    ),
    "requirement value is a number": wrong(
        "SubmitJob",
        {**JOB, "containerOverrides": {"resourceRequirements": [{"type": "VCPU", "value": 2}]}},
        r"containerOverrides\.resourceRequirements\[0\]\.value must be a string, got 2\.",
    ),
    "parameters are a list": wrong(
        "SubmitJob", {**JOB, "parameters": ["a"]}, "parameters must be a map.*"
    ),
    "parameter is a number": wrong(
        "SubmitJob", {**JOB, "parameters": {"a": 1}}, r"parameters\.a must be a string, got 1\."
    ),
    "tags are a string": wrong("SubmitJob", {**JOB, "tags": "a=b"}, "tags must be a map.*"),
    "dependency is a string": wrong(
        "SubmitJob", {**JOB, "dependsOn": ["id"]}, r"dependsOn\[0\] must be an object, got 'id'\."
    ),
    "timeout is a string": wrong(
        "SubmitJob", {**JOB, "timeout": {"attemptDurationSeconds": "60"}}, r"timeout\..*"
    ),
    "propagateTags is a string": wrong(
        "SubmitJob", {**JOB, "propagateTags": "yes"}, "propagateTags must be true or false, .*"
    ),
    "jobs are a string": wrong("DescribeJobs", {"jobs": "id"}, "jobs must be a list, got 'id'.*"),
    "swappiness": wrong(
        "RegisterJobDefinition",
        {**DEFINITION, "containerProperties": {"linuxParameters": {"maxSwap": {}}}},
        r"containerProperties\.linuxParameters\.maxSwap must be a whole number.*",
    ),
    "a long value is cut": wrong(
        "SubmitJob",
        {**JOB, "dependsOn": "x" * 500},
        r"dependsOn must be a list, got 'x{76}\.\.\.\.",
    ),
    "an unknown member nested too deeply": wrong(
        "SubmitJob",
        b'{"jobName":"n","jobQueue":"q","jobDefinition":"d","later":'
        + b"[" * 70
        + b"]" * 70
        + b"}",
        "later must be nested at most 64 levels deep.*",
    ),
    # Lengths and ranges.
    "tag key too long": wrong(
        "SubmitJob", {**JOB, "tags": {"k" * 129: "v"}}, ".*less than or equal to 128.*"
    ),
    "tag key empty": wrong(
        "SubmitJob", {**JOB, "tags": {"": "v"}}, ".*greater than or equal to 1.*"
    ),
    "tag value too long": wrong(
        "SubmitJob", {**JOB, "tags": {"k": "v" * 257}}, ".*less than or equal to 256.*"
    ),
    "too many tags": wrong(
        "SubmitJob",
        {**JOB, "tags": {f"k{i}": "v" for i in range(51)}},
        "Value '51 items' at 'tags' failed to satisfy constraint: "
        r"Member must have length less than or equal to 50\.",
    ),
    "client token too long": wrong(
        "SubmitServiceJob",
        {**JOB, "serviceRequestPayload": "{}", "serviceJobType": "S", "clientToken": "c" * 65},
        ".*'clientToken'.*less than or equal to 64.*",
    ),
    "all problems at once": wrong(
        "SubmitJob",
        {"jobName": "n", "jobDefinition": "d", "tags": {"k": "v" * 257}},
        r"jobQueue is required\. Value 'v+\.\.\.' at 'tags\.k' failed .*",
    ),
    # Tags.
    "no tag keys": Refused(
        method="DELETE",
        path=ARN,
        message=f"Error executing request, Exception : tagKeys is required., RequestId: {UUID}",
    ),
    "empty tag key": Refused(method="DELETE", path=f"{ARN}?tagKeys=", message=".*'tagKeys.0.'.*"),
    "no tags": Refused(path=ARN, body=b"{}", message=".* tags is required.*"),
    "tags null": Refused(path=ARN, body=b'{"tags": null}', message=".* tags is required.*"),
    "tags in a list": Refused(
        path=ARN, body=b'{"tags": [{"key": "a"}]}', message=".*must be a map.*"
    ),
    # Places that do not exist.
    "unknown path": batch(
        "explode",
        {},
        "Unknown operation: POST /v1/explode",
        status=404,
        code="UnknownOperationException",
    ),
    "camel case path": Refused(
        path="/v1/SubmitJob",
        body=b"{}",
        status=404,
        code="UnknownOperationException",
        message="Unknown .*",
    ),
    "get": Refused(
        method="GET",
        path="/v1/submitjob",
        status=404,
        code="UnknownOperationException",
        message="Unknown .*",
    ),
    "root": Refused(
        path="/", status=404, code="UnknownOperationException", message="Unknown operation: POST /"
    ),
    "no arn": Refused(
        method="GET",
        path="/v1/tags/",
        status=404,
        code="UnknownOperationException",
        message="Unknown .*",
    ),
    "put tags": Refused(
        method="PUT", path=ARN, status=404, code="UnknownOperationException", message="Unknown .*"
    ),
    "not served": batch(
        "ListSchedulingPolicies", {}, ".*not supported by Batchyard yet: ListSch.*"
    ),
    "not served, though malformed": batch("CreateSchedulingPolicy", b"{", ".*not supported .*"),
    "too large": batch(
        "SubmitJob",
        b" " * (1024 * 1024 + 1),
        "The request body is larger than 1048576 bytes.",
        status=413,
    ),
    "unknown service": Refused(
        service="batchy",
        path="/",
        status=403,
        code="InvalidSignatureException",
        message="Credential should be scoped to a correct service: 'batchy' is not one.",
    ),
    # Logs.
    "logs: not json": logs("GetLogEvents", b"{", PARSING, code="SerializationException"),
    "logs: type": logs(
        "GetLogEvents", {"limit": "1"}, "limit must be a whole .*", code="SerializationException"
    ),
    "logs: required": logs(
        "GetLogEvents",
        {"logGroupName": "g"},
        "1 validation error detected: Value at 'logStreamName' failed to satisfy constraint: "
        "Member must not be null",
    ),
    "logs: two problems": logs(
        "GetLogEvents",
        {"logGroupName": "bad name", "logStreamName": "s", "limit": 0},
        "2 validation errors detected: .*'logGroupName'.*pattern.*; Value '0' at 'limit' .*",
    ),
    "logs: pattern": logs("GetLogEvents", {"logStreamName": "a:b"}, ".*'a:b' at 'logStreamName'.*"),
    "logs: negative time": logs(
        "FilterLogEvents", {"startTime": -1}, ".*value greater than or equal to 0"
    ),
    "logs: no target": Refused(
        service="logs",
        path="/",
        status=404,
        code="UnknownOperationException",
        message=".*no operation.*",
    ),
    "logs: foreign target": logs(
        "GetLogEvents",
        {},
        ".*names no operation.*",
        headers={"X-Amz-Target": "DynamoDB_20120810.GetItem"},
        status=404,
        code="UnknownOperationException",
    ),
    "logs: unknown": logs(
        "Explode", {}, ".*'Explode'.*", status=404, code="UnknownOperationException"
    ),
    "logs: not served": logs(
        "PutLogEvents", {}, ".*PutLogEvents", status=501, code="NotImplemented"
    ),
    # STS.
    "sts: nothing": sts(b"", ".*no operation.*", status=404, code="InvalidAction"),
    "sts: unknown": sts(b"Action=Explode", ".*'Explode'.*", status=404, code="InvalidAction"),
    "sts: not served": sts(
        b"Action=GetSessionToken", ".*GetSessionToken", status=501, code="NotImplemented"
    ),
    "sts: required": sts(
        ASSUME, ".*Value at 'RoleArn' failed to satisfy constraint: Member must not be null"
    ),
    "sts: range": sts(ASSUME + ROLE + b"&DurationSeconds=1", ".*greater than or equal to 900"),
    "sts: not a number": sts(
        ASSUME + ROLE + b"&DurationSeconds=ten", "DurationSeconds must be a whole number.*"
    ),
    "sts: in a list": sts(ASSUME + ROLE + b"&Tags.member.1.Key=k", r".*'Tags\[0\]\.Value'.*"),
    "sts: too many fields": sts(b"a=b&" * 5001, ".*Send fewer|.*cannot be read.*"),
    # Signatures that cannot be read.
    "unsigned": batch(
        "SubmitJob",
        {},
        "Missing Authentication Token",
        signed=False,
        status=403,
        code="MissingAuthenticationTokenException",
    ),
    "basic": batch(
        "SubmitJob",
        {},
        "Authorization header must use AWS4-HMAC-SHA256.*",
        signed=False,
        headers={"Authorization": "Basic dXNlcjpwYXNz"},
        code="IncompleteSignatureException",
    ),
    "bearer": batch(
        "SubmitJob",
        {},
        "Authorization header must use AWS4-HMAC-SHA256.*",
        signed=False,
        headers={"Authorization": "Bearer"},
        code="IncompleteSignatureException",
    ),
    "no parts": batch(
        "SubmitJob",
        {},
        "Authorization header requires 'Credential' parameter. Authorization header requires "
        "'Signature' parameter. Authorization header requires 'SignedHeaders' parameter.",
        signed=False,
        headers={"Authorization": "AWS4-HMAC-SHA256 "},
        code="IncompleteSignatureException",
    ),
    "short credential": batch(
        "SubmitJob",
        {},
        "Credential must have exactly 5 slash-delimited elements.*'AKIAYARD/20260101'.*",
        signed=False,
        headers={
            "Authorization": "AWS4-HMAC-SHA256 Credential=AKIAYARD/20260101, "
            "SignedHeaders=host, Signature=00"
        },
        code="IncompleteSignatureException",
    ),
}
AUTHORIZATION = (
    "AWS4-HMAC-SHA256 Credential=AKIAYARD/20260101/us-east-1/batch/aws4_request, "
    "SignedHeaders=host;x-amz-date, Signature=" + "0" * 64
)
DATES = {
    "no date": (
        {},
        400,
        "IncompleteSignatureException",
        "either a 'X-Amz-Date' or a 'Date' header",
    ),
    "iso date": ({"X-Amz-Date": "2026-01-01"}, 400, "IncompleteSignatureException", "basic format"),
    "month 13": (
        {"X-Amz-Date": "20261301T000000Z"},
        403,
        "InvalidSignatureException",
        "valid date",
    ),
    "hour 25": (
        {"X-Amz-Date": "20260101T250000Z"},
        400,
        "IncompleteSignatureException",
        "not exist",
    ),
    "words": ({"Date": "yesterday"}, 400, "IncompleteSignatureException", "yesterday"),
    "other day": (
        {"X-Amz-Date": "20260102T000000Z"},
        403,
        "InvalidSignatureException",
        "valid date",
    ),
    "http date": (
        {"Date": "Thu, 01 Jan 2026 00:00:00 GMT"},
        403,
        "InvalidSignatureException",
        "does not match the signature",
    ),
}


def send(case: Refused, recorder: Recorder) -> Answer:
    headers = {"host": HOST, **case.headers}
    if case.signed:
        headers = signed(
            case.method, case.path, service=case.service, headers=case.headers, body=case.body
        )
    app = gateway(dict.fromkeys(OPERATIONS, recorder), now_ms=NOW_MS)
    return call(app, case.method, f"{URL}{case.path}", headers=headers, body=case.body, pieces=3)


def read_error(service: str, found: Answer) -> tuple[str, str]:
    if service == "sts":
        assert found.headers["content-type"] == "text/xml"
        match = re.search(r"<Code>(.*)</Code><Message>(.*)</Message>", found.body.decode(), re.S)
        assert match is not None, found.body
        return match[1], match[2].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    document = json.loads(found.body)
    if service == "logs":
        assert found.headers["content-type"] == "application/x-amz-json-1.1"
        return document["__type"], document["message"]
    assert found.headers["content-type"] == "application/json"
    assert (
        document.get("__type", found.headers["x-amzn-errortype"])
        == (found.headers["x-amzn-errortype"])
    )
    return found.headers["x-amzn-errortype"], document["message"]


@pytest.mark.parametrize("name", CASES)
def test_malformed(name: str) -> None:
    case, recorder = CASES[name], Recorder({})
    found = send(case, recorder)
    code, message = read_error(case.service, found)
    assert re.fullmatch(case.message, message, re.S), message
    assert (found.status, code) == (case.status, case.code)
    assert re.fullmatch(UUID, found.headers["x-amzn-requestid"])
    assert found.headers["content-length"] == str(len(found.body))
    assert recorder.calls == []


def test_malformed_json_has_the_body_that_aws_sends() -> None:
    found = send(CASES["truncated"], Recorder({}))
    assert json.loads(found.body) == {"message": PARSING, "__type": "ClientException"}


@pytest.mark.parametrize("name", DATES)
def test_malformed_dates(name: str) -> None:
    headers, status, code, message = DATES[name]
    recorder = Recorder({})
    app = gateway({("batch", "SubmitJob"): recorder})
    found = call(
        app,
        "POST",
        f"{URL}/v1/submitjob",
        headers={"Authorization": AUTHORIZATION, **headers},
        body=b"{}",
    )
    assert (found.status, found.headers["x-amzn-errortype"]) == (status, code)
    assert message in json.loads(found.body)["message"]
    assert recorder.calls == []

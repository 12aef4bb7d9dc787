"""Bad requests that no operation sees: wrongly signed, malformed, oversized, misdirected."""

from datetime import UTC, datetime, timedelta

from botocore.awsrequest import AWSRequest

from batchyard.cli.signing import Credentials
from batchyard.cli.signing import sign as cli_sign
from batchyard.testing.server import LiveYard
from conformance.bad_input.refused_request import Bad, Spoil, batch, logs, query, sign

SUBMIT = b'{"jobName": "j", "jobQueue": "open", "jobDefinition": "plain:1"}'
REGISTER = b'{"jobDefinitionName": "d", "type": "container"}'
NOT_JSON = "^An error occurred during JSON parsing$"


def signed_with(**other: str) -> Spoil:
    def spoil(yard: LiveYard, request: AWSRequest) -> None:
        sign(yard, request, **other)

    return spoil


def signed_at(shift: timedelta) -> Spoil:
    """Signed by a clock that is wrong; botocore's reads the real one only."""

    def spoil(yard: LiveYard, request: AWSRequest) -> None:
        key = yard.credentials
        signed = cli_sign(
            method=request.method,
            url=request.url,
            headers=dict(request.headers),
            body=request.data,
            credentials=Credentials(
                access_key_id=key.access_key_id, secret_access_key=key.secret_access_key
            ),
            region=yard.region,
            service="batch",
            amz_date=(datetime.now(UTC) + shift).strftime("%Y%m%dT%H%M%SZ"),
        )
        for name, value in signed.items():
            del request.headers[name]
            request.headers[name] = value

    return spoil


def header(name: str, value: str | None) -> Spoil:
    """One header replaced, added or (None) taken away after signing."""

    def spoil(yard: LiveYard, request: AWSRequest) -> None:
        del request.headers[name]
        if value is not None:
            request.headers[name] = value

    return spoil


def authorization(old: str, new: str) -> Spoil:
    def spoil(yard: LiveYard, request: AWSRequest) -> None:
        said = request.headers["Authorization"]
        assert old in said
        del request.headers["Authorization"]
        request.headers["Authorization"] = said.replace(old, new, 1)

    return spoil


def other_body(yard: LiveYard, request: AWSRequest) -> None:
    request.data = SUBMIT.replace(b'"j"', b'"k"')


def other_path(yard: LiveYard, request: AWSRequest) -> None:
    request.url = request.url.replace("submitjob", "terminatejob")


def other_query(yard: LiveYard, request: AWSRequest) -> None:
    request.url += "?a=b"


def auth(name: str, spoil: Spoil | None, *, code: str, told: str, **more: object) -> Bad:
    settings = {"sign": True, "status": 403, **more}
    return batch("SubmitJob", SUBMIT, told, name=name, spoil=spoil, code=code, **settings)


UNKNOWN = "^The security token included in the request is invalid"
MISMATCH = "^The request signature we calculated does not match"
BAD_SIGNATURE = "InvalidSignatureException"
INCOMPLETE = "IncompleteSignatureException"

SIGNATURES = [
    auth(
        "unsigned",
        None,
        sign=False,
        code="MissingAuthenticationTokenException",
        told="^Missing Authentication Token$",
    ),
    auth(
        "with a wrong secret",
        signed_with(secret="wrong"),
        sign=False,
        code=BAD_SIGNATURE,
        told=MISMATCH,
    ),
    auth(
        "with an unknown key",
        signed_with(key="AKIAUNKNOWN000000000"),
        sign=False,
        code="UnrecognizedClientException",
        told=UNKNOWN,
    ),
    auth(
        "with a token that is none",
        signed_with(token="none"),
        sign=False,
        code="UnrecognizedClientException",
        told=UNKNOWN,
    ),
    auth(
        "with the key of a job that never was",
        signed_with(key="ASIAAAAAAAAAAAAAAAAA", token="AAAA.BBBB"),
        sign=False,
        code="UnrecognizedClientException",
        told=UNKNOWN,
    ),
    auth(
        "for a service that does not exist",
        signed_with(service="batches"),
        sign=False,
        code=BAD_SIGNATURE,
        told="Credential should be scoped to a correct service",
    ),
    auth(
        "an hour ago",
        signed_at(timedelta(hours=-1)),
        sign=False,
        code=BAD_SIGNATURE,
        told="^Signature expired: ",
    ),
    auth(
        "in an hour",
        signed_at(timedelta(hours=1)),
        sign=False,
        code=BAD_SIGNATURE,
        told="^Signature not yet current: ",
    ),
    auth(
        "a year ago",
        signed_at(timedelta(days=-365)),
        sign=False,
        code=BAD_SIGNATURE,
        told="^Signature expired: ",
    ),
    auth("with another body", other_body, code=BAD_SIGNATURE, told=MISMATCH),
    auth("with another path", other_path, code=BAD_SIGNATURE, told=MISMATCH),
    auth("with a query added", other_query, code=BAD_SIGNATURE, told=MISMATCH),
    auth(
        "with another date",
        header("X-Amz-Date", "20200101T000000Z"),
        code=BAD_SIGNATURE,
        told="^Credential should be scoped to a valid date",
    ),
    auth(
        "with a date that is none",
        header("X-Amz-Date", "yesterday"),
        status=400,
        code=INCOMPLETE,
        told="^Date must be in ISO-8601 'basic format'",
    ),
    auth(
        "with a month that is none",
        header("X-Amz-Date", "20251399T000000Z"),
        code=BAD_SIGNATURE,
        told="^Credential should be scoped to a valid date",
    ),
    auth(
        "without a date",
        header("X-Amz-Date", None),
        status=400,
        code=INCOMPLETE,
        told="either a 'X-Amz-Date' or a 'Date' header",
    ),
    auth(
        "with HTTP's own password",
        header("Authorization", "Basic YTpi"),
        status=400,
        code=INCOMPLETE,
        told="must use AWS4-HMAC-SHA256, not 'Basic'",
    ),
    auth(
        "with an empty header",
        header("Authorization", ""),
        status=400,
        code=INCOMPLETE,
        told="must use AWS4-HMAC-SHA256",
    ),
    auth(
        "with the algorithm only",
        header("Authorization", "AWS4-HMAC-SHA256"),
        status=400,
        code=INCOMPLETE,
        told="requires 'Credential' parameter.*requires 'Signature' parameter",
    ),
    auth(
        "with the algorithm of two regions",
        authorization("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"),
        status=400,
        code=INCOMPLETE,
        told="must use AWS4-HMAC-SHA256",
    ),
    auth(
        "without its signature",
        authorization("Signature=", "Autograph="),
        status=400,
        code=INCOMPLETE,
        told="requires 'Signature' parameter",
    ),
    auth(
        "with an empty signature",
        header(
            "Authorization",
            "AWS4-HMAC-SHA256 Credential=a/20250101/r/batch/aws4_request, "
            "SignedHeaders=host, Signature=",
        ),
        status=400,
        code=INCOMPLETE,
        told="requires 'Signature' parameter",
    ),
    auth(
        "with half a scope",
        authorization("/batch/aws4_request", ""),
        status=400,
        code=INCOMPLETE,
        told="exactly 5 slash-delimited elements",
    ),
    auth(
        "with another end of its scope",
        authorization("aws4_request", "aws5_request"),
        status=400,
        code=INCOMPLETE,
        told="exactly 5 slash-delimited elements",
    ),
    auth(
        "with another region than signed",
        authorization("/us-east-1/", "/eu-west-1/"),
        code=BAD_SIGNATURE,
        told=MISMATCH,
    ),
    auth(
        "with a header less than signed",
        authorization("host;", ""),
        code=BAD_SIGNATURE,
        told="must be a 'SignedHeader'",
    ),
    auth(
        "with a signature of letters",
        authorization("Signature=", "Signature=zz"),
        code=BAD_SIGNATURE,
        told=MISMATCH,
    ),
    auth(
        "with a digest of another body",
        header("X-Amz-Content-SHA256", "UNSIGNED-PAYLOAD"),
        code=BAD_SIGNATURE,
        told=MISMATCH,
    ),
    Bad(
        name="presigned without a signature",
        method="GET",
        path="/v1/tags/arn%3Aaws?X-Amz-Algorithm=AWS4-HMAC-SHA256",
        sign=False,
        code=INCOMPLETE,
        told="must include 'X-Amz-Credential'",
    ),
    Bad(
        name="presigned for a year",
        method="GET",
        path="/v1/tags/arn%3Aaws?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=a%2F20250101"
        "%2Fr%2Fbatch%2Faws4_request&X-Amz-Date=20250101T000000Z&X-Amz-Expires=31536000"
        "&X-Amz-SignedHeaders=host&X-Amz-Signature=00",
        sign=False,
        status=403,
        code="UnrecognizedClientException",
        told=UNKNOWN,
    ),
    Bad(
        name="Batchyard's own operation, unsigned",
        path="/_batchyard/v1/status",
        sign=False,
        status=403,
        code="MissingAuthenticationTokenException",
        told="^Missing Authentication Token$",
    ),
    Bad(
        name="logs, unsigned",
        service="logs",
        path="/",
        body=b"{}",
        headers={"X-Amz-Target": "Logs_20140328.GetLogEvents"},
        sign=False,
        status=403,
        code="MissingAuthenticationTokenException",
        told="^Missing Authentication Token$",
    ),
    query(
        "sts",
        {"Action": "GetCallerIdentity", "Version": "2011-06-15"},
        "^Missing Authentication Token$",
        sign=False,
        status=403,
        code="MissingAuthenticationToken",
    ),
]

BODIES = [
    batch("SubmitJob", raw, NOT_JSON, name=name)
    for name, raw in {
        "cut short": SUBMIT[:-1],
        "with more after its end": SUBMIT + b"{}",
        "a list": b"[]",
        "a string": b'"job"',
        "a number": b"7",
        "null": b"null",
        "XML": b"<jobName>j</jobName>",
        "a form": b"jobName=j&jobQueue=open",
        "single quotes": b"{'jobName': 'j'}",
        "a trailing comma": SUBMIT[:-1] + b",}",
        "NaN": b'{"jobName": NaN}',
        "a lone surrogate in bytes": b'{"jobName": "\xed\xa0\x80"}',
        "Latin-1": b'{"jobName": "\xe9"}',
        "UTF-16": '{"jobName": "j"}'.encode("utf-16"),
        "zero bytes": b"\x00" * 64,
        "gzip": b"\x1f\x8b\x08\x00\x00\x00\x00\x00",
        "a control character": b'{"jobName": "a\nb"}',
        "100,000 brackets": b"[" * 100_000,
        "100,000 objects": b'{"a":' * 100_000,
    }.items()
] + [
    batch(
        "SubmitJob",
        b'{"jobName": "' + b"j" * 1_100_000 + b'"}',
        "^The request body is larger than 1048576 bytes",
        name="larger than a MiB",
        status=413,
    ),
    batch(
        "SubmitJob",
        b'{"tags": {"a": "' + b"j" * 20_000_000 + b'"}}',
        "^The request body is larger than 1048576 bytes",
        name="of 20 MB",
        status=413,
    ),
    batch(
        "RegisterJobDefinition",
        b'{"unheard": ' + b"[" * 200 + b"]" * 200 + b"}",
        "unheard must be nested at most 64 levels deep",
        name="a member unheard of, 200 levels deep",
    ),
]

PATHS = [
    Bad(
        name=f"{method} {path}",
        method=method,
        path=path,
        body=b"{}" if method == "POST" else b"",
        status=404,
        code="UnknownOperationException",
        told="^Unknown operation: ",
    )
    for method, path in [
        ("POST", "/"),
        ("POST", "/v1/"),
        ("POST", "/v1/submitjobs"),
        ("POST", "/v2/submitjob"),
        ("POST", "/v1/SubmitJob"),
        ("POST", "/v1/submitjob/"),
        ("GET", "/v1/submitjob"),
        ("PUT", "/v1/submitjob"),
        ("PATCH", "/v1/submitjob"),
        ("POST", "/v1/tags"),
        ("PUT", "/v1/tags/arn%3Aaws%3Abatch"),
        ("GET", "/index.html"),
        ("GET", "/.git/config"),
        ("POST", "/v1/%2e%2e/submitjob"),
        ("POST", "/" + "a" * 4000),
    ]
]

UNSERVED = [
    batch(operation, body, f"not supported by Batchyard yet: {operation}$")
    for operation, body in {
        "CreateSchedulingPolicy": {"name": "p"},
        "ListSchedulingPolicies": {},
        "CreateConsumableResource": {"consumableResourceName": "c"},
        "CreateServiceEnvironment": {},
        "SubmitServiceJob": {},
        "GetJobQueueSnapshot": {"jobQueue": "open"},
    }.items()
]

NEIGHBOURS = [
    logs("GetLogEvents", b"{", "JSON", code="SerializationException"),
    logs("GetLogEvents", {"logGroupName": 7, "logStreamName": "a"}, "logGroupName must be a string",
         code="SerializationException"),
    logs("GetLogEvents", {"logGroupName": "/aws/batch/job"}, "'logStreamName'.*must not be null"),
    logs("GetLogEvents", {"logStreamName": "a"}, "either logGroupIdentifier or logGroupName"),
    logs("GetLogEvents", {"logGroupName": "/aws/batch/job", "logStreamName": "no/such/stream"},
         "log stream does not exist", code="ResourceNotFoundException"),
    logs("GetLogEvents", {"logGroupName": "/no/such", "logStreamName": "a"},
         "log (group|stream) does not exist", code="ResourceNotFoundException"),
    logs("GetLogEvents", {"logGroupName": "a b", "logStreamName": "a"}, "'logGroupName'"),
    logs("GetLogEvents", {"logGroupName": "../../..", "logStreamName": "../yard.db"},
         "does not exist", code="ResourceNotFoundException"),
    logs("GetLogEvents", {"logGroupName": "/aws/batch/job", "logStreamName": "a", "limit": 10001},
         "'limit'.*less than or equal to 10000"),
    logs("FilterLogEvents", {"logGroupName": "/aws/batch/job", "logStreamNames": ["a"],
                             "logStreamNamePrefix": "a"}, "mutually exclusive"),
    logs("FilterLogEvents", {"logGroupName": "/aws/batch/job", "filterPattern": '"open'},
         "^Invalid filter pattern"),
    logs("DescribeLogStreams", {"logGroupName": "/aws/batch/job", "orderBy": "Size"}, "'orderBy'"),
    logs("DescribeLogGroups", {"nextToken": "!"}, "nextToken is invalid"),
    logs("DescribeLogGroups", {"logGroupNamePrefix": "a", "logGroupNamePattern": "b"},
         "mutually exclusive"),
    logs("PutLogEvents", {}, "PutLogEvents", code="NotImplemented", status=501),
    logs("NoSuchOperation", {}, "Unknown operation 'NoSuchOperation'", status=404,
         code="UnknownOperationException"),
    query("sts", {"Action": "AssumeRole", "Version": "2011-06-15"}, "AssumeRole",
          code="NotImplemented", status=501),
    query("sts", {"Action": "Dance", "Version": "2011-06-15"}, "Unknown operation 'Dance'",
          code="InvalidAction", status=404),
    query("sts", {"Version": "2011-06-15"}, "names no operation", code="InvalidAction", status=404),
    query("ec2", {"Action": "RunInstances", "Version": "2016-11-15"}, "does not serve.* ec2",
          code="NotImplemented", status=501),
    query("iam", {"Action": "CreateRole", "Version": "2010-05-08"}, "does not serve.* iam",
          code="NotImplemented", status=501),
    Bad(name="s3 PutObject", service="s3", method="PUT", path="/bucket/key", body=b"x", xml=True,
        headers={}, told="does not serve.* s3", code="NotImplemented", status=501),
    Bad(name="lambda GetFunction", service="lambda", method="GET", path="/2015-03-31/functions/f",
        told="nothing exists at", code="ResourceNotFoundException", status=404),
    Bad(name="no such operation of ours", service="batchyard", path="/_batchyard/v1/sudo",
        body=b"{}", told="^Unknown operation", code="UnknownOperationException", status=404),
    Bad(name="our operation with GET", service="batchyard", method="GET",
        path="/_batchyard/v1/status", told="^Unknown operation",
        code="UnknownOperationException", status=404),
    Bad(name="our operation with a list", service="batchyard", path="/_batchyard/v1/status",
        body=b"[]", told=NOT_JSON),
    Bad(name="explain no job", service="batchyard", path="/_batchyard/v1/explain", body=b"{}",
        told="^jobId must be specified"),
    Bad(name="explain an unknown job", service="batchyard", path="/_batchyard/v1/explain",
        body=b'{"jobId": "nope"}', told="^there is no job nope"),
]  # fmt: skip

CASES = [*SIGNATURES, *BODIES, *PATHS, *UNSERVED, *NEIGHBOURS]

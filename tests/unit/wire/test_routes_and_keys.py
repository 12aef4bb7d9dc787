"""Where unsigned requests belong; validators of odd shapes; the bound of the key cache."""

from typing import Any

import botocore.model
import pytest

from batchyard.kernel.faults import (
    AccessDenied,
    BatchyardError,
    LimitExceeded,
    NotFound,
    ServerFault,
    ServiceFault,
    Throttled,
)
from batchyard.wire.faults import UnknownOperation, render
from batchyard.wire.model import Models
from batchyard.wire.route import Router
from batchyard.wire.sigv4 import Credential, InvalidSignature, Scope, SignedRequest, Verifier
from batchyard.wire.validate import ConstraintsBroken, compile_validator

FORM = {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}


def request(**parts: Any) -> SignedRequest:
    settings: dict[str, Any] = {
        "method": "POST",
        "raw_path": "/",
        "query": [],
        "headers": {},
        "body": b"",
    }
    return SignedRequest(**{**settings, **parts})


@pytest.mark.parametrize(
    ("parts", "service", "protocol"),
    [
        ({"raw_path": "/v1/submitjob"}, "batch", "rest-json"),
        ({"raw_path": "/_batchyard/v1/status"}, "batchyard", "rest-json"),
        ({"headers": {"x-amz-target": "Logs_20140328.GetLogEvents"}}, "logs", "json"),
        ({"headers": {"x-amz-target": "Other.Thing"}}, "", "json"),
        ({"headers": FORM, "body": b"Action=A&Version=2011-06-15"}, "sts", "query"),
        ({"query": [("Action", "A"), ("Version", "2011-06-15")]}, "sts", "query"),
        ({"headers": FORM, "body": b"Action=A&Version=2010-05-08"}, "", "query"),
        ({"raw_path": "/anything"}, "", "rest-json"),
    ],
)
def test_unsigned_requests_are_placed_by_their_looks(
    parts: dict[str, Any], service: str, protocol: str
) -> None:
    router = Router(models=Models(), served=["batch", "logs", "sts"])
    place = router.place(request(**parts), None)
    assert (place.service, place.protocol) == (service, protocol)


@pytest.mark.parametrize(
    ("method", "path", "hint"),
    [
        ("POST", "/v1/SubmitJob", "Did you mean POST /v1/submitjob?"),
        ("GET", "/v1/listjobs/", "Did you mean POST /v1/listjobs?"),
        ("POST", "/v2/x", "batch operations are POST /v1/<operation name in lower case>."),
    ],
)
def test_a_wrong_path_is_told_the_right_one(method: str, path: str, hint: str) -> None:
    router = Router(models=Models(), served=["batch"])
    wrong = request(method=method, raw_path=path)
    with pytest.raises(UnknownOperation) as caught:
        router.route(wrong, router.place(wrong, "batch"))
    assert caught.value.hint == hint


def test_an_arn_with_plain_slashes_is_understood() -> None:
    router = Router(models=Models(), served=["batch"])
    loose = request(method="GET", raw_path="/v1/tags/arn:aws:batch:r:1:job-queue/a%20b")
    route = router.route(loose, router.place(loose, "batch"))
    assert route.operation.name == "ListTagsForResource"
    assert route.uri == {"resourceArn": "arn:aws:batch:r:1:job-queue/a b"}


@pytest.mark.parametrize(
    ("error", "service", "code", "status"),
    [
        (NotFound("x"), "batch", "ClientException", 400),
        (NotFound("x"), "logs", "ResourceNotFoundException", 400),
        (NotFound("x"), "sts", "NoSuchEntity", 400),
        (LimitExceeded("x"), "logs", "LimitExceededException", 400),
        (Throttled("x"), "batch", "TooManyRequestsException", 429),
        (Throttled("x"), "logs", "ThrottlingException", 400),
        (Throttled("x"), "sts", "Throttling", 400),
        (ServerFault("x"), "logs", "ServiceUnavailableException", 500),
        (ServerFault("x"), "sts", "InternalFailure", 500),
        (AccessDenied("x"), "batch", "AccessDeniedException", 403),
        (AccessDenied("x"), "logs", "AccessDeniedException", 403),
        (AccessDenied("x"), "sts", "AccessDenied", 403),
        (ServiceFault("OddCode", "x", http_status=409), "sts", "OddCode", 409),
    ],
)
def test_each_service_has_its_own_codes(
    error: BatchyardError, service: str, code: str, status: int
) -> None:
    protocol = Models().service(service).protocol
    reply = render(error, service=service, protocol=protocol, request_id="an-id")
    assert reply.status == status
    if protocol == "query":
        assert f"<Code>{code}</Code>".encode() in reply.body
        assert (b"<Type>Receiver</Type>" in reply.body) == (status >= 500)
    else:
        assert (b"x-amzn-errortype", code.encode()) in reply.headers


def validator_of(shape: dict[str, Any], **shapes: Any) -> Any:
    resolver = botocore.model.ShapeResolver({"Input": shape, **shapes})
    return compile_validator(resolver.get_shape_by_name("Input"))


def test_a_shape_may_contain_itself() -> None:
    validate = validator_of(
        {
            "type": "structure",
            "required": ["N"],
            "members": {"N": {"shape": "N"}, "In": {"shape": "Input"}},
        },
        N={"type": "integer", "min": 1, "max": 5},
    )
    validate({"N": 1, "In": {"N": 5}})
    with pytest.raises(ConstraintsBroken) as caught:
        validate({"N": 0, "In": {"In": {"N": 6}}})
    assert [problem.path for problem in caught.value.problems] == ["N", "In.N", "In.In.N"]
    assert caught.value.field == "N"


@pytest.mark.parametrize("pattern", [r"[\p{L}]+", "[a-z&&[^x]]", "(unclosed"])
def test_patterns_that_python_cannot_read_are_not_checked(pattern: str) -> None:
    validate = validator_of(
        {"type": "structure", "members": {"S": {"shape": "S"}}},
        S={"type": "string", "pattern": pattern},
    )
    validate({"S": "123"})


class _Counting:
    def __init__(self) -> None:
        self.asked: list[tuple[str, str | None]] = []

    def secret_for(self, access_key_id: str, session_token: str | None) -> Credential | None:
        self.asked.append((access_key_id, session_token))
        return Credential(secret=access_key_id, principal_arn="arn", account="1")


def test_the_cache_of_signing_keys_is_bounded_and_the_secret_is_not_shown() -> None:
    keys = _Counting()
    verifier = Verifier(keys=keys, clock=lambda: 1_767_225_600_000, cached_keys=3)
    dated = request(headers={"host": "h", "x-amz-date": "20260101T000000Z"})
    for index in range(10):
        scope = Scope(
            access_key_id=f"AK{index}",
            date="20260101",
            region="r",
            service="batch",
            signed_headers=("host",),
            signature="0" * 64,
            presigned=False,
        )
        with pytest.raises(InvalidSignature):
            verifier.verify(dated, scope)
    assert len(keys.asked) == 10
    assert [name[0] for name in verifier._signing_keys] == ["AK7", "AK8", "AK9"]
    shown = repr(Credential(secret="hush", session_token="hush", principal_arn="a", account="1"))
    assert "hush" not in shown

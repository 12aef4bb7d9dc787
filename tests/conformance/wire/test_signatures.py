"""Who may enter: Signature Version 4 in headers and in presigned queries."""

import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from conformance.wire.asgi_client import (
    EXPIRED,
    HOST,
    LIVE,
    NOW_MS,
    TEMPORARY,
    URL,
    Answer,
    Recorder,
    call,
    gateway,
    signed,
)

BODY = b'{"jobs":["a"]}'
PATH = "/v1/describejobs"
MINUTE_MS = 60_000


def send(
    headers: dict[str, str], body: bytes = BODY, path: str = PATH, method: str = "POST"
) -> Answer:
    handler = Recorder({"jobs": []})
    found = call(
        gateway({("batch", "DescribeJobs"): handler, ("batch", "ListTagsForResource"): handler}),
        method,
        f"{URL}{path}",
        headers=headers,
        body=body,
    )
    assert (len(handler.calls) == 1) == (found.status == 200)
    return found


def refusal(found: Answer) -> tuple[int, str, str]:
    document = json.loads(found.body)
    return found.status, found.headers["x-amzn-errortype"], document["message"]


def test_a_good_signature_enters() -> None:
    assert send(signed("POST", PATH, body=BODY)).status == 200


def test_any_set_of_signed_headers_and_odd_spacing_is_verified() -> None:
    headers = signed(
        "POST", PATH, body=BODY, headers={"X-Odd": "  two   spaces  ", "Content-Type": "text/plain"}
    )
    assert "x-odd" in headers["Authorization"]
    assert send(headers).status == 200
    assert refusal(send({**headers, "X-Odd": "other"}))[:2] == (403, "InvalidSignatureException")


def test_unsigned_payload_and_declared_digests() -> None:
    unsigned = signed("POST", PATH, body=BODY, headers={"X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"})
    assert send(unsigned, body=b'{"jobs":["other"]}').status == 200
    plain = signed("POST", PATH, body=BODY)
    forged = {**plain, "X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"}
    assert send(forged).status == 403


@pytest.mark.parametrize(
    "path",
    [
        "/v1/tags/arn%3Aaws%3Abatch%3Aus-east-1%3A1%3Ajob-queue%2Ffoo",
        "/v1/tags/a~b-c_d.e!f*g'h(i)",
        "/v1/tags/%C3%BC%20x",
        "/v1/tags/x?b=2&a=1&a=0&empty=&c=%20%2B%2F~",
    ],
)
def test_paths_and_queries_are_canonicalised(path: str) -> None:
    assert send(signed("GET", path), path=path, method="GET", body=b"").status == 200


def test_a_wrong_secret() -> None:
    found = send(signed("POST", PATH, body=BODY, key=(LIVE[0], "wrong")))
    assert refusal(found) == (
        403,
        "InvalidSignatureException",
        "The request signature we calculated does not match the signature you provided. "
        "Check your AWS Secret Access Key and signing method. "
        "Consult the service documentation for details.",
    )


@pytest.mark.parametrize("what", ["body", "path", "method", "host", "date", "service", "extra"])
def test_tampering_is_noticed(what: str) -> None:
    headers = signed("POST", PATH, body=BODY)
    body, path, method = BODY, PATH, "POST"
    if what == "body":
        body = b'{"jobs":["b"]}'
    elif what == "path":
        path = "/v1/listjobs"
    elif what == "method":
        method = "PUT"
    elif what == "host":
        headers["host"] = "elsewhere.test"
    elif what == "date":
        headers["X-Amz-Date"] = "20260101T000001Z"
    elif what == "service":
        headers["Authorization"] = headers["Authorization"].replace("/batch/", "/sts/")
    else:
        path = f"{PATH}?x=1"
    found = send(headers, body=body, path=path, method=method)
    assert found.status == 403
    assert b"request signature we calculated" in found.body


def test_an_unknown_key() -> None:
    assert refusal(send(signed("POST", PATH, body=BODY, key=("AKIANOBODY", "x")))) == (
        403,
        "UnrecognizedClientException",
        "The security token included in the request is invalid.",
    )


def test_an_unsigned_request() -> None:
    assert refusal(send({"host": HOST})) == (
        403,
        "MissingAuthenticationTokenException",
        "Missing Authentication Token",
    )


@pytest.mark.parametrize(
    ("minutes", "status"), [(-14, 200), (-16, 403), (14, 200), (16, 403), (-600_000, 403)]
)
def test_the_clock_may_differ_by_a_quarter_of_an_hour(minutes: int, status: int) -> None:
    found = send(signed("POST", PATH, body=BODY, now_ms=NOW_MS + minutes * MINUTE_MS))
    assert found.status == status
    if status == 403:
        text = "Signature expired: " if minutes < 0 else "Signature not yet current: "
        assert refusal(found)[1] == "InvalidSignatureException"
        assert refusal(found)[2].startswith(text)


def test_the_wording_of_an_expired_signature() -> None:
    found = send(signed("POST", PATH, body=BODY, now_ms=NOW_MS - 20 * MINUTE_MS))
    assert refusal(found)[2] == (
        "Signature expired: 20251231T234000Z is now earlier than 20251231T234500Z "
        "(20260101T000000Z - 15 min.)"
    )


def test_temporary_keys_need_their_own_token() -> None:
    good = signed("POST", PATH, body=BODY, key=TEMPORARY, token="job-token")
    assert send(good).status == 200
    for token in (None, "another-token"):
        found = send(signed("POST", PATH, body=BODY, key=TEMPORARY, token=token))
        assert refusal(found)[:2] == (403, "UnrecognizedClientException")
    found = send(signed("POST", PATH, body=BODY, key=LIVE, token="job-token"))
    assert refusal(found)[:2] == (403, "UnrecognizedClientException")


def test_expiry_is_told_only_to_the_owner() -> None:
    found = send(signed("POST", PATH, body=BODY, key=EXPIRED, token="old-token"))
    assert refusal(found) == (
        403,
        "ExpiredTokenException",
        "The security token included in the request is expired",
    )
    found = send(signed("POST", PATH, body=BODY, key=(EXPIRED[0], "x"), token="old-token"))
    assert refusal(found)[1] == "InvalidSignatureException"


class _FixedQueryAuth(SigV4QueryAuth):
    def add_auth(self, request: Any) -> None:
        moment = datetime.fromtimestamp(NOW_MS / 1000, UTC)
        request.context["timestamp"] = moment.strftime("%Y%m%dT%H%M%SZ")
        self._modify_request_before_signing(request)
        canonical = self.canonical_request(request)
        to_sign = self.string_to_sign(request, canonical)
        self._inject_signature_to_request(request, self.signature(to_sign, request))


def presigned(*, key: tuple[str, str] = LIVE, token: str | None = None, expires_s: int = 60) -> str:
    request = AWSRequest(
        "GET", f"{URL}/", params={"Action": "GetCallerIdentity", "Version": "2011-06-15"}
    )
    credentials = Credentials(*key, token)
    _FixedQueryAuth(credentials, "sts", "us-east-1", expires=expires_s).add_auth(request)
    url: str = request.prepare().url
    return url


def follow(url: str, *, now_ms: int = NOW_MS) -> Answer:
    whoami = Recorder({"UserId": "U", "Account": "1" * 12, "Arn": "arn:aws:iam::1:user/u"})
    return call(gateway({("sts", "GetCallerIdentity"): whoami}, now_ms=now_ms), "GET", url)


def test_a_presigned_url_enters_until_it_expires() -> None:
    url = presigned(expires_s=60)
    assert follow(url).status == 200
    assert follow(url, now_ms=NOW_MS + 60_000).status == 200
    late = follow(url, now_ms=NOW_MS + 61_000)
    assert late.status == 403
    assert b"<Code>SignatureDoesNotMatch</Code>" in late.body
    assert b"Signature expired" in late.body
    assert follow(presigned(expires_s=7 * 86400 + 1)).status == 400


def test_a_presigned_url_with_a_token() -> None:
    assert follow(presigned(key=TEMPORARY, token="job-token")).status == 200
    assert b"InvalidClientTokenId" in follow(presigned(key=TEMPORARY, token="no")).body


@pytest.mark.parametrize(
    ("old", "new"), [("GetCallerIdentity", "GetSessionToken"), ("Expires=60", "Expires=600")]
)
def test_a_presigned_url_cannot_be_changed(old: str, new: str) -> None:
    url = presigned()
    assert old in urlsplit(url).query
    assert b"<Code>SignatureDoesNotMatch</Code>" in follow(url.replace(old, new)).body


def test_hosts_and_targets_must_be_signed() -> None:
    headers = signed("POST", PATH, body=BODY)
    without = headers["Authorization"].replace("host;", "")
    assert "'Host'" in refusal(send({**headers, "Authorization": without}))[2]
    logs = Recorder({"logGroups": []})
    sneaked = {
        **signed("POST", "/", service="logs", body=b"{}"),
        "X-Amz-Target": "Logs_20140328.DescribeLogGroups",
    }
    found = call(
        gateway({("logs", "DescribeLogGroups"): logs}), "POST", URL, headers=sneaked, body=b"{}"
    )
    assert found.status == 403
    assert b"X-Amz-Target" in found.body
    assert logs.calls == []


def test_one_gateway_serves_the_same_key_for_every_service_date_and_region() -> None:
    logs, batch = Recorder({"logGroups": []}), Recorder({"jobs": []})
    now_ms = NOW_MS - 60_000
    app = gateway(
        {("batch", "DescribeJobs"): batch, ("logs", "DescribeLogGroups"): logs}, now_ms=now_ms
    )
    target = {"X-Amz-Target": "Logs_20140328.DescribeLogGroups"}
    for moment_ms in (now_ms, NOW_MS, now_ms):  # 31 December, 1 January, and back
        ours = signed("POST", PATH, body=BODY, now_ms=moment_ms)
        assert call(app, "POST", f"{URL}{PATH}", headers=ours, body=BODY).status == 200
        theirs = signed("POST", "/", service="logs", headers=target, now_ms=moment_ms)
        assert call(app, "POST", f"{URL}/", headers=theirs).status == 200
    elsewhere = signed("POST", PATH, body=BODY, now_ms=now_ms, region="us-west-2")
    assert call(app, "POST", f"{URL}{PATH}", headers=elsewhere, body=BODY).status == 200
    assert (len(batch.calls), len(logs.calls)) == (4, 3)
    assert {context.region for context, _ in batch.calls} == {"us-east-1"}

"""Whatever arrives, the answer is well formed, and never an internal error."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from conformance.wire.asgi_client import URL, Recorder, call, gateway, signed

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner),
    max_leaves=10,
)
MEMBERS = st.sampled_from(
    ["jobName", "jobQueue", "jobDefinition", "arrayProperties", "dependsOn", "tags", "timeout"]
)
WELL_FORMED = settings(max_examples=150, deadline=None)


def judge(handler: Recorder, app: Any, method: str, path: str, **request: Any) -> int:
    found = call(app, method, f"{URL}{path}", **request)
    assert found.status in (200, 400, 403, 404, 413, 501)
    assert (found.status == 200) == (len(handler.calls) == 1)
    if "xml" in found.headers["content-type"]:
        assert found.body.startswith(b"<")
    else:
        assert isinstance(json.loads(found.body), dict)
    assert len(found.headers["x-amzn-requestid"]) == 36
    return found.status


@WELL_FORMED
@given(document=st.dictionaries(MEMBERS | st.text(max_size=10), JSON))
def test_any_document(document: dict[str, Any]) -> None:
    handler = Recorder({"jobArn": "a", "jobName": "n", "jobId": "i"})
    body = json.dumps(document).encode()
    headers = signed("POST", "/v1/submitjob", body=body)
    judge(
        handler,
        gateway({("batch", "SubmitJob"): handler}),
        "POST",
        "/v1/submitjob",
        headers=headers,
        body=body,
    )


@WELL_FORMED
@given(
    service=st.sampled_from(["batch", "logs", "sts", "batchyard", "s3", "ec2", "iam", "zzz"]),
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH"]),
    path=st.from_regex(r"(/[a-zA-Z0-9%._~-]{0,12}){1,4}", fullmatch=True),
    query=st.text(st.characters(codec="ascii", categories=["L", "N", "P"]), max_size=20),
    target=st.sampled_from([None, "Logs_20140328.GetLogEvents", "x", "."]),
    body=st.binary(max_size=60),
    is_signed=st.booleans(),
)
def test_any_request(
    service: str,
    method: str,
    path: str,
    query: str,
    target: str | None,
    body: bytes,
    is_signed: bool,
) -> None:
    handler = Recorder({})
    app = gateway(
        {("batch", "ListTagsForResource"): handler, ("logs", "GetLogEvents"): handler}
        | {("sts", "GetCallerIdentity"): handler},
        extensions={"status": handler},
    )
    query = query.replace("#", "")
    whole = f"{path}?{query}" if query else path
    headers = {} if target is None else {"X-Amz-Target": target}
    if is_signed:
        headers = signed(method, path, service=service, headers=headers, body=body)
    judge(handler, app, method, whole, headers=headers, body=body)


@WELL_FORMED
@given(header=st.text(st.characters(codec="latin-1", min_codepoint=32), max_size=80))
def test_any_authorization(header: str) -> None:
    handler = Recorder({})
    app = gateway({("batch", "SubmitJob"): handler})
    for value in (header, f"AWS4-HMAC-SHA256 {header}"):
        status = judge(
            handler, app, "POST", "/v1/submitjob", headers={"Authorization": value}, body=b"{}"
        )
        assert status in (400, 403)

"""Our own operations, unsigned routes, tolerance, and what a disconnected client leaves behind."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest

from batchyard.kernel.faults import InvariantBroken, NotFound
from batchyard.wire.gateway import RequestContext
from conformance.wire.asgi_client import HOST, NOW_MS, URL, Recorder, call, gateway, signed

STATUS = "/_batchyard/v1/status"
JOB = {"jobName": "n", "jobQueue": "q", "jobDefinition": "d"}


def test_extensions_are_signed_json_operations() -> None:
    status = Recorder({"version": "1", "warnings": [], "startedAt": None})
    app = gateway({}, extensions={"status": status})
    body = b'{"deep": true}'
    headers = signed("POST", STATUS, service="batchyard", body=body)
    found = call(app, "POST", URL + STATUS, headers=headers, body=body)
    assert (found.status, json.loads(found.body)) == (200, {"version": "1", "warnings": []})
    context, params = status.calls[0]
    assert params == {"deep": True}
    assert (context.service, context.operation) == ("batchyard", "status")


def test_refusals_of_extensions_carry_the_hint_in_the_body() -> None:
    explain = Recorder(NotFound("No job x.", hint="batchyard ls shows the jobs."))
    app = gateway({}, extensions={"explain": explain})
    path = "/_batchyard/v1/explain"
    found = call(app, "POST", URL + path, headers=signed("POST", path, service="batchyard"))
    assert found.status == 400
    assert json.loads(found.body) == {
        "message": "No job x.",
        "hint": "batchyard ls shows the jobs.",
    }


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/_batchyard/v1/nothing"), ("GET", STATUS), ("POST", STATUS + "/x")],
)
def test_unknown_extensions(method: str, path: str) -> None:
    app = gateway({}, extensions={"status": Recorder({})})
    found = call(app, method, URL + path, headers=signed(method, path, service="batchyard"))
    assert (found.status, found.headers["x-amzn-errortype"]) == (404, "UnknownOperationException")
    assert "status" in json.loads(found.body)["hint"]


def test_extensions_need_a_signature_for_themselves() -> None:
    status = Recorder({})
    app = gateway({("batch", "SubmitJob"): Recorder({})}, extensions={"status": status})
    assert call(app, "POST", URL + STATUS).status == 403
    assert call(app, "POST", URL + STATUS, headers=signed("POST", STATUS)).status == 404
    assert status.calls == []


async def echo(
    method: str, headers: Mapping[str, str], query: Mapping[str, str], body: bytes
) -> tuple[int, Mapping[str, str], bytes]:
    if "break" in query:
        raise ZeroDivisionError("secret detail")
    if "refuse" in query:
        raise NotFound("nothing here")
    seen = {"method": method, "accept": headers["accept"], "query": query, "body": body.decode()}
    return 202, {"Content-Type": "application/json"}, json.dumps(seen).encode()


def test_plain_routes_need_no_signature() -> None:
    app = gateway({}, plain={"/health": echo})
    headers = {"Accept": "*/*"}
    found = call(app, "PUT", f"{URL}/health?a=b%20c", headers=headers, body=b"xyz", pieces=2)
    assert (found.status, found.headers["content-type"]) == (202, "application/json")
    assert json.loads(found.body) == {
        "method": "PUT",
        "accept": "*/*",
        "query": {"a": "b c"},
        "body": "xyz",
    }
    head = call(app, "HEAD", f"{URL}/health", headers=headers)
    assert (head.status, head.body) == (202, b"")
    assert call(app, "GET", f"{URL}/health/", headers=headers).status == 403
    assert call(app, "GET", f"{URL}/health?refuse", headers=headers).status == 400
    broken = call(app, "GET", f"{URL}/health?break", headers=headers)
    assert broken.status == 500
    assert b"secret detail" not in broken.body


def submit(app: Any, document: dict[str, Any]) -> Any:
    body = json.dumps(document).encode()
    headers = signed("POST", "/v1/submitjob", body=body)
    return call(app, "POST", f"{URL}/v1/submitjob", headers=headers, body=body)


def test_unknown_members_and_enum_strings_reach_the_handler_and_come_back() -> None:
    later = {"a": [1, {"b": None}], "c": 1.5}
    handler = Recorder({"jobArn": "a", "jobName": "n", "jobId": "i", "later": later})
    app = gateway({("batch", "SubmitJob"): handler})
    document = {
        **JOB,
        "later": later,
        "dependsOn": [{"jobId": "x", "type": "FUTURE", "more": True}],
        "arrayProperties": {"size": 2.0},
        "timeout": None,
    }
    found = submit(app, document)
    assert found.status == 200
    assert handler.calls[0][1] == {
        **JOB,
        "later": later,
        "dependsOn": [{"jobId": "x", "type": "FUTURE", "more": True}],
        "arrayProperties": {"size": 2},
    }
    # Absent values are omitted, never null, at every depth.
    assert json.loads(found.body)["later"] == {"a": [1, {}], "c": 1.5}


def test_a_void_answer_is_an_empty_object_with_a_request_id() -> None:
    app = gateway({("batch", "TerminateJob"): Recorder({})})
    body = b'{"jobId": "a", "reason": "b"}'
    headers = signed("POST", "/v1/terminatejob", body=body)
    found = call(app, "POST", f"{URL}/v1/terminatejob", headers=headers, body=body)
    assert (found.status, found.body) == (200, b"{}")
    assert len(found.headers["x-amzn-requestid"]) == 36
    assert found.headers["content-type"] == "application/json"


def test_refusals_are_told_to_the_hook_once_the_operation_is_known() -> None:
    told: list[tuple[RequestContext, str, int, Any]] = []
    app = gateway(
        {("batch", "SubmitJob"): Recorder({})}, on_response=lambda *answer: told.append(answer)
    )
    assert submit(app, {}).status == 400
    assert call(app, "POST", f"{URL}/v1/submitjob").status == 403
    assert [(operation, status, output) for _, operation, status, output in told] == [
        ("SubmitJob", 400, None)
    ]


def test_a_handler_for_an_operation_the_model_lacks_is_refused_at_start() -> None:
    with pytest.raises(InvariantBroken, match="SubmitJobb"):
        gateway({("batch", "SubmitJobb"): Recorder({})})


def test_a_client_that_leaves_during_its_body_changes_nothing() -> None:
    handler = Recorder({})
    app = gateway({("batch", "SubmitJob"): handler}, now_ms=NOW_MS)
    body = json.dumps(JOB).encode()
    headers = {"host": HOST, **signed("POST", "/v1/submitjob", body=body)}
    incoming = [
        {"type": "http.request", "body": body, "more_body": True},
        {"type": "http.disconnect"},
    ]

    async def receive() -> Any:
        return incoming.pop(0)

    async def send(message: Any) -> None:
        raise AssertionError("nobody is there to hear it")

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/submitjob",
        "query_string": b"",
        "headers": [(k.lower().encode(), v.encode()) for k, v in headers.items()],
    }
    asyncio.run(app(scope, receive, send))
    assert handler.calls == []


def test_a_flood_of_bytes_is_drained_only_so_far() -> None:
    app = gateway({("batch", "SubmitJob"): Recorder({})}, max_body_bytes=1000)
    asked = 0

    async def receive() -> Any:
        nonlocal asked
        asked += 1
        return {"type": "http.request", "body": b"x" * 1_000_000, "more_body": True}

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/v1/submitjob", "headers": []}
    asyncio.run(app(scope, receive, send))
    assert sent[0]["status"] == 413
    assert asked < 20


def test_other_scopes_are_a_mistake_of_the_server() -> None:
    async def nothing(*_: Any) -> Any:
        raise AssertionError("never called")

    with pytest.raises(InvariantBroken, match="lifespan"):
        asyncio.run(gateway({})({"type": "lifespan"}, nothing, nothing))

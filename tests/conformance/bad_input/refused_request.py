"""A bad request, how it is signed and sent, and what must come back."""

import http.client
import json
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any
from urllib.parse import urlencode

import msgspec
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from batchyard.testing.server import LiveYard

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
JSON = MappingProxyType({"Content-Type": "application/json"})

Spoil = Callable[[LiveYard, AWSRequest], None]
"""Changes a request after it was signed, or signs it wrongly."""


class Bad(msgspec.Struct, frozen=True, kw_only=True):
    """One case. `told` is a regular expression that the message must contain."""

    name: str
    told: str
    service: str = "batch"
    method: str = "POST"
    path: str
    body: bytes = b""
    headers: Mapping[str, str] = JSON
    sign: bool = True
    spoil: Spoil | None = None
    status: int = 400
    code: str = "ClientException"
    xml: bool = False


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    status: int
    headers: dict[str, str]
    body: bytes


def batch(operation: str, body: object, told: str, *, name: str = "", **more: Any) -> Bad:
    """A signed Batch request; `body` is JSON to be, or the bytes themselves."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    shown = name or raw.decode("utf-8", "replace")[:80]
    return Bad(
        name=f"{operation} {shown}",
        path=f"/v1/{operation.lower()}",
        body=raw,
        told=told,
        **more,
    )


def logs(operation: str, body: object, told: str, **more: Any) -> Bad:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    settings: dict[str, Any] = {"code": "InvalidParameterException", **more}
    return Bad(
        name=f"logs.{operation} {raw[:80].decode('utf-8', 'replace')}",
        service="logs",
        path="/",
        body=raw,
        headers={
            "Content-Type": "application/x-amz-json-1.1",
            "X-Amz-Target": f"Logs_20140328.{operation}",
        },
        told=told,
        **settings,
    )


def query(service: str, fields: dict[str, str], told: str, **more: Any) -> Bad:
    return Bad(
        name=f"{service} {urlencode(fields)[:80]}",
        service=service,
        path="/",
        body=urlencode(fields).encode(),
        headers={"Content-Type": "application/x-www-form-urlencoded"},
        told=told,
        xml=True,
        **more,
    )


def send(yard: LiveYard, bad: Bad) -> Answer:
    """Send the case as it is meant: signed rightly, wrongly or not at all."""
    request = AWSRequest(
        method=bad.method, url=yard.endpoint + bad.path, data=bad.body, headers=dict(bad.headers)
    )
    if bad.sign:
        sign(yard, request, service=bad.service)
    if bad.spoil is not None:
        bad.spoil(yard, request)
    prepared = request.prepare()
    host, port = yard.address
    connection = http.client.HTTPConnection(host, port, timeout=30)
    try:
        target = prepared.url.removeprefix(yard.endpoint)
        connection.request(bad.method, target, body=prepared.body, headers=dict(prepared.headers))
        response = connection.getresponse()
        return Answer(
            status=response.status,
            headers={name.lower(): value for name, value in response.getheaders()},
            body=response.read(),
        )
    finally:
        connection.close()


def sign(
    yard: LiveYard, request: AWSRequest, *, service: str = "batch", **other: str | None
) -> None:
    """Sign as a client would; `key`, `secret`, `token` and `region` may be others."""
    credentials = Credentials(
        other.get("key") or yard.credentials.access_key_id,
        other.get("secret") or yard.credentials.secret_access_key,
        other.get("token"),
    )
    SigV4Auth(credentials, service, other.get("region") or yard.region).add_auth(request)

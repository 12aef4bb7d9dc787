"""A gateway with recording handlers, and ways to call it without a socket."""

import asyncio
from collections.abc import Mapping
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import botocore.awsrequest
import botocore.session
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials

from batchyard.wire.gateway import Credential, Gateway, RequestContext
from batchyard.wire.model import Models

NOW_MS = 1_767_225_600_000
"""2026-01-01T00:00:00Z"""
HOST = "yard.test:8080"
URL = f"http://{HOST}"
ACCOUNT = "123456789012"
LIVE = ("AKIAYARD", "a secret/of+the yard")
TEMPORARY = ("ASIAJOB", "the secret of a job")
EXPIRED = ("ASIAOLD", "the secret of an old job")


@cache
def shared_models() -> Models:
    """Loaded once for the whole test run."""
    return Models()


class StaticKeys:
    """Three keys: a lasting one, a temporary one with its token, and an expired one."""

    def secret_for(self, access_key_id: str, session_token: str | None) -> Credential | None:
        arn = f"arn:aws:iam::{ACCOUNT}:user/{access_key_id.lower()}"
        if access_key_id == LIVE[0]:
            return Credential(secret=LIVE[1], principal_arn=arn, account=ACCOUNT)
        if access_key_id == TEMPORARY[0]:
            return Credential(
                secret=TEMPORARY[1],
                session_token="job-token",
                principal_arn=arn,
                account=ACCOUNT,
                expires_ms=NOW_MS + 10 * 365 * 86_400_000,
            )
        if access_key_id == EXPIRED[0]:
            return Credential(
                secret=EXPIRED[1],
                session_token="old-token",
                principal_arn=arn,
                account=ACCOUNT,
                expires_ms=NOW_MS,
            )
        return None


class Recorder:
    """A handler that keeps its calls and answers (or raises) what it was told to."""

    def __init__(self, answer: dict[str, Any] | Exception) -> None:
        self.answer = answer
        self.calls: list[tuple[RequestContext, dict[str, Any]]] = []

    async def __call__(self, context: RequestContext, params: dict[str, Any]) -> dict[str, Any]:
        self.calls.append((context, params))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class Answer:
    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body


def gateway(
    handlers: Mapping[tuple[str, str], Any], *, now_ms: int = NOW_MS, **more: Any
) -> Gateway:
    settings: dict[str, Any] = {"extensions": {}, "plain": {}, **more}
    return Gateway(
        handlers=handlers,
        keys=StaticKeys(),
        region="us-east-1",
        clock=lambda: now_ms,
        models=shared_models(),
        **settings,
    )


def call(
    app: Gateway,
    method: str,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
    pieces: int = 1,
) -> Answer:
    """One request through the ASGI interface; the body arrives in `pieces` messages."""
    target = urlsplit(url)
    sent: list[Any] = []
    size = max(1, -(-len(body) // pieces))
    chunks = [body[i : i + size] for i in range(0, len(body), size)] or [b""]
    incoming = [
        {"type": "http.request", "body": chunk, "more_body": i < len(chunks) - 1}
        for i, chunk in enumerate(chunks)
    ]

    async def receive() -> Any:
        return incoming.pop(0) if incoming else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    named = {"host": target.netloc, **{k.lower(): v for k, v in (headers or {}).items()}}
    scope = {
        "type": "http",
        "method": method,
        "path": target.path,
        "raw_path": (target.path or "/").encode(),
        "query_string": target.query.encode(),
        "headers": [(k.encode(), v.encode("latin-1")) for k, v in named.items()],
    }
    asyncio.run(app(scope, receive, send))
    start, finish = sent
    return Answer(
        start["status"],
        {k.decode(): v.decode() for k, v in start["headers"]},
        finish["body"],
    )


def signed(
    method: str,
    path: str,
    *,
    service: str = "batch",
    key: tuple[str, str] = LIVE,
    token: str | None = None,
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
    now_ms: int = NOW_MS,
    region: str = "eu-north-1",
) -> dict[str, str]:
    """The headers of a request signed by botocore at `now_ms`."""
    request = AWSRequest(method, f"{URL}{path}", headers=dict(headers or {}), data=body)
    _FixedAuth(Credentials(*key, token), service, region, now_ms=now_ms).add_auth(request)
    return {"host": HOST, **{k: str(v) for k, v in request.headers.items()}}


class _FixedAuth(SigV4Auth):
    """botocore's signer at a fixed time."""

    def __init__(self, credentials: Credentials, service: str, region: str, *, now_ms: int) -> None:
        super().__init__(credentials, service, region)
        self._now_ms = now_ms

    def add_auth(self, request: Any) -> None:
        from datetime import UTC, datetime

        moment = datetime.fromtimestamp(self._now_ms / 1000, UTC)
        request.context["timestamp"] = moment.strftime("%Y%m%dT%H%M%SZ")
        self._modify_request_before_signing(request)
        canonical = self.canonical_request(request)
        to_sign = self.string_to_sign(request, canonical)
        self._inject_signature_to_request(request, self.signature(to_sign, request))


def client(app: Gateway, service: str, *, key: tuple[str, str] = LIVE) -> Any:
    """A botocore client whose requests go straight into the gateway."""
    session = botocore.session.Session()
    session.set_credentials(*key)
    made = session.create_client(
        service,
        region_name="us-east-1",
        endpoint_url=URL,
        config=Config(retries={"total_max_attempts": 1}),
    )

    def straight(request: Any, **_: Any) -> Any:
        body = request.body or b""
        found = call(
            app,
            request.method,
            request.url,
            headers={
                k: v.decode() if isinstance(v, bytes) else str(v)
                for k, v in request.headers.items()
            },
            body=body.encode() if isinstance(body, str) else body,
        )
        return botocore.awsrequest.AWSResponse(
            request.url,
            found.status,
            botocore.awsrequest.HeadersDict(found.headers),
            _Raw(found.body),
        )

    made.meta.events.register(
        f"before-send.{made.meta.service_model.service_id.hyphenize()}", straight
    )
    return made


class _Raw:
    def __init__(self, body: bytes) -> None:
        self._body = body

    def stream(self, **_: Any) -> Any:
        yield self._body

"""The ASGI application in front of every operation.

For each request, in this order:
  1. a plain route (health, container credentials) answers without a signature;
  2. the body is read up to a limit;
  3. the signature names the service and is verified;
  4. the operation is found, its parameters parsed and validated;
  5. its handler runs, and its answer is serialized.
Whatever fails on the way becomes an error in the caller's protocol, with a request id.
"""

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, Final
from urllib.parse import quote, unquote
from uuid import uuid4

import msgspec
import structlog

from batchyard.kernel.faults import (
    BatchyardError,
    ExecutorError,
    InvariantBroken,
    NotSupported,
    ServerFault,
)
from batchyard.wire.codec import Codecs
from batchyard.wire.faults import (
    CONTENT_TYPES,
    BodyTooLarge,
    Reply,
    UnknownOperation,
    internal_error,
    render,
)
from batchyard.wire.model import EXTENSION_SERVICE, Models, OperationModel
from batchyard.wire.parse import RawRequest, decode_object
from batchyard.wire.route import Place, Router, extension_name
from batchyard.wire.serialize import prune
from batchyard.wire.sigv4 import (
    Caller,
    Credential,
    KeyLookup,
    Scope,
    SignedRequest,
    Verifier,
    read_scope,
)

__all__ = [
    "Credential",
    "Gateway",
    "Handler",
    "KeyLookup",
    "PlainHandler",
    "RequestContext",
]

MAX_BODY_BYTES: Final = 1024 * 1024
_DRAIN_BYTES: Final = 16 * 1024 * 1024
"""How much of an oversized body is read and dropped, so that the client hears the refusal."""


class RequestContext(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks for what. `region` is the yard's, whatever region the client signed for."""

    request_id: str
    service: str
    operation: str
    access_key_id: str
    principal_arn: str
    account: str
    region: str
    user_agent: str


Handler = Callable[[RequestContext, dict[str, Any]], Awaitable[dict[str, Any]]]
"""Wire dict in, wire dict out, both in the member names of the model."""

PlainHandler = Callable[
    [str, Mapping[str, str], Mapping[str, str], bytes],
    Awaitable[tuple[int, Mapping[str, str], bytes]],
]
"""(method, lower-case headers, query, body) -> (status, headers, body)"""

ResponseHook = Callable[[RequestContext, str, int, dict[str, Any] | None], None]
"""(context, operation, status, output); the output of a refused request is None."""

Scoped = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class Gateway:
    """Serves handlers keyed by (SigV4 service name, operation name)."""

    def __init__(
        self,
        *,
        handlers: Mapping[tuple[str, str], Handler],
        extensions: Mapping[str, Handler],
        plain: Mapping[str, PlainHandler],
        keys: KeyLookup,
        region: str,
        clock: Callable[[], int],
        on_response: ResponseHook | None = None,
        max_body_bytes: int = MAX_BODY_BYTES,
        models: Models | None = None,
    ) -> None:
        """
        Args:
            handlers: Every operation served; others of the same services are refused by name.
            extensions: Batchyard's own operations, at POST /_batchyard/v1/<name>.
            plain: Unsigned routes by exact path.
            clock: Epoch milliseconds (UTC).
            on_response: Told of every answer of a known operation; for tests.
            models: Loaded models to share; each costs 0.1-0.3 s to load.

        Raises:
            InvariantBroken: a handler for an operation that the model does not have.
        """
        models = models if models is not None else Models()
        for service, operation in handlers:
            if operation not in models.service(service).operations:
                raise InvariantBroken(f"the botocore model of {service} has no {operation}")
        self._handlers = dict(handlers)
        self._extensions = dict(extensions)
        self._plain = dict(plain)
        self._region = region
        self._on_response = on_response
        self._max_body_bytes = max_body_bytes
        self._codecs = Codecs(models)
        self._router = Router(models=models, served=sorted({s for s, _ in handlers}))
        self._verifier = Verifier(keys=keys, clock=clock)
        self._log = structlog.get_logger("batchyard.wire")

    async def __call__(self, scope: Scoped, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise InvariantBroken(f"the gateway serves http, not {scope['type']}")
        raw_path = (scope.get("raw_path") or quote(scope["path"]).encode()).decode("latin-1")
        headers = _headers(scope["headers"])
        body = await _read_body(receive, self._max_body_bytes)
        if body is None:
            return
        request = SignedRequest(
            method=scope["method"],
            raw_path=raw_path,
            query=_query(scope.get("query_string", b"")),
            headers=headers,
            body=body,
        )
        plain = self._plain.get(raw_path)
        reply = await (
            self._answer(request) if plain is None else self._answer_plain(plain, request)
        )
        await _send(send, reply, head=request.method == "HEAD")

    async def _answer_plain(self, handler: PlainHandler, request: SignedRequest) -> Reply:
        request_id = str(uuid4())
        try:
            _refuse_oversized(request.body, self._max_body_bytes)
            status, headers, body = await handler(
                request.method, request.headers, dict(request.query), request.body
            )
        except BatchyardError as error:
            return render(error, service="", protocol="rest-json", request_id=request_id)
        except Exception:  # noqa: BLE001 - the driver boundary of HTTP: nothing may escape it
            self._log.exception("request_failed", request_id=request_id, path=request.raw_path)
            return render(
                internal_error(request_id), service="", protocol="rest-json", request_id=request_id
            )
        return Reply(
            status=status,
            headers=(
                (b"x-amzn-requestid", request_id.encode()),
                *((n.lower().encode("latin-1"), v.encode("latin-1")) for n, v in headers.items()),
            ),
            body=body,
        )

    async def _answer(self, request: SignedRequest) -> Reply:
        request_id = str(uuid4())
        place = Place(service="", protocol="rest-json")
        context: RequestContext | None = None
        try:
            scope: Scope | None = None
            try:
                scope = read_scope(request)
            finally:
                # ORDER: placed even when the signature cannot be read, for the refusal's form.
                place = self._router.place(request, scope.service if scope else None)
            _refuse_oversized(request.body, self._max_body_bytes)
            caller = self._verifier.verify(request, scope)
            if place.service == EXTENSION_SERVICE:
                name, handler = self._extension(request)
                context = self._context(request, place, caller, request_id, name)
                output = await handler(context, decode_object(request.body))
                body = msgspec.json.encode(prune(output))
            else:
                route = self._router.route(request, place)
                operation = route.operation
                context = self._context(request, place, caller, request_id, operation.name)
                codec = self._codecs.of(operation)
                handler = self._handler(operation)
                params = codec.read(
                    RawRequest(body=request.body, query=request.query, uri=route.uri)
                )
                output = await handler(context, params)
                body = codec.encode(output, request_id)
        except BatchyardError as error:
            reply = render(
                error, service=place.service, protocol=place.protocol, request_id=request_id
            )
            self._note_refusal(error, request, reply, request_id)
        except Exception:  # noqa: BLE001 - the driver boundary of HTTP: nothing may escape it
            self._log.exception(
                "request_failed",
                request_id=request_id,
                service=place.service,
                path=request.raw_path,
                operation=context.operation if context else "",
            )
            reply = render(
                internal_error(request_id),
                service=place.service,
                protocol=place.protocol,
                request_id=request_id,
            )
        else:
            reply = Reply(
                status=200,
                headers=(
                    (b"content-type", CONTENT_TYPES[place.protocol]),
                    (b"x-amzn-requestid", request_id.encode()),
                ),
                body=body,
            )
            if self._on_response is not None:
                self._on_response(context, context.operation, 200, output)
            return reply
        if self._on_response is not None and context is not None:
            self._on_response(context, context.operation, reply.status, None)
        return reply

    def _extension(self, request: SignedRequest) -> tuple[str, Handler]:
        name = extension_name(request.raw_path)
        handler = self._extensions.get(name) if name else None
        if name is None or handler is None or request.method != "POST":
            raise UnknownOperation(
                f"Unknown operation: {request.method} {request.raw_path[:200]}",
                hint=f"POST one of {', '.join(sorted(self._extensions))} to /_batchyard/v1/<name>.",
            )
        return name, handler

    def _handler(self, operation: OperationModel) -> Handler:
        handler = self._handlers.get((operation.service, operation.name))
        if handler is None:
            served = sorted(n for s, n in self._handlers if s == operation.service)
            raise NotSupported(
                f"This operation is not supported by Batchyard yet: {operation.name}",
                hint=f"Supported operations of {operation.service}: {', '.join(served)}.",
            )
        return handler

    def _context(
        self, request: SignedRequest, place: Place, caller: Caller, request_id: str, operation: str
    ) -> RequestContext:
        return RequestContext(
            request_id=request_id,
            service=place.service,
            operation=operation,
            access_key_id=caller.access_key_id,
            principal_arn=caller.principal_arn,
            account=caller.account,
            region=self._region,
            user_agent=request.headers.get("user-agent", ""),
        )

    def _note_refusal(
        self, error: BatchyardError, request: SignedRequest, reply: Reply, request_id: str
    ) -> None:
        ours = isinstance(error, ServerFault | ExecutorError)
        note = self._log.error if ours else self._log.info
        note(
            "request_refused",
            exc_info=error if ours else None,
            request_id=request_id,
            method=request.method,
            path=request.raw_path,
            status=reply.status,
            code=error.code,
            message=error.message,
            **{f"error_{name}": value for name, value in error.context.items()},
        )


def _headers(raw: list[tuple[bytes, bytes]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name_bytes, value_bytes in raw:
        name, value = name_bytes.decode("latin-1").lower(), value_bytes.decode("latin-1")
        found[name] = f"{found[name]},{value}" if name in found else value
    return found


def _query(raw: bytes) -> list[tuple[str, str]]:
    if not raw:
        return []
    # AWS: "+" is a plus here, not a space, as in the canonical query string.
    pairs = (part.partition("=") for part in raw.decode("latin-1").split("&") if part)
    return [(unquote(name), unquote(value)) for name, _, value in pairs]


async def _read_body(receive: Receive, limit: int) -> bytes | None:
    """The body; cut just above the limit when it is larger; None when the client is gone."""
    chunks: list[bytes] = []
    size = 0
    more = True
    while more and size <= limit + _DRAIN_BYTES:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        chunk = message.get("body", b"")
        if size <= limit:
            chunks.append(chunk)
        size += len(chunk)
        more = message.get("more_body", False)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _refuse_oversized(body: bytes, limit: int) -> None:
    if len(body) > limit:
        raise BodyTooLarge(
            f"The request body is larger than {limit} bytes.",
            hint="Split the request, or keep large data in files that the jobs read.",
        )


async def _send(send: Send, reply: Reply, *, head: bool) -> None:
    length = (b"content-length", str(len(reply.body)).encode())
    await send(
        {
            "type": "http.response.start",
            "status": reply.status,
            "headers": [*reply.headers, length],
        }
    )
    await send({"type": "http.response.body", "body": b"" if head else reply.body})

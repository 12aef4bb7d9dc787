"""One kept-alive, signed HTTP connection to a yard or to AWS. Knows protocols, not commands.

Batch is rest-json, CloudWatch Logs is json 1.1, and the extension operations of a yard are plain
JSON posts; all three answer errors the same way, so one place reads them.
"""

import http.client
import json
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from batchyard.cli.connection import Connection
from batchyard.cli.faults import ApiFault, CommandFault
from batchyard.cli.signing import sign

Document = dict[str, Any]

_CONNECT_TIMEOUT_S: Final = 30.0
_THROTTLE_PAUSES_S: Final = (0.2, 0.6, 1.8)
_IDLE_BEFORE_RECONNECT_S: Final = 2.0


class Client:
    """Calls operations; every error answer becomes an ApiFault with a next step."""

    def __init__(
        self,
        connection: Connection,
        *,
        trace: Callable[[str], None] | None = None,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self.connection = connection
        self._trace = trace
        self._pause = pause
        self._sockets: dict[str, http.client.HTTPConnection] = {}
        self._last_used_s: dict[str, float] = {}

    def batch(self, operation: str, body: Mapping[str, Any] | None = None) -> Document:
        """`POST /v1/<operation>`, such as `batch("DescribeJobs", {"jobs": [...]})`."""
        return self._call(
            endpoint=self.connection.endpoint,
            path=f"/v1/{operation.lower()}",
            service="batch",
            headers={"Content-Type": "application/json"},
            body=body or {},
        )

    def logs(self, operation: str, body: Mapping[str, Any]) -> Document:
        return self._call(
            endpoint=self.connection.logs_endpoint,
            path="/",
            service="logs",
            headers={
                "Content-Type": "application/x-amz-json-1.1",
                "X-Amz-Target": f"Logs_20140328.{operation}",
            },
            body=body,
        )

    def extension(self, name: str, body: Mapping[str, Any] | None = None) -> Document:
        """An operation only yards have, such as `status` and `explain`."""
        try:
            return self._call(
                endpoint=self.connection.endpoint,
                path=f"/_batchyard/v1/{name}",
                service="batchyard",
                headers={"Content-Type": "application/json"},
                body=body or {},
            )
        except ApiFault as fault:
            if fault.status in (404, 405, 501):
                raise CommandFault(
                    f"{self.connection.endpoint} does not know the yard operation '{name}': "
                    f"{fault.message}",
                    hint="this command needs a Batchyard endpoint of this version or newer; "
                    "`batchyard status` shows which yard answers",
                ) from fault
            raise

    def close(self) -> None:
        for connection in self._sockets.values():
            connection.close()
        self._sockets.clear()

    def _call(
        self,
        *,
        endpoint: str,
        path: str,
        service: str,
        headers: dict[str, str],
        body: Mapping[str, Any],
    ) -> Document:
        payload = json.dumps(body, separators=(",", ":")).encode()
        for pause_s in (*_THROTTLE_PAUSES_S, None):
            try:
                return self._exchange(
                    endpoint=endpoint, path=path, service=service, headers=headers, payload=payload
                )
            except ApiFault as fault:
                if fault.status != 429 or pause_s is None:
                    raise
                self._pause(pause_s)
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _exchange(
        self, *, endpoint: str, path: str, service: str, headers: dict[str, str], payload: bytes
    ) -> Document:
        base = urlsplit(endpoint)
        target = base.path.rstrip("/") + path
        signed = sign(
            method="POST",
            url=f"{base.scheme}://{base.netloc}{target}",
            headers=headers,
            body=payload,
            credentials=self.connection.credentials,
            region=self.connection.region,
            service=service,
            amz_date=time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()),
        )
        # "identity": answers are small and the yard is near, so compression only costs time.
        signed["Accept-Encoding"] = "identity"
        began_s = time.monotonic()
        try:
            connection = self._connect(endpoint)
            connection.request("POST", target, body=payload, headers=signed)
            response = connection.getresponse()
            raw = response.read()
        except (OSError, http.client.HTTPException) as error:
            self._drop(endpoint)
            raise _unreachable(self.connection, endpoint, error) from error
        self._last_used_s[endpoint] = time.monotonic()
        if response.will_close:
            self._drop(endpoint)
        request_id = response.headers.get("x-amzn-requestid", "")
        if self._trace is not None:
            name = headers.get("X-Amz-Target", target)
            took_ms = (time.monotonic() - began_s) * 1000
            self._trace(
                f"POST {endpoint} {name} -> {response.status} "
                f"in {took_ms:.1f} ms, request id {request_id or '-'}"
            )
            self._trace(f"  > {payload.decode()}")
            self._trace(f"  < {raw.decode(errors='replace')[:2000]}")
        document = _document(raw)
        if response.status >= 300 or document is None:
            raise _api_fault(response, document, raw=raw, connection=self.connection)
        return document

    def _connect(self, endpoint: str) -> http.client.HTTPConnection:
        # CHOSEN: a socket left idle is replaced, never retried: a retry after a broken write
        # could submit a job twice, and Batch has no client token to prevent it
        # (ADR 11).
        idle_s = time.monotonic() - self._last_used_s.get(endpoint, 0.0)
        if idle_s > _IDLE_BEFORE_RECONNECT_S:
            self._drop(endpoint)
        found = self._sockets.get(endpoint)
        if found is not None:
            return found
        base = urlsplit(endpoint)
        kind = http.client.HTTPSConnection if base.scheme == "https" else http.client.HTTPConnection
        made = kind(base.hostname or "", base.port, timeout=_CONNECT_TIMEOUT_S)
        made.connect()
        # The request leaves as two small writes; without this the second waits for an ACK.
        made.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sockets[endpoint] = made
        return made

    def _drop(self, endpoint: str) -> None:
        stale = self._sockets.pop(endpoint, None)
        if stale is not None:
            stale.close()


def _document(raw: bytes) -> Document | None:
    if not raw.strip():
        return {}
    try:
        found = json.loads(raw)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _api_fault(
    response: http.client.HTTPResponse,
    document: Document | None,
    *,
    raw: bytes,
    connection: Connection,
) -> CommandFault:
    if document is None:
        opening = raw.decode(errors="replace").strip()[:200]
        return CommandFault(
            f"{connection.endpoint} answered HTTP {response.status} with no JSON: {opening!r}",
            hint="is this an AWS Batch endpoint? `batchyard status` shows the yard's address",
        )
    error_code = str(
        response.headers.get("x-amzn-errortype") or document.get("__type") or "UnknownError"
    )
    error_code = error_code.split(":", 1)[0].rsplit("#", 1)[-1]
    message = str(document.get("message") or document.get("Message") or f"HTTP {response.status}")
    fault = ApiFault(
        message,
        error_code=error_code,
        http_status=response.status,
        request_id=response.headers.get("x-amzn-requestid", ""),
        hint=str(document.get("hint") or ""),
    )
    if not fault.hint and fault.exit_code == 4:
        fault.hint = (
            f"the request was signed with key {connection.credentials.access_key_id} from "
            f"{connection.credentials_source}; "
            'for the yard of this machine use: eval "$(batchyard env-vars)"'
        )
    elif not fault.hint and response.status >= 500:
        fault.hint = "the server is in trouble; its log has the request id: batchyard status"
    elif not fault.hint and response.status == 429:
        fault.hint = "the endpoint asks to slow down; try again in a few seconds"
    elif not fault.hint and fault.exit_code == 3:
        fault.hint = "look for it: batchyard ls, batchyard queue ls, batchyard jobdef ls"
    elif not fault.hint:
        fault.hint = "correct the request; with --debug you see what was sent"
    return fault


def _unreachable(connection: Connection, endpoint: str, error: Exception) -> CommandFault:
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    if connection.source == "yard":
        hint = (
            "the yard does not answer; look with `batchyard status`, start it with `batchyard up`"
        )
    elif connection.yard_endpoint and connection.yard_endpoint != endpoint:
        hint = (
            f"{connection.source} points there, but the yard of this machine answers at "
            f'{connection.yard_endpoint}: unset {connection.source} or eval "$(batchyard env-vars)"'
        )
    else:
        hint = (
            f"the address comes from {connection.source}; unset it to use the yard of this machine "
            "(`batchyard up` starts one)"
        )
    return CommandFault(f"cannot reach {endpoint}: {reason}", hint=hint)

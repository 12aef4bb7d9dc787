"""One request to the engine, one answer, one error. Knows HTTP, not attempts.

Two kinds of failure leave this module: `Refused` (the engine answered no) and `EngineUnavailable`
(there is no answer, or none in time).
"""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import msgspec

from batchyard.executors.docker.sockets import HOW_TO_START
from batchyard.kernel.faults import EngineUnavailable, ExecutorError

API_VERSION = (1, 41)
CALL_TIMEOUT_S = 60.0
PULL_SILENCE_S = 300.0
_MOST_CALLS_AT_ONCE = 32


class Refused(ExecutorError):
    """The engine answered with an error. `message` is its own text."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class NoAnswerInTime(EngineUnavailable):
    """The engine took the request and stayed silent."""


class Version(msgspec.Struct, frozen=True, kw_only=True):
    kind: str
    """`docker` or `podman`."""
    text: str


class Engine:
    """A connection to one engine. `open` before any call; `close` at the end."""

    def __init__(self, socket_path: str) -> None:
        self.socket_path = socket_path
        self._prefix = ""
        self._calls: aiohttp.ClientSession | None = None
        self._streams: aiohttp.ClientSession | None = None

    async def open(self) -> Version:
        """Connect and agree on an API version.

        Raises:
            EngineUnavailable: nothing answers on the socket.
        """
        # ORDER: followers of logs live as long as their containers; a session of their own keeps
        # them from using up the connections of calls.
        self._calls = self._session(_MOST_CALLS_AT_ONCE)
        self._streams = self._session(0)
        answer = await self.call("GET", "/version")
        newest = _version_pair(answer.get("ApiVersion"), API_VERSION)
        oldest = _version_pair(answer.get("MinAPIVersion"), API_VERSION)
        # Docker 29 no longer answers to 1.41; Docker 19 does not know it yet.
        major, minor = max(oldest, min(API_VERSION, newest))
        self._prefix = f"/v{major}.{minor}"
        names = [str(part.get("Name", "")) for part in answer.get("Components") or []]
        kind = "podman" if any("podman" in name.lower() for name in names) else "docker"
        return Version(kind=kind, text=f"{kind} {answer.get('Version', '?')}")

    async def close(self) -> None:
        for session in (self._calls, self._streams):
            if session is not None:
                await session.close()

    async def call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: object = None,
        timeout_s: float = CALL_TIMEOUT_S,
    ) -> Any:
        """Send one request and decode the answer; None for an empty one.

        Raises:
            Refused: the engine answered with a status of 400 or more.
            NoAnswerInTime: it did not answer within `timeout_s`.
            EngineUnavailable: it cannot be reached.
        """
        raw, _ = await self._exchange(method, path, query=query, body=body, timeout_s=timeout_s)
        return msgspec.json.decode(raw) if raw.strip() else None

    async def head(self, path: str, *, query: Mapping[str, str]) -> Mapping[str, str]:
        """Headers of the answer. Raises like `call`."""
        _, headers = await self._exchange(
            "HEAD", path, query=query, body=None, timeout_s=CALL_TIMEOUT_S
        )
        return headers

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str],
        data: bytes | None = None,
        silence_s: float | None = None,
    ) -> AsyncIterator[aiohttp.StreamReader]:
        """Open an answer that goes on; it ends with the block. Raises like `call`."""
        assert self._streams is not None, "open() comes first"
        # Without `silence_s` only the connection has a deadline: a quiet job is not a dead engine.
        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=CALL_TIMEOUT_S, sock_read=silence_s
        )
        with _as_engine_errors(self.socket_path):
            async with self._streams.request(
                method, self._url(path), params=query, data=data, timeout=timeout
            ) as response:
                if response.status >= 400:
                    raise _refusal(response.status, await response.read())
                yield response.content

    async def _exchange(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None,
        body: object,
        timeout_s: float,
    ) -> tuple[bytes, Mapping[str, str]]:
        assert self._calls is not None, "open() comes first"
        data = None if body is None else msgspec.json.encode(body)
        headers = {} if data is None else {"Content-Type": "application/json"}
        with _as_engine_errors(self.socket_path):
            # The time of waiting for a free connection does not count as the engine's silence.
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=timeout_s, sock_read=timeout_s)
            async with self._calls.request(
                method, self._url(path), params=query, data=data, headers=headers, timeout=timeout
            ) as response:
                raw = await response.read()
                if response.status >= 400:
                    raise _refusal(response.status, raw)
                return raw, response.headers

    def _url(self, path: str) -> str:
        return f"http://engine{self._prefix}{path}"

    def _session(self, limit: int) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.UnixConnector(path=self.socket_path, limit=limit),
            read_bufsize=1 << 18,
        )


class _as_engine_errors:
    """Turn transport errors into ours; leave everything else alone."""

    def __init__(self, socket_path: str) -> None:
        self._socket_path = socket_path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, (aiohttp.SocketTimeoutError, asyncio.TimeoutError)):
            raise NoAnswerInTime(
                f"The container engine at {self._socket_path} took a request and did not answer.",
                hint="Look at the engine's own log; restart it if it hangs. Running jobs go on.",
            ) from error
        if isinstance(error, (aiohttp.ClientError, OSError)):
            raise EngineUnavailable(
                f"The container engine at {self._socket_path} cannot be reached: {_plain(error)}.",
                hint=HOW_TO_START,
            ) from error


def _plain(error: BaseException) -> str:
    if isinstance(error, aiohttp.ClientConnectorError):
        error = error.os_error
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno).lower()
    return str(error) or type(error).__name__


def _refusal(status: int, raw: bytes) -> ExecutorError:
    try:
        decoded = msgspec.json.decode(raw)
        message = str(decoded["message"])
    except (msgspec.DecodeError, KeyError, TypeError):
        message = raw.decode(errors="replace").strip() or f"status {status} without a reason"
    if status == 503:
        return EngineUnavailable(f"The container engine is not ready: {message}", hint=HOW_TO_START)
    return Refused(status, message)


def _version_pair(text: object, default: tuple[int, int]) -> tuple[int, int]:
    parts = str(text or "").split(".")
    if len(parts) >= 2 and parts[0].isdigit() and parts[1].isdigit():
        return int(parts[0]), int(parts[1])
    return default

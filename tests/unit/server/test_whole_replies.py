import asyncio
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from batchyard.server.whole_replies import WholeReplies


class Wire(asyncio.Transport):
    """Remembers each call that would reach the kernel."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[bytes | str] = []

    def write(self, data: Any) -> None:
        self.calls.append(bytes(data))

    def close(self) -> None:
        self.calls.append("close")

    def is_closing(self) -> bool:
        return "close" in self.calls

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


async def application(scope: Any, receive: Any, send: Any) -> None:
    body = b"" if scope["path"] == "/empty" else b"whole"
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": 200, "headers": [length]})
    if scope["path"] == "/slow":
        await asyncio.sleep(0.01)
    await send({"type": "http.response.body", "body": body if scope["method"] == "GET" else b""})


async def answered(request: bytes) -> list[bytes | str]:
    config = uvicorn.Config(application, lifespan="off", log_config=None, http=WholeReplies)
    config.load()
    protocol = WholeReplies(config, ServerState(), {})
    wire = Wire()
    protocol.connection_made(wire)
    protocol.data_received(request + b"\r\nhost: here\r\n\r\n")
    async with asyncio.timeout(10):
        while not wire.calls:  # noqa: ASYNC110  # a transport tells nobody
            await asyncio.sleep(0)
    await asyncio.sleep(0.1)
    calls = list(wire.calls)
    protocol.connection_lost(None)
    return calls


@pytest.mark.parametrize(
    ("request_line", "ends"),
    [
        (b"GET / HTTP/1.1", b"\r\n\r\nwhole"),
        (b"GET /empty HTTP/1.1", b"\r\n\r\n"),
        (b"HEAD / HTTP/1.1", b"\r\n\r\n"),
    ],
)
def test_head_and_body_leave_in_one_call(request_line: bytes, ends: bytes) -> None:
    (only,) = asyncio.run(answered(request_line))
    assert isinstance(only, bytes)
    assert only.startswith(b"HTTP/1.1 200 OK\r\n")
    assert only.endswith(ends)


def test_what_is_written_leaves_before_the_connection_is_closed() -> None:
    first, then = asyncio.run(answered(b"GET / HTTP/1.1\r\nconnection: close"))
    assert isinstance(first, bytes)
    assert first.endswith(b"\r\n\r\nwhole")
    assert then == "close"


def test_what_comes_later_leaves_later() -> None:
    head, body = asyncio.run(answered(b"GET /slow HTTP/1.1"))
    assert body == b"whole"
    assert isinstance(head, bytes)
    assert head.endswith(b"\r\n\r\n")

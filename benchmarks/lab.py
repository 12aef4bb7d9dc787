"""What the benchmarks share: a yard in a temporary home, a fast signed client, medians.

The client is deliberately thin, so that the server is what is measured: requests are signed before
the clock starts, and sent over one keep-alive connection each by plain asyncio streams.
"""

import asyncio
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from batchyard.cli.signing import Credentials, sign


class Lab:
    """A running server and the credentials to talk to it."""

    def __init__(self, endpoint: str, credentials: Credentials, home: Path, pid: int) -> None:
        self.endpoint = endpoint
        self.credentials = credentials
        self.home = home
        self.pid = pid

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.endpoint.removeprefix("http://").partition(":")
        return host, int(port)

    def request(
        self, operation: str, params: dict[str, object], *, service: str = "batch"
    ) -> bytes:
        """One signed request as it goes over the wire: of Batch, or of Batchyard's own."""
        body = json.dumps(params).encode()
        prefix = "/v1" if service == "batch" else "/_batchyard/v1"
        path = f"{prefix}/{operation.lower()}"
        headers = sign(
            method="POST",
            url=self.endpoint + path,
            headers={"Content-Type": "application/json"},
            body=body,
            credentials=self.credentials,
            region="us-east-1",
            service=service,
            amz_date=datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ"),
        )
        head = "".join(f"{k}: {v}\r\n" for k, v in headers.items())
        return f"POST {path} HTTP/1.1\r\n{head}Content-Length: {len(body)}\r\n\r\n".encode() + body

    def call(self, operation: str, **params: object) -> dict[str, object]:
        """Send one request and return its answer; for setting things up."""
        answers = asyncio.run(send(self, [self.request(operation, params)], connections=1))
        status, body, _ = answers[0]
        if status != 200:
            raise SystemExit(f"{operation} answered {status}: {body.decode()}")
        found: dict[str, object] = json.loads(body)
        return found


def call_extension(lab: Lab, name: str) -> dict[str, object]:
    """One of Batchyard's own operations, without arguments."""
    request = lab.request(name, {}, service="batchyard")
    status, body, _ = asyncio.run(send(lab, [request], connections=1))[0]
    if status != 200:
        raise SystemExit(f"{name} answered {status}: {body.decode()}")
    found: dict[str, object] = json.loads(body)
    return found


Answer = tuple[int, bytes, float]
"""Status, body, seconds from sending to the last byte."""


async def send(lab: Lab, requests: Sequence[bytes], *, connections: int) -> list[Answer]:
    """Send requests over so many connections, each waiting for its answer before the next."""
    queue = iter(requests)
    answers: list[Answer] = []

    async def one() -> None:
        connection = None
        for request in queue:
            began = time.perf_counter()
            # moto's server closes after each answer; a client pays for that, so it counts.
            reader, writer = connection = connection or await asyncio.open_connection(*lab.address)
            writer.write(request)
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            at = head.find(b"content-length:")
            length = int(head[at + 15 : head.index(b"\r\n", at)])
            body = await reader.readexactly(length)
            answers.append((int(head[9:12]), body, time.perf_counter() - began))
            if b"connection: close" in head:
                writer.close()
                connection = None
        if connection is not None:
            connection[1].close()

    await asyncio.gather(*(one() for _ in range(connections)))
    return answers


@contextmanager
def yard(*, executor: str, settings: str = "") -> Iterator[Lab]:
    """A yard of its own, gone afterwards."""
    with (
        tempfile.TemporaryDirectory(prefix="batchyard-bench-") as folder,
        serve(Path(folder), executor=executor, settings=settings) as lab,
    ):
        yield lab


@contextmanager
def serve(home: Path, *, executor: str, settings: str = "") -> Iterator[Lab]:
    """A server on a home, stopped afterwards."""
    (home / "batchyard.toml").write_text(settings)
    command = [sys.executable, "-m", "batchyard.server", "--home", str(home)]
    command += ["--port", str(free_port()), "--executor", executor]
    with (home / "server.log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        record = _await_record(home, server)
        key = json.loads((home / "credentials.json").read_text())
        yield Lab(record["endpoint"], Credentials(**key), home, server.pid)
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(60)


def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _await_record(home: Path, server: subprocess.Popen[bytes]) -> dict[str, str]:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and server.poll() is None:
        try:
            found: dict[str, str] = json.loads((home / "server.json").read_text())
            return found
        except FileNotFoundError:
            time.sleep(0.02)
    raise SystemExit(f"the yard did not start:\n{(home / 'server.log').read_text()}")


def register(lab: Lab, name: str, command: Sequence[str], *, memory: int = 16) -> None:
    lab.call(
        "RegisterJobDefinition",
        jobDefinitionName=name,
        type="container",
        containerProperties={
            "image": "none",
            "command": list(command),
            "resourceRequirements": [
                {"type": "VCPU", "value": "1"},
                {"type": "MEMORY", "value": str(memory)},
            ],
        },
    )


def spread(values: Sequence[float]) -> str:
    """`median (min to max)`."""
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def machine() -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**30
    return (
        f"{os.cpu_count()} cores, {memory} GiB, {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}"
    )

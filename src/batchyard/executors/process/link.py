"""The server's end of the spawner: starts it, sends requests, hears reports and its death."""

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec

import batchyard
from batchyard.executors.process.reports import Hello, Report, Request
from batchyard.kernel.faults import EngineUnavailable

HELLO_DEADLINE_S = 20.0
CLOSE_DEADLINE_S = 10.0
_PACKET_BYTES = 1 << 20
_BURST = 256
"""Reports taken in one go, before the event loop gets a turn."""

_START = (
    "import sys; sys.path.append(sys.argv.pop(1));"
    " from batchyard.executors.process.spawner import main; main()"
)


class SpawnerLink:
    """One spawner. A dead link stays dead: make a new one."""

    def __init__(
        self, *, on_report: Callable[[Report], None], on_death: Callable[[], None]
    ) -> None:
        self._on_report = on_report
        self._on_death = on_death
        self._process: subprocess.Popen[bytes] | None = None
        self._decoder: msgspec.json.Decoder[Report] = msgspec.json.Decoder(Report)
        self._encoder = msgspec.json.Encoder()
        self._unsent = bytearray()
        self._requests, self._far_requests = socket.socketpair()
        self._reports, self._far_reports = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._pidfd = -1
        self.alive = False

    async def open(self, *, yard: str, use_cgroups: bool, log: Path) -> Hello:
        """Start the spawner and wait for its first word.

        Raises:
            EngineUnavailable: it did not come up; the message quotes what it wrote.
        """
        self._requests.setblocking(False)
        self._reports.setblocking(False)
        self._process = await asyncio.to_thread(
            self._spawn, yard, "cgroups" if use_cgroups else "rlimits", log
        )
        self._far_requests.close()
        self._far_reports.close()
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(HELLO_DEADLINE_S):
                first = await loop.sock_recv(self._reports, _PACKET_BYTES)
        except TimeoutError:
            first = b""
        hello = self._decoder.decode(first) if first else None
        if not isinstance(hello, Hello):
            await self.close()
            said = await asyncio.to_thread(_tail_of, log)
            raise EngineUnavailable(
                f"the spawner of the process executor did not start: {said or 'it said nothing'}",
                hint=f"See {log}. It needs {sys.executable} and room for one more process.",
            )
        self._pidfd = os.pidfd_open(self._process.pid)
        loop.add_reader(self._pidfd, self._died)
        loop.add_reader(self._reports, self._read_reports)
        self.alive = True
        return hello

    def send(self, request: Request) -> None:
        """Queue a request. It is lost if the spawner dies; the attempt's folder is not."""
        body = request.attempt_id.encode() + b"\0" + self._encoder.encode(request)
        frame = len(body).to_bytes(4, "big") + body
        if not self._unsent and self.alive:
            try:
                frame = frame[self._requests.send(frame) :]
            except BlockingIOError:
                pass
            except OSError:
                return  # dead; the pidfd will say so
        if frame and self.alive:
            if not self._unsent:
                asyncio.get_running_loop().add_writer(self._requests, self._write_on)
            self._unsent += frame

    async def close(self) -> None:
        """Let the spawner go. Its shims go on."""
        loop = asyncio.get_running_loop()
        self.alive = False
        loop.remove_reader(self._reports)
        loop.remove_writer(self._requests)
        self._requests.close()
        if self._process is not None:
            await asyncio.to_thread(self._wait, self._process)
        if self._pidfd >= 0:
            loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = -1
        for one in (self._reports, self._far_requests, self._far_reports):
            one.close()

    def drain(self) -> None:
        """Take every report that has arrived."""
        while self._take_reports():
            pass

    def _spawn(self, yard: str, mode: str, log: Path) -> subprocess.Popen[bytes]:
        fds = (self._far_requests.fileno(), self._far_reports.fileno())
        root = str(Path(batchyard.__file__).parent.parent)
        command = [sys.executable, "-I", "-S", "-X", "utf8", "-c", _START, root, yard, mode]
        with open(log, "ab") as file:
            return subprocess.Popen(
                [*command, *map(str, fds)],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                cwd="/",
                pass_fds=fds,
                # So that a Ctrl-C meant for the server does not reach the jobs.
                start_new_session=True,
            )

    def _wait(self, process: subprocess.Popen[bytes]) -> None:
        try:
            process.wait(CLOSE_DEADLINE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _write_on(self) -> None:
        try:
            del self._unsent[: self._requests.send(self._unsent)]
        except BlockingIOError:
            return
        except OSError:
            self._unsent.clear()  # dead; the pidfd will say so
        if not self._unsent:
            asyncio.get_running_loop().remove_writer(self._requests)

    def _read_reports(self) -> None:
        for _ in range(_BURST):
            if not self._take_reports():
                return

    def _take_reports(self) -> bool:
        try:
            packet = self._reports.recv(_PACKET_BYTES)
        except (BlockingIOError, ConnectionResetError):
            return False
        if not packet:
            asyncio.get_running_loop().remove_reader(self._reports)
            return False
        self._on_report(self._decoder.decode(packet))
        return True

    def _died(self) -> None:
        asyncio.get_running_loop().remove_reader(self._pidfd)
        self.alive = False
        self._on_death()


def _tail_of(log: Path) -> str:
    return log.read_text(errors="replace")[-2000:].strip()

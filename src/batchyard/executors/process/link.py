"""The server's way to its shims: starts the spawner, hands out orders, hears reports and deaths.

A shim that has reported the end of its attempt is idle and gets the next one. It has one channel of
its own; when that ends, the shim is dead, whatever happened to the spawner.
"""

import asyncio
import contextlib
import os
import resource
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable
from pathlib import Path

import msgspec

import batchyard
from batchyard.executors.process.reports import Failed, Finished, Hello, Report, Request, Taken
from batchyard.kernel.faults import EngineUnavailable

HELLO_DEADLINE_S = 20.0
CLOSE_DEADLINE_S = 10.0
MAX_IDLE = 32
_PACKET_BYTES = 1 << 18
_BURST = 256
"""Reports taken in one go, before the event loop gets a turn."""
_FILES = 65_536

_START = (
    "import sys; sys.path.append(sys.argv.pop(1));"
    " from batchyard.executors.process.spawner import main; main()"
)


class _Channel:
    """The server's end of one shim's channel."""

    def __init__(self, near: socket.socket) -> None:
        self.near = near
        self.attempt_id = ""
        self.unsent = bytearray()


class ShimLink:
    """Open once. A spawner that dies can be replaced with `respawn`; its shims stay."""

    def __init__(
        self,
        *,
        on_report: Callable[[Report], None],
        on_shim_death: Callable[[str], None],
        on_spawner_death: Callable[[], None],
    ) -> None:
        self._on_report = on_report
        self._on_shim_death = on_shim_death
        self._on_spawner_death = on_spawner_death
        self._decoder: msgspec.json.Decoder[Report] = msgspec.json.Decoder(Report)
        self._encoder = msgspec.json.Encoder()
        self._idle: list[_Channel] = []
        self._busy: dict[str, _Channel] = {}
        self._unforked: deque[socket.socket] = deque()
        """Far ends of channels that the spawner has not been sent yet."""
        self._process: subprocess.Popen[bytes] | None = None
        self._pidfd = -1
        self._channels: socket.socket | None = None
        self._reports, self._far_reports = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._reports.setblocking(False)

    async def open(self, *, yard: str, use_cgroups: bool, log: Path) -> Hello:
        """Start the spawner and wait for its first word. Also after its death, with the same yard.

        Raises:
            EngineUnavailable: it did not come up; the message quotes what it wrote.
        """
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._reports)
        near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        near.setblocking(False)
        mode = "cgroups" if use_cgroups else "rlimits"
        try:
            self._process = await asyncio.to_thread(self._spawn, far.fileno(), yard, mode, log)
        except OSError as error:
            near.close()
            raise EngineUnavailable(
                f"cannot start a process of {sys.executable}: {error.strerror}",
                hint="The process executor needs room for processes; see `ulimit -u`.",
            ) from error
        finally:
            far.close()
        self._channels = near
        hello = await self._hear_hello()
        if hello is None:
            await self._end_spawner()
            said = await asyncio.to_thread(_end_of, log)
            raise EngineUnavailable(
                f"the spawner of the process executor did not start: {said or 'it said nothing'}",
                hint=f"See {log}; it is started with {sys.executable}.",
            )
        self._pidfd = os.pidfd_open(self._process.pid)
        loop.add_reader(self._pidfd, self._spawner_died)
        loop.add_reader(self._reports, self._read_reports)
        self._hand_over()
        return hello

    def send(self, request: Request) -> None:
        """Give the request to a shim. Ignored while one has it already."""
        if request.attempt_id in self._busy:
            return
        channel = self._idle.pop() if self._idle else self._new_channel()
        channel.attempt_id = request.attempt_id
        self._busy[request.attempt_id] = channel
        body = self._encoder.encode(request)
        channel.unsent += len(body).to_bytes(4, "big") + body
        self._write(channel)
        if channel.unsent:
            asyncio.get_running_loop().add_writer(channel.near, self._write_on, channel)

    async def close(self) -> None:
        """Let the spawner and the shims go. Shims that watch an attempt stay until its end."""
        asyncio.get_running_loop().remove_reader(self._reports)
        for channel in [*self._idle, *self._busy.values()]:
            self._close(channel)
        self._idle.clear()
        self._busy.clear()
        await self._end_spawner()
        for one in (*self._unforked, self._reports, self._far_reports):
            one.close()
        self._unforked.clear()

    def _spawn(self, far: int, yard: str, mode: str, log: Path) -> subprocess.Popen[bytes]:
        files = _raise_open_files()
        fds = (far, self._far_reports.fileno())
        root = str(Path(batchyard.__file__).parent.parent)
        command = [sys.executable, "-I", "-S", "-X", "utf8", "-c", _START, root, yard, mode]
        with open(log, "ab") as file:
            return subprocess.Popen(
                [*command, str(files), *map(str, fds)],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                cwd="/",
                pass_fds=fds,
                # So that a Ctrl-C meant for the server does not reach the jobs.
                start_new_session=True,
            )

    async def _hear_hello(self) -> Hello | None:
        loop = asyncio.get_running_loop()
        assert self._process is not None, "the spawner has just been started"
        try:
            async with asyncio.timeout(HELLO_DEADLINE_S):
                while True:
                    # A spawner that fails at once is noticed by its end, not by the deadline.
                    hearing = asyncio.wait_for(
                        loop.sock_recv(self._reports, _PACKET_BYTES), timeout=0.5
                    )
                    with contextlib.suppress(TimeoutError):
                        report = self._decoder.decode(await hearing)
                        if isinstance(report, Hello):
                            return report
                        self._take(report)
                        continue
                    if self._process.poll() is not None:
                        return None
        except TimeoutError:
            return None

    async def _end_spawner(self) -> None:
        if self._channels is not None:
            asyncio.get_running_loop().remove_writer(self._channels)
            self._channels.close()
            self._channels = None
        if self._pidfd >= 0:
            asyncio.get_running_loop().remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = -1
        if self._process is not None:
            await asyncio.to_thread(_wait, self._process)
            self._process = None

    def _spawner_died(self) -> None:
        asyncio.get_running_loop().remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._pidfd = -1
        if self._channels is not None:
            asyncio.get_running_loop().remove_writer(self._channels)
            self._channels.close()
            self._channels = None
        if self._process is not None:
            self._process.wait()  # it has ended: this only collects it
            self._process = None
        self._on_spawner_death()

    def _new_channel(self) -> _Channel:
        near, far = socket.socketpair()
        near.setblocking(False)
        channel = _Channel(near)
        asyncio.get_running_loop().add_reader(near, self._shim_died, channel)
        self._unforked.append(far)
        self._hand_over()
        return channel

    def _hand_over(self) -> None:
        """Send the spawner what it has room for; the rest when it has more."""
        loop = asyncio.get_running_loop()
        if self._channels is None:
            return  # `open` calls again
        while self._unforked:
            try:
                socket.send_fds(self._channels, [b"shim"], [self._unforked[0].fileno()])
            except BlockingIOError:
                loop.add_writer(self._channels, self._hand_over)
                return
            except OSError:
                return  # dead; its pidfd will say so
            self._unforked.popleft().close()
        loop.remove_writer(self._channels)

    def _write(self, channel: _Channel) -> None:
        try:
            del channel.unsent[: channel.near.send(channel.unsent)]
        except BlockingIOError:
            pass
        except OSError:
            channel.unsent.clear()  # dead; the end of the channel will say so

    def _write_on(self, channel: _Channel) -> None:
        self._write(channel)
        if not channel.unsent:
            asyncio.get_running_loop().remove_writer(channel.near)

    def _shim_died(self, channel: _Channel) -> None:
        self._close(channel)
        if channel in self._idle:
            self._idle.remove(channel)
        elif self._busy.get(channel.attempt_id) is channel:
            del self._busy[channel.attempt_id]
            self._on_shim_death(channel.attempt_id)

    def _close(self, channel: _Channel) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(channel.near)
        loop.remove_writer(channel.near)
        channel.near.close()

    def _read_reports(self) -> None:
        for _ in range(_BURST):
            try:
                packet = self._reports.recv(_PACKET_BYTES)
            except BlockingIOError:
                return
            self._take(self._decoder.decode(packet))

    def _take(self, report: Report) -> None:
        # ORDER: the shim is free before its news is told, for the news may bring the next attempt.
        if isinstance(report, Finished | Failed | Taken):
            channel = self._busy.pop(report.attempt_id, None)
            if channel is not None and len(self._idle) < MAX_IDLE:
                self._idle.append(channel)
            elif channel is not None:
                self._close(channel)
        self._on_report(report)


def _raise_open_files() -> int:
    """Make room for one socket per running attempt; returns the limit that jobs shall have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return soft


def _wait(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(CLOSE_DEADLINE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _end_of(log: Path) -> str:
    return log.read_text(errors="replace")[-2000:].strip()

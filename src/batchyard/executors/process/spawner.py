"""The spawner: a small interpreter that forks a shim for each request, and nothing else.

It reads requests from a stream socket until its end, which means that the server has gone, and
hands every shim the socket for reports. Each request is framed by its length in four bytes. Reports
are JSON, one to a packet:

    hello    the cgroup layout that was found
    unforked the machine had no room for another process; ask again
    reaped   a shim ended without doing its duty; look at the files
    (and those of the shim)

Standard library only; started with `python -I -S`. Arguments: the name of the yard's control group,
`cgroups` or `rlimits`, and the file descriptors of the two sockets.
"""

import contextlib
import gc
import json
import os
import select
import signal
import sys
from typing import Any, NoReturn

from batchyard.executors.process import cgroups, claim, shim


def main() -> None:
    yard, mode, requests, reports = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    os.set_inheritable(requests, False)
    os.set_inheritable(reports, False)
    layout = cgroups.find(yard) if mode == "cgroups" else None
    spawner = _Spawner(requests=requests, reports=reports, boot=claim.boot_id(), layout=layout)
    spawner.report({"event": "hello", "layout": layout})
    # Pages that nobody touches are shared with every shim: keep the collector from touching them.
    gc.collect()
    gc.freeze()
    gc.disable()
    spawner.live()


class _Spawner:
    def __init__(
        self, *, requests: int, reports: int, boot: str, layout: cgroups.Layout | None
    ) -> None:
        self._requests = requests
        self._reports = reports
        self._boot = boot
        self._layout = layout
        self._attempts: dict[int, str] = {}

    def live(self) -> None:
        wake_in, wake_out = os.pipe()
        os.set_blocking(wake_in, False)
        os.set_blocking(wake_out, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake_out, warn_on_full_buffer=False)
        poll = select.poll()
        poll.register(self._requests, select.POLLIN)
        poll.register(wake_in, select.POLLIN)
        buffer = bytearray()
        while True:
            ready = {fd for fd, _ in poll.poll()}
            if wake_in in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(wake_in, 4096)
                self._reap()
            if self._requests in ready:
                chunk = os.read(self._requests, 1 << 20)
                if not chunk:
                    return
                buffer += chunk
                for attempt_id, request in _take(buffer):
                    self._fork(attempt_id, request)

    def report(self, report: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):
            os.write(self._reports, json.dumps(report).encode())

    def _fork(self, attempt_id: str, request: bytes) -> None:
        try:
            pid = os.fork()
        except OSError as error:
            reason = error.strerror or str(error)
            self.report({"event": "unforked", "attempt_id": attempt_id, "reason": reason})
            return
        if pid == 0:
            self._be_shim(request)
        self._attempts[pid] = attempt_id

    def _be_shim(self, request: bytes) -> NoReturn:
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            # ORDER: at once, so that the stream ends for the server when the spawner dies.
            os.close(self._requests)
            shim.run(request, reports=self._reports, boot=self._boot, layout=self._layout)
            status = 0
        finally:
            if status:
                sys.excepthook(*sys.exc_info())
                sys.stderr.flush()
            os._exit(status)

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            attempt_id = self._attempts.pop(pid, None)
            if attempt_id is not None and status != 0:
                self.report({"event": "reaped", "attempt_id": attempt_id})


def _take(buffer: bytearray) -> list[tuple[str, bytes]]:
    """Cut the complete frames off the buffer: the attempt id up to a NUL, then the request."""
    frames = []
    while len(buffer) >= 4:
        size = int.from_bytes(buffer[:4], "big")
        if len(buffer) < 4 + size:
            break
        attempt_id, _, request = bytes(buffer[4 : 4 + size]).partition(b"\0")
        del buffer[: 4 + size]
        frames.append((attempt_id.decode(), request))
    return frames

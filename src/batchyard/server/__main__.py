"""`python -m batchyard.server --home DIR [--port N] [--executor NAME]`: serve until SIGTERM.

People use `batchyard up`. Running jobs go on when the server stops, and are adopted when it
returns.
"""

import argparse
import asyncio
import errno
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog
import uvicorn
from msgspec.structs import replace

from batchyard.kernel.faults import BatchyardError
from batchyard.server import home as files
from batchyard.server.failpoints import failpoint
from batchyard.server.response_check import response_check
from batchyard.server.settings import Settings, executor_name, read_settings
from batchyard.server.whole_replies import WholeReplies
from batchyard.server.yard import running

log = structlog.get_logger("batchyard.server")

DEFAULT_PORT = 7460


def main() -> int:
    """Serve; 0 after an orderly stop, 1 when the yard cannot start (the reason is on stderr)."""
    parser = argparse.ArgumentParser(prog="batchyard.server", description=__doc__)
    parser.add_argument("--home", type=Path, required=True, help="folder of the yard")
    parser.add_argument("--port", type=int, help=f"default: the last one, at first {DEFAULT_PORT}")
    parser.add_argument("--executor", help="auto, docker, process or mock")
    options = parser.parse_args()
    _log_to_stderr()
    # The event loop, the writer and the readers share one interpreter: at the default of 5 ms a
    # commit waits for whoever computes. Measured in docs/performance.md.
    sys.setswitchinterval(0.0005)
    try:
        files.prepare(options.home)
        settings = read_settings(options.home)
        if options.executor:
            settings = replace(settings, executor=executor_name(options.executor))
        listener = _listen(options.home, settings.port if options.port is None else options.port)
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(_serve(options.home, settings, listener))
    except BatchyardError as fault:
        print(f"error: {fault.message}\n{fault.hint}", file=sys.stderr)
        return 1
    return 0


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: they raise the signal again once it has been served,
    which would end the process before the yard is closed."""

    def stop(self) -> None:
        self.should_exit = True

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def _serve(home: Path, settings: Settings, listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    # ORDER: before any job is started, for it is told this port and keeps it when the yard dies.
    files.remember_port(home, port)
    async with running(
        home,
        settings=settings,
        port=port,
        key=files.client_key(home),
        failpoint=failpoint(os.environ),
        on_response=response_check(os.environ),
    ) as yard:
        server = _Server(
            uvicorn.Config(
                yard.gateway,
                http=WholeReplies,
                log_level="warning",
                access_log=False,
                lifespan="off",
                timeout_graceful_shutdown=5,
                timeout_keep_alive=60,
                server_header=False,
                ws="none",
            )
        )
        serving = asyncio.ensure_future(server.serve(sockets=[listener]))
        # A yard whose loops have died must not go on taking jobs that nobody starts.
        yard.loops.add_done_callback(lambda _: server.stop())
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, server.stop)
        # The socket listens already, so a client that is early waits in its queue.
        await asyncio.sleep(0)
        files.write_record(
            home,
            files.own_record(
                endpoint=yard.endpoint,
                region=settings.region,
                account=settings.account,
                yard_id=yard.yard_id,
            ),
        )
        _spare_the_collector()
        for warning in yard.probe.warnings:
            log.warning("executor.warning", warning=warning)
        log.info("yard.up", endpoint=yard.endpoint, engine=yard.probe.engine)
        try:
            await serving
        finally:
            files.remove_record(home)
    log.info("yard.down")


def _listen(home: Path, wanted: int | None) -> socket.socket:
    """Bind loopback. A port that was asked for must be free; the usual one may give way.

    Raises:
        BatchyardError: the port that was asked for is taken.
    """
    usual = files.last_port(home) or DEFAULT_PORT
    for port in (wanted,) if wanted is not None else (usual, 0):
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError as error:
            listener.close()
            if error.errno in (errno.EADDRINUSE, errno.EACCES) and wanted is None:
                continue
            raise BatchyardError(
                f"port {port} cannot be used: {error.strerror}",
                hint="Choose another with --port, or leave it out.",
            ) from error
        listener.listen(1024)
        return listener
    raise BatchyardError("no port is free on 127.0.0.1", hint="Name one with --port.")


def _loop_factory() -> "type[asyncio.AbstractEventLoop] | None":
    try:
        import uvloop
    except ImportError:  # uvloop has no wheel for every Python; asyncio's own loop serves too
        return None
    return uvloop.Loop


def _spare_the_collector() -> None:
    """Keep the API models and the index out of every collection.

    A full collection over them stops the yard for some 50 ms, again and again; they never die.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


def _log_to_stderr() -> None:
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "event"]),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    sys.exit(main())

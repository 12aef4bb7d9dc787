"""Carry a container's output from the engine into the log sink, once, in order.

The sink knows how far it got (`position`), so a new process continues where a dead one stopped.
"""

import aiohttp

from batchyard.executors.docker.engine import Engine
from batchyard.executors.docker.frames import FrameReader
from batchyard.executors.port import AttemptSpec
from batchyard.logs.port import LogSink

_CHUNK_BYTES = 1 << 18


async def pump(
    engine: Engine, container: str, spec: AttemptSpec, *, logs: LogSink, follow: bool
) -> None:
    """Append all output not stored yet; with `follow`, until the container ends.

    Raises:
        EngineUnavailable: the stream broke; what was read is stored, call again.
        Refused: the engine no longer has the container's output.
    """
    query = {"stdout": "1", "stderr": "1", "timestamps": "1", "follow": "1" if follow else "0"}
    position = logs.position(spec.log_group, spec.log_stream)
    # One second back and on a whole second: see the invariant of `frames`. The sink drops repeats.
    since_s = position // 1_000_000_000 - 1
    if since_s > 0:
        query["since"] = str(since_s)
    reader = FrameReader()
    async with engine.stream("GET", f"/containers/{container}/logs", query=query) as content:
        await _drain(content, reader, spec=spec, logs=logs)
    # ORDER: only after a clean end; a half line of a broken stream is read again in whole.
    if not follow and (rest := reader.finish()):
        logs.append(spec.log_group, spec.log_stream, rest)


async def _drain(
    content: aiohttp.StreamReader, reader: FrameReader, *, spec: AttemptSpec, logs: LogSink
) -> None:
    while chunk := await content.read(_CHUNK_BYTES):
        if lines := reader.feed(chunk):
            logs.append(spec.log_group, spec.log_stream, lines)

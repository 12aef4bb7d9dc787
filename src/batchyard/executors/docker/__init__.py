"""Attempts as containers of a Docker Engine, or of Podman through its Docker-compatible socket.

Plain aiohttp over the Unix socket rather than aiodocker: the log pump needs the raw frames with
their timestamps, and Podman's answers differ from Docker's in places where aiodocker hides them.
Only features of Engine API 1.41 and older are used.

    sockets    where the engine listens, what its process may do
    engine     one HTTP request, one answer, one error
    body       an AttemptSpec as the body of a create request (pure)
    degrade    what is given up when the host refuses (pure)
    images     pulls, one per image however many attempts wait
    frames     the engine's log stream as lines (pure)
    pump       the log stream into the log sink
    inspected  the engine's answer about one container, as a value (pure)
    driver     the Executor
"""

from batchyard.executors.docker.driver import DockerExecutor

__all__ = ["DockerExecutor"]

"""Which executor a yard uses: the one configured, or the best that answers."""

from pathlib import Path

import structlog

from batchyard.executors.port import Executor
from batchyard.kernel.faults import EngineUnavailable
from batchyard.logs.port import LogSink
from batchyard.server.settings import Settings

log = structlog.get_logger(__name__)


async def choose_executor(
    settings: Settings, *, home: Path, yard_id: str, logs: LogSink
) -> Executor:
    """Make the executor; `auto` tries a container engine first.

    Raises:
        EngineUnavailable: an engine was asked for by name and does not answer (at `open`).
    """
    if settings.executor == "mock":
        from batchyard.executors.mock import MockExecutor

        return MockExecutor(home=home, sink=logs)
    if settings.executor in ("auto", "docker"):
        from batchyard.executors.docker import DockerExecutor

        docker = DockerExecutor(
            yard_id=yard_id, logs=logs, policy=settings.policy, socket=settings.engine_socket
        )
        if settings.executor == "docker":
            return docker
        if await _answers(docker):
            return DockerExecutor(
                yard_id=yard_id, logs=logs, policy=settings.policy, socket=settings.engine_socket
            )
    from batchyard.executors.process.executor import ProcessExecutor

    return ProcessExecutor(home=home, sink=logs, policy=settings.policy)


async def _answers(executor: Executor) -> bool:
    try:
        await executor.open(lambda observation: None)
    except EngineUnavailable as fault:
        log.warning("engine.none", reason=fault.message, hint=fault.hint, instead="process")
        return False
    await executor.close()
    return True

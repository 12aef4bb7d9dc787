"""Which executor a yard uses: the one configured, or the best that answers."""

from pathlib import Path

import structlog

from batchyard.executors.port import Executor, Failpoint, no_failpoint
from batchyard.kernel.faults import EngineUnavailable
from batchyard.logs.port import LogSink
from batchyard.server.settings import Settings, executor_name

log = structlog.get_logger(__name__)


async def choose_executor(
    settings: Settings,
    *,
    home: Path,
    yard_id: str,
    logs: LogSink,
    holding: str | None = None,
    failpoint: Failpoint = no_failpoint,
) -> Executor:
    """Make the executor; `auto` tries a container engine first.

    Args:
        holding: The executor that holds attempts of this yard from its last life, if any does.
            `auto` stays with it: another would take them for lost, and run them a second time.

    Raises:
        EngineUnavailable: an engine was asked for by name and does not answer (at `open`), or it
            holds attempts and does not answer.
    """
    wanted = settings.executor
    if holding is not None and wanted != holding:
        if wanted == "auto":
            wanted = executor_name(holding)
        else:
            log.warning("executor.changed", before=holding, now=wanted, its_attempts="lost")
    if wanted == "mock":
        from batchyard.executors.mock import MockExecutor

        return MockExecutor(home=home, sink=logs)
    if wanted in ("auto", "docker"):
        from batchyard.executors.docker import DockerExecutor

        def docker() -> Executor:
            return DockerExecutor(
                yard_id=yard_id,
                logs=logs,
                policy=settings.policy,
                socket=settings.engine_socket,
                failpoint=failpoint,
            )

        if settings.executor == "docker":
            return docker()
        silence = await _silence(docker())
        if silence is None:
            return docker()
        if wanted == "docker":
            raise EngineUnavailable(
                f"jobs of this yard run in containers, but no engine answers: {silence.message}",
                hint="Start the engine, and their true ends are found; or give those jobs up as "
                f"lost with `--executor process`. {silence.hint}",
            )
        log.warning("engine.none", reason=silence.message, hint=silence.hint, instead="process")
    from batchyard.executors.process.executor import ProcessExecutor

    return ProcessExecutor(home=home, sink=logs, policy=settings.policy, failpoint=failpoint)


async def _silence(executor: Executor) -> EngineUnavailable | None:
    """Why an engine does not answer; None when it does."""
    try:
        await executor.open(lambda observation: None)
    except EngineUnavailable as fault:
        return fault
    await executor.close()
    return None

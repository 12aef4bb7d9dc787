"""Whether the engine can know how a container ended, or makes it up because it was not there.

An engine that comes back finds a container gone and has to write something down: Docker takes the
exit code 255, or 0 where containerd has forgotten the container, and the time at which it looked.
An attempt whose end nobody saw is lost; a success that was none would let its dependents run.
"""

import asyncio
import json
import time

from batchyard.executors.docker.engine import Engine
from batchyard.executors.docker.forgotten import began_on, end_missed, forgotten
from batchyard.executors.docker.inspected import MADE_UP, Inspected, interrupted_by_reboot

LOOKS_WITHIN_MS = 60_000
"""An engine looks for its containers as it begins. What it says later it has seen, although its
memory for events, 256 of them with Docker, may not reach back that far."""


async def doubt(found: Inspected, engine: Engine, boot_ms: int) -> str | None:
    """Why nobody knows how a container ended; None: it ended as the engine says.

    Args:
        found: The container: ended, or called running although nothing of it lives.
        engine: Asked for its events where its word alone is not enough.
        boot_ms: When the machine was started, in epoch milliseconds.

    Raises:
        EngineUnavailable: no answer.
        Refused: the engine does not tell its events.
    """
    if found.state != "ended":
        return end_missed(found.container_id)
    if found.guessed:
        return forgotten(found.container_id)
    if interrupted_by_reboot(found, boot_ms):
        return f"the machine restarted while container {found.container_id[:12]} ran"
    began_ms = await asyncio.to_thread(began_on, engine.socket_path)
    if may_be_made_up(found, began_ms) and not await _saw_end(engine, found):
        return (
            f"the container engine was restarted as container {found.container_id[:12]} ended, and "
            "does not know how"
        )
    return None


def may_be_made_up(found: Inspected, began_ms: int | None) -> bool:
    """Whether an exit code looks like one that an engine makes up which `began_ms` then."""
    if began_ms is None or found.exit_code not in MADE_UP or found.started_ms >= began_ms:
        return False
    return began_ms <= found.finished_ms < began_ms + LOOKS_WITHIN_MS


async def _saw_end(engine: Engine, found: Inspected) -> bool:
    """Whether an engine remembers the end; it has its events of one life only."""
    query = {
        "since": "0",
        # In the past already: the engine answers from its memory and closes.
        "until": f"{time.time():.9f}",
        "filters": json.dumps({"container": [found.container_id], "event": ["die"]}),
    }
    async with engine.stream("GET", "/events", query=query) as told:
        return bool((await told.readline()).strip())

"""Keeps a loop alive: a defect is logged with its traceback, and the loop begins again."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from batchyard.kernel.faults import StoreUnavailable

log = structlog.get_logger(__name__)

PAUSE_S = 1.0


async def supervise(name: str, loop: Callable[[], Awaitable[None]]) -> None:
    """Run `loop` for ever. Cancellation ends it; anything else is logged and it begins again."""
    while True:
        try:
            await loop()
        except StoreUnavailable as fault:
            # No defect of the loop, so no traceback.
            log.error("loop.stopped", loop=name, reason=fault.message, hint=fault.hint)
        except Exception:
            log.exception("loop.failed", loop=name, again_in_s=PAUSE_S)
        await asyncio.sleep(PAUSE_S)

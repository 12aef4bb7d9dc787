"""Slow, periodic housekeeping: acknowledgements, dangling attempts, jobs past their keeping."""

import asyncio

import structlog

from batchyard.control.bus import Bus
from batchyard.control.port import Clock
from batchyard.control.reconcile import Reconciler
from batchyard.kernel.faults import EngineUnavailable
from batchyard.store.port import Store

log = structlog.get_logger(__name__)

FLUSH_S = 0.5
SWEEP_S = 60.0
PURGE_S = 300.0
PAUSE_S = 0.05
"""Between two portions of one purge: other writers go first."""
PORTION = 500
"""Rows one transaction purges: other writers wait for it."""
DAY_MS = 86_400_000


async def flush_acknowledgements(bus: Bus) -> None:
    """Write acknowledgements that no transaction took along."""
    while True:
        await asyncio.sleep(FLUSH_S)
        await bus.flush()


async def sweep_dangling(reconciler: Reconciler) -> None:
    """Remove from the engine what the record does not know as live."""
    while True:
        await asyncio.sleep(SWEEP_S)
        try:
            await reconciler.sweep()
        except EngineUnavailable as fault:
            log.warning("sweep.skipped", reason=fault.message)


async def purge_ended(store: Store, *, clock: Clock, keep_days: int) -> None:
    """Forget ended jobs. AWS: they stay describable for at least seven days."""
    while True:
        purged = await _purge(store, before_ms=clock() - keep_days * DAY_MS)
        await asyncio.sleep(PAUSE_S if purged else PURGE_S)


async def _purge(store: Store, *, before_ms: int) -> int:
    return await store.write(lambda tx: tx.purge(before_ms=before_ms, limit=PORTION))

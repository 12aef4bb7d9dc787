"""One yard, assembled: store, executor, control, gateway. Knows every part; holds no logic."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import structlog

from batchyard.api.handlers import batch_handlers
from batchyard.api.port import Yard as Reach
from batchyard.capacity.host import host_instance
from batchyard.control.injection import Surroundings
from batchyard.control.loops import Control
from batchyard.control.port import Failpoint, no_failpoint
from batchyard.executors.port import Executor, Probe
from batchyard.kernel.faults import EngineUnavailable
from batchyard.kernel.ids import Realm
from batchyard.logs.store import FileLogStore
from batchyard.neighbours.credentials import (
    CREDENTIALS_PATH,
    JobCredentials,
    credentials_handler,
)
from batchyard.neighbours.logs import log_handlers
from batchyard.neighbours.sts import sts_handlers
from batchyard.server.engines import choose_executor
from batchyard.server.extensions import extensions
from batchyard.server.first_start import furnish
from batchyard.server.home import ClientKey
from batchyard.server.job_ids import job_ids
from batchyard.server.keys import Keys
from batchyard.server.settings import Settings
from batchyard.store.port import AccessKey, Reader, Store
from batchyard.store.sqlite import open_store
from batchyard.wire.gateway import Gateway, ResponseHook

log = structlog.get_logger(__name__)

HELD_BY = "executor"
"""The store's note of the executor that was used last."""


def now_ms() -> int:
    return time.time_ns() // 1_000_000


class Yard(msgspec.Struct, frozen=True, kw_only=True):
    """A running yard. `gateway` is an ASGI application for HTTP requests."""

    gateway: Gateway
    keys: Keys
    control: Control
    store: Store
    probe: Probe
    yard_id: str
    endpoint: str
    loops: "asyncio.Future[None]"
    """Done before the context ends only when a defect ended them: then the server must stop."""


@asynccontextmanager
async def running(
    home: Path,
    *,
    settings: Settings,
    port: int,
    key: ClientKey,
    failpoint: Failpoint = no_failpoint,
    on_response: ResponseHook | None = None,
    executor: Executor | None = None,
) -> AsyncIterator[Yard]:
    """Open a yard in a home and run its loops; running jobs survive the end of this context.

    Args:
        port: Where the gateway will be served, for the jobs' environment.
        key: The owner's credentials; made known to the store.
        executor: Given by tests; otherwise chosen by the settings.

    Raises:
        StoreUnavailable: another server has this home open.
        EngineUnavailable: the configured engine does not answer, or ceases to.
    """
    realm = Realm(region=settings.region, account=settings.account)
    store = open_store(home, realm=realm, failpoints=failpoint)
    logs = FileLogStore(home / "logs")
    try:
        yard_id = await _identity(store, realm=realm, key=key)
        secret = store.read_now(lambda r: r.meta("yard_secret")) or ""
        jobs = JobCredentials(
            yard_secret=bytes.fromhex(secret), account=realm.account, clock=now_ms
        )
        endpoint = f"http://127.0.0.1:{port}"
        if executor is None:
            executor = await choose_executor(
                settings,
                home=home,
                yard_id=yard_id,
                logs=logs,
                holding=await store.read(_holding),
                failpoint=failpoint,
            )
            name = executor.name
            # ORDER: before it is given anything that it may hold when this server dies.
            await store.write(lambda tx: tx.put_meta(HELD_BY, name))
        host = settings.host
        control = Control(
            store=store,
            executor=executor,
            instances=[host_instance(vcpus=host.vcpus, memory_mib=host.memory_mib, gpus=host.gpus)],
            around=Surroundings(
                endpoint_url=endpoint,
                region=realm.region,
                credentials_url=endpoint + CREDENTIALS_PATH,
                token_for=jobs.token_for,
            ),
            clock=now_ms,
            keep_days=settings.keep_days,
            failpoint=failpoint,
        )
        probe = await control.open()
        # Only the key of `credentials.json` counts: deleting that file makes a new one.
        keys = Keys(_owner(store, key), jobs=jobs, account=realm.account)
        gateway = Gateway(
            handlers=batch_handlers(
                Reach(
                    bus=control.bus,
                    queries=store,
                    realm=realm,
                    new_id=job_ids(now_ms),
                    next_seq=_counter(store.read_now(lambda r: r.next_seq())),
                )
            )
            | log_handlers(logs)
            | sts_handlers(),
            extensions=extensions(
                control=control,
                store=store,
                home=home,
                executor=executor.name,
                started_at_ms=now_ms(),
            ),
            plain={CREDENTIALS_PATH: credentials_handler(jobs), "/health": health},
            keys=keys,
            region=realm.region,
            clock=now_ms,
            on_response=on_response,
        )
        ready = asyncio.Event()
        loops = asyncio.ensure_future(control.serve(ready))
        try:
            await _until(ready, loops)
            await furnish(control.bus, store)
            yield Yard(
                gateway=gateway,
                keys=keys,
                control=control,
                store=store,
                probe=probe,
                yard_id=yard_id,
                endpoint=endpoint,
                loops=loops,
            )
        finally:
            loops.cancel()
            await asyncio.wait([loops])
            ended_by = None if loops.cancelled() else loops.exception()
            # An engine that went away is told where it is raised, without a traceback.
            if ended_by is not None and not isinstance(ended_by, EngineUnavailable):
                log.critical("loops.failed", exc_info=ended_by)
    finally:
        logs.close()
        await store.close()


def _holding(reader: Reader) -> str | None:
    return reader.meta(HELD_BY) if reader.live_attempts() else None


async def health(
    method: str, headers: Mapping[str, str], query: Mapping[str, str], body: bytes
) -> tuple[int, Mapping[str, str], bytes]:
    """Unsigned: says that the yard answers, and nothing else about it."""
    return 200, {"content-type": "application/json"}, b'{"status":"ok"}'


async def _until(ready: asyncio.Event, loops: asyncio.Future[None]) -> None:
    """Wait for recovery; a failed recovery is raised here."""
    waiting: asyncio.Future[Any] = asyncio.ensure_future(ready.wait())
    await asyncio.wait([waiting, loops], return_when=asyncio.FIRST_COMPLETED)
    if not waiting.done():
        waiting.cancel()
        await loops


async def _identity(store: Store, *, realm: Realm, key: ClientKey) -> str:
    """The yard's id; at the first start its secrets are made, too."""
    known = await store.read(lambda r: r.access_key(key.access_key_id))
    if known is None or known.secret_access_key != key.secret_access_key:
        access_key = AccessKey(
            access_key_id=key.access_key_id,
            secret_access_key=key.secret_access_key,
            arn=f"arn:{realm.partition}:iam::{realm.account}:user/owner",
            created_at_ms=now_ms(),
        )
        await store.write(lambda tx: tx.put_access_key(access_key))
    if not await store.read(lambda r: r.meta("yard_secret")):
        secret = secrets.token_hex(32)
        await store.write(lambda tx: tx.put_meta("yard_secret", secret))
    return await store.read(lambda r: r.meta("yard_id")) or ""


def _owner(store: Store, key: ClientKey) -> list[AccessKey]:
    known = store.read_now(lambda r: r.access_key(key.access_key_id))
    return [known] if known is not None else []


def _counter(first: int) -> Callable[[], int]:
    """`seq` of the jobs to come. Only this process submits, so memory suffices."""
    numbers = count(first)
    return lambda: next(numbers)

"""The store on one SQLite file: opening, locking, and the connections of writer and readers."""

import asyncio
import fcntl
import os
import secrets
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, LifoQueue
from typing import TypeVar

from batchyard.kernel.faults import SchemaMismatch, StoreUnavailable
from batchyard.kernel.ids import Realm
from batchyard.store import schema
from batchyard.store.codec import Codec
from batchyard.store.listing import Listing
from batchyard.store.port import Failpoints, Reader, Transaction
from batchyard.store.reader import SqliteReader
from batchyard.store.statements import compile_statements
from batchyard.store.transaction import JOBS_CACHED, SqliteTransaction
from batchyard.store.writer import Order, Writer

T = TypeVar("T")

READ_THREADS = 4
DATABASE = "yard.db"
LOCK = "yard.lock"


def wall_clock_ms() -> int:
    return time.time_ns() // 1_000_000


def no_failpoints(_name: str, /) -> None:
    return None


def open_store(
    directory: Path,
    *,
    realm: Realm | None = None,
    clock: Callable[[], int] = wall_clock_ms,
    failpoints: Failpoints = no_failpoints,
    jobs_cached: int = JOBS_CACHED,
) -> "SqliteStore":
    """Open the store in a directory, made and brought to the newest schema where needed. Blocks.

    Args:
        directory: The data directory, for one server at a time.
        realm: Account and region. None: those the store has, or the default for a new one.
        clock: Epoch milliseconds, for the times of events.
        failpoints: Called before and after each commit.
        jobs_cached: Rows the writer remembers between commits.

    Raises:
        StoreUnavailable: another server has it open, or the directory cannot be used.
        SchemaMismatch: a newer Batchyard wrote it, or it belongs to another account or region.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = _lock(directory / LOCK)
    except OSError as error:
        raise StoreUnavailable(
            f"the data directory {directory} cannot be used: {error.strerror}",
            hint="Choose a directory this user may write to.",
        ) from error
    try:
        return SqliteStore(
            directory,
            lock=lock,
            realm=realm,
            clock=clock,
            failpoints=failpoints,
            jobs_cached=jobs_cached,
            durable=True,
        )
    except sqlite3.Error as error:
        os.close(lock)
        raise StoreUnavailable(
            f"{directory / DATABASE} cannot be opened: {error}",
            hint="Check its permissions and the disk; if the file is damaged, restore a copy.",
        ) from error
    except BaseException:
        os.close(lock)
        raise


def open_memory_store(
    *,
    realm: Realm | None = None,
    clock: Callable[[], int] = wall_clock_ms,
    failpoints: Failpoints = no_failpoints,
    jobs_cached: int = JOBS_CACHED,
) -> "SqliteStore":
    """A store that is gone when it is closed, for tests and simulations.

    # CHOSEN: a file on the memory file system instead of `:memory:`, whose connections block each
    # other; so readers and the writer behave exactly as in a yard (ADR 7).
    """
    memory = Path("/dev/shm")
    parent = memory if memory.is_dir() and os.access(memory, os.W_OK) else None
    directory = Path(tempfile.mkdtemp(prefix="batchyard-", dir=parent))
    return SqliteStore(
        directory,
        lock=_lock(directory / LOCK),
        realm=realm,
        clock=clock,
        failpoints=failpoints,
        jobs_cached=jobs_cached,
        durable=False,
    )


class SqliteStore:
    """Implements `port.Store`; made by `open_store` or `open_memory_store`."""

    def __init__(
        self,
        directory: Path,
        *,
        lock: int,
        realm: Realm | None,
        clock: Callable[[], int],
        failpoints: Failpoints,
        jobs_cached: int,
        durable: bool,
    ) -> None:
        self._directory = directory
        self._lock = lock
        self._durable = durable
        self._path = directory / DATABASE
        self._sql = compile_statements()
        self._codec = Codec()
        self._listing = Listing()
        self._closed = False
        self._idle: LifoQueue[sqlite3.Connection] = LifoQueue()
        self._connection = _connect(self._path, durable=durable)
        try:
            first = realm or Realm()
            schema.prepare(self._connection, self._path, meta=lambda: _first_meta(first, clock()))
            self.realm = self._check_realm(realm)
            transaction = SqliteTransaction(
                self._connection,
                sql=self._sql,
                codec=self._codec,
                realm=self.realm,
                clock=clock,
                jobs_cached=jobs_cached,
            )
        except BaseException:
            self._connection.close()
            raise
        self._readers = ThreadPoolExecutor(READ_THREADS, thread_name_prefix="batchyard-reader")
        self._writer = Writer(transaction, failpoints=failpoints)
        self._writer.start()

    async def write(self, fn: Callable[[Transaction], T]) -> T:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._writer.put(Order(fn, loop, future))
        return await future

    async def read(self, fn: Callable[[Reader], T]) -> T:
        self._check_open()
        return await asyncio.get_running_loop().run_in_executor(self._readers, self.read_now, fn)

    def read_now(self, fn: Callable[[Reader], T]) -> T:
        self._check_open()
        with self._snapshot() as connection:
            return fn(
                SqliteReader(
                    connection,
                    sql=self._sql,
                    listing=self._listing,
                    codec=self._codec,
                    realm=self.realm,
                )
            )

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self._readers.shutdown(wait=True)
        self._writer.close()
        while True:
            try:
                self._idle.get_nowait().close()
            except Empty:
                break
        # ORDER: last, so that closing it folds the write-ahead log into the file.
        self._connection.close()
        os.close(self._lock)
        if not self._durable:
            shutil.rmtree(self._directory)

    @contextmanager
    def _snapshot(self) -> Iterator[sqlite3.Connection]:
        try:
            connection = self._idle.get_nowait()
        except Empty:
            connection = _connect(self._path, durable=self._durable)
            connection.execute("PRAGMA query_only = ON")
        try:
            connection.execute("BEGIN")
            yield connection
        finally:
            # A half-read cursor would keep its snapshot, and the log could not be folded.
            connection.rollback()
            self._idle.put(connection)

    def _check_open(self) -> None:
        if self._closed:
            raise StoreUnavailable(
                "the store is closed", hint="The yard is stopping: try again when it is up."
            )

    def _check_realm(self, wanted: Realm | None) -> Realm:
        select = "SELECT value FROM meta WHERE key = ?"
        values = {
            name: str(self._connection.execute(select, (name,)).fetchone()[0])
            for name in ("partition", "region", "account")
        }
        realm = Realm(**values)
        if wanted is not None and wanted != realm:
            raise SchemaMismatch(
                f"{self._path} belongs to account {realm.account} in {realm.region}, "
                f"but the settings say account {wanted.account} in {wanted.region}",
                hint="Set them back, or choose another data directory: every ARN carries them.",
            )
        return realm


def _first_meta(realm: Realm, now_ms: int) -> dict[str, str]:
    return {
        "yard_id": secrets.token_hex(8),
        "created_at_ms": str(now_ms),
        "partition": realm.partition,
        "region": realm.region,
        "account": realm.account,
    }


def _connect(path: Path, *, durable: bool) -> sqlite3.Connection:
    # The secrets of access keys are inside; the log beside it inherits the mode of the file.
    os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
    connection = sqlite3.connect(
        path, isolation_level=None, check_same_thread=False, timeout=5.0, cached_statements=256
    )
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'OFF'}")
        connection.execute("PRAGMA temp_store = MEMORY")
        connection.execute("PRAGMA cache_size = -16384")
        connection.execute("PRAGMA wal_autocheckpoint = 4000")
        connection.execute("PRAGMA journal_size_limit = 67108864")
    except BaseException:
        connection.close()
        raise
    return connection


def _lock(path: Path) -> int:
    """Hold the file for this process; the system lets go of it when the process dies, however."""
    lock = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.read(lock, 32).decode(errors="replace").strip()
        os.close(lock)
        if not isinstance(error, BlockingIOError):
            raise
        raise StoreUnavailable(
            f"{path.parent} is in use by another server (process {holder or 'unknown'})",
            hint="Stop that server first, or choose another data directory.",
        ) from None
    os.ftruncate(lock, 0)
    os.write(lock, str(os.getpid()).encode())
    return lock

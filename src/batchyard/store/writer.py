"""The one thread that writes: whatever is queued becomes one commit, then the replies go out.

There is no artificial delay: while a commit waits for the disk the next group gathers by itself.
"""

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any

from batchyard.kernel.faults import StoreUnavailable
from batchyard.store.port import Failpoints
from batchyard.store.transaction import SqliteTransaction

GROUP_LIMIT = 256
"""Callables per commit: enough to hide an fsync, few enough that the first does not wait long."""


class Order:
    """A callable with the future that waits for it."""

    __slots__ = ("error", "fn", "future", "loop", "value")

    def __init__(
        self,
        fn: Callable[[SqliteTransaction], object],
        loop: asyncio.AbstractEventLoop,
        future: "asyncio.Future[Any]",
    ) -> None:
        self.fn = fn
        self.loop = loop
        self.future = future
        self.value: object = None
        self.error: BaseException | None = None

    def settle(self) -> None:
        """On the loop's own thread."""
        if self.future.done():
            return  # The caller was cancelled; what it asked for is written all the same.
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.value)


class Writer:
    """Owns the writing connection from `start` until `close` has returned."""

    def __init__(self, transaction: SqliteTransaction, *, failpoints: Failpoints) -> None:
        self._transaction = transaction
        self._connection = transaction.connection
        self._failpoints = failpoints
        self._orders: SimpleQueue[Order | None] = SimpleQueue()
        self._gate = threading.Lock()
        self._closed = False
        self._in_doubt = False
        self._thread = threading.Thread(target=self._work, name="batchyard-writer", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def put(self, order: Order) -> None:
        """Queue an order.

        Raises:
            StoreUnavailable: the store is closed.
        """
        with self._gate:
            if self._closed:
                raise StoreUnavailable(
                    "the store is closed", hint="The yard is stopping: try again when it is up."
                )
            self._orders.put(order)

    def close(self) -> None:
        """Finish what is queued, then end the thread. Blocks."""
        with self._gate:
            if not self._closed:
                self._closed = True
                self._orders.put(None)
        self._thread.join()

    def _work(self) -> None:
        while True:
            first = self._orders.get()
            if first is None:
                return
            if self._write_group(first):
                return

    def _write_group(self, first: Order) -> bool:
        """Run and commit what is queued, up to the limit; True when the end was met."""
        group = [first]
        ended = False
        try:
            if self._in_doubt:
                self._recover()
            self._connection.execute("BEGIN IMMEDIATE")
            self._run(first)
            while len(group) < GROUP_LIMIT:
                try:
                    order = self._orders.get_nowait()
                except Empty:
                    break
                if order is None:
                    ended = True
                    break
                group.append(order)
                self._run(order)
            self._transaction.flush()
            self._failpoints("store.before_commit")
            self._connection.execute("COMMIT")
        except BaseException as error:  # noqa: BLE001 # the boundary: delivered to every caller
            self._in_doubt = True
            for order in group:
                order.error = _unavailable(error)
        else:
            self._failpoints("store.after_commit")
            self._transaction.trim()
        _reply(group)
        return ended

    def _run(self, order: Order) -> None:
        try:
            order.value = order.fn(self._transaction)
            self._transaction.finish()
        except sqlite3.Error:
            # The whole transaction is in doubt, not this callable alone.
            raise
        except BaseException as error:  # noqa: BLE001 # the boundary: delivered to its caller
            self._transaction.undo()
            order.error = _deliverable(error)

    def _recover(self) -> None:
        """Back to what is on disk, before anything else is written."""
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")
        self._transaction.reload()
        self._in_doubt = False


def _reply(group: list[Order]) -> None:
    """Wake each loop once for all of its callers."""
    by_loop: dict[asyncio.AbstractEventLoop, list[Order]] = {}
    for order in group:
        by_loop.setdefault(order.loop, []).append(order)
    for loop, orders in by_loop.items():
        try:
            loop.call_soon_threadsafe(_settle, orders)
        except RuntimeError:
            # The loop is closed: nobody waits any more.
            continue


def _settle(orders: list[Order]) -> None:
    for order in orders:
        order.settle()


def _deliverable(error: BaseException) -> BaseException:
    # A future refuses StopIteration, and that would silence the rest of its group.
    if isinstance(error, StopIteration):
        return RuntimeError(f"a callable of the store raised {error!r}")
    return error


def _unavailable(error: BaseException) -> StoreUnavailable:
    fault = StoreUnavailable(
        f"the store could not write: {error}",
        hint="Nothing of this request was kept. Check free space and permissions of the data "
        "directory, then try again.",
        sqlite=getattr(error, "sqlite_errorname", ""),
    )
    fault.__cause__ = error
    return fault

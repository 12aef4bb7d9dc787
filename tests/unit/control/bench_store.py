"""Commands and a store for tests of single parts of the control layer."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from batchyard.control.port import Failpoint, no_failpoint
from batchyard.kernel import commands as cmd
from batchyard.store.sqlite import SqliteStore, open_memory_store


@asynccontextmanager
async def memory_store(failpoint: Failpoint = no_failpoint) -> AsyncIterator[SqliteStore]:
    store = open_memory_store(failpoints=failpoint)
    try:
        yield store
    finally:
        await store.close()


def create(name: str) -> cmd.CreateComputeEnvironment:
    """A command that succeeds once, and is refused the second time."""
    return cmd.CreateComputeEnvironment(
        request={"computeEnvironmentName": name, "type": "UNMANAGED"}, uuid=f"uuid-of-{name}"
    )


def names(store: SqliteStore) -> list[str]:
    return sorted(e.name for e in store.read_now(lambda r: r.compute_environments()))


class Disk:
    """A failpoint of the store: a disk that refuses while it is full."""

    def __init__(self) -> None:
        self.full = False

    def __call__(self, name: str, /) -> None:
        if self.full and name == "store.before_commit":
            raise OSError("no space left on device")

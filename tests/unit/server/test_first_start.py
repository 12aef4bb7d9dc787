"""A new yard has its environment and queue, however often its first start was cut short."""

from typing import Any

import pytest

from batchyard.control.bus import Bus
from batchyard.kernel import commands as cmd
from batchyard.kernel.environment import ComputeEnvironment, JobQueue
from batchyard.server.first_start import ENVIRONMENT, QUEUE, furnish
from batchyard.store.port import Store
from batchyard.store.sqlite import SqliteStore, open_memory_store
from batchyard.testing.virtual_time import VirtualTime, run_virtually

STEPS = 5
"""Four commands and the note that all is done."""


class Died(Exception):
    """The server was killed here."""


class Mortal:
    """A store whose server dies before its write number `at`."""

    def __init__(self, store: Store, at: int) -> None:
        self._store = store
        self._left = at

    async def write(self, fn: Any) -> Any:
        self._left -= 1
        if self._left < 0:
            raise Died
        return await self._store.write(fn)

    async def read(self, fn: Any) -> Any:
        return await self._store.read(fn)

    def read_now(self, fn: Any) -> Any:
        return self._store.read_now(fn)

    async def close(self) -> None:
        await self._store.close()


def bus(store: Store, time: VirtualTime) -> Bus:
    return Bus(store, clock=time.now_ms)


def whole(store: SqliteStore) -> tuple[ComputeEnvironment, JobQueue]:
    (environment,) = store.read_now(lambda r: r.compute_environments())
    (queue,) = store.read_now(lambda r: r.queues())
    return environment, queue


@pytest.mark.parametrize("at", range(STEPS + 1))
def test_a_start_that_was_cut_short_is_taken_up(at: int) -> None:
    async def main(time: VirtualTime) -> None:
        store = open_memory_store()
        mortal = Mortal(store, at)
        if at < STEPS:
            with pytest.raises(Died):
                await furnish(bus(mortal, time), mortal)
        else:
            await furnish(bus(mortal, time), mortal)
        await furnish(bus(store, time), store)
        environment, queue = whole(store)
        assert (environment.name, environment.status) == (ENVIRONMENT, "VALID")
        assert environment.tags == {"batchyard:capacity": "host"}
        assert (queue.name, queue.status, queue.state) == (QUEUE, "VALID", "ENABLED")
        assert queue.compute_environments == (ENVIRONMENT,)
        await store.close()

    run_virtually(main)


def test_a_queue_that_its_owner_deleted_does_not_come_back() -> None:
    async def main(time: VirtualTime) -> None:
        store = open_memory_store()
        await furnish(bus(store, time), store)
        await bus(store, time).execute(
            cmd.UpdateJobQueue(request={"jobQueue": QUEUE, "state": "DISABLED"})
        )
        queue = whole(store)[1]
        await bus(store, time).execute(cmd.SettleJobQueue(name=QUEUE, generation=queue.generation))
        await bus(store, time).execute(cmd.DeleteJobQueue(job_queue=QUEUE))
        deleting = whole(store)[1]
        await bus(store, time).execute(
            cmd.SettleJobQueue(name=QUEUE, generation=deleting.generation)
        )
        assert store.read_now(lambda r: r.queues()) == []
        await furnish(bus(store, time), store)
        assert store.read_now(lambda r: r.queues()) == []
        await store.close()

    run_virtually(main)

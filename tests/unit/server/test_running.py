"""A yard in this process: up, down, and what happens when its loops die of a defect."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from batchyard.control.port import Failpoint, no_failpoint
from batchyard.kernel.commands import CreateComputeEnvironment
from batchyard.server.home import ClientKey
from batchyard.server.settings import Settings
from batchyard.server.yard import Yard, now_ms, running
from batchyard.testing.scripted import ScriptedExecutor

KEY = ClientKey(access_key_id="AKIAOWNER", secret_access_key="secret")
DEADLINE_S = 20.0


@asynccontextmanager
async def up(home: Path, failpoint: Failpoint = no_failpoint) -> AsyncIterator[Yard]:
    executor = ScriptedExecutor(clock=now_ms)
    async with running(
        home, settings=Settings(), port=1, key=KEY, failpoint=failpoint, executor=executor
    ) as yard:
        yield yard


def test_a_yard_is_furnished_and_keeps_its_identity(tmp_path: Path) -> None:
    async def main() -> None:
        async with up(tmp_path) as first:
            queues = await first.store.read(lambda r: r.queues())
            assert [queue.name for queue in queues] == ["default"]
            assert first.keys.secret_for("AKIAOWNER", None) is not None
            assert not first.loops.done()
        assert first.loops.cancelled()
        async with up(tmp_path) as second:
            assert second.yard_id == first.yard_id
            assert len(await second.store.read(lambda r: r.queues())) == 1

    asyncio.run(main())


def test_loops_that_die_are_seen_from_outside(tmp_path: Path) -> None:
    """The server stops on it: a yard that only answers would take jobs that nobody starts."""
    broken = False

    def defect(name: str, /) -> None:
        if broken and name == "dispatch.before_acknowledge":
            raise RuntimeError("a defect")

    async def main() -> None:
        nonlocal broken
        async with up(tmp_path, defect) as yard:
            stopped = asyncio.Event()
            yard.loops.add_done_callback(lambda _: stopped.set())
            broken = True
            request: dict[str, object] = {"computeEnvironmentName": "ce", "type": "UNMANAGED"}
            await yard.control.bus.execute(CreateComputeEnvironment(request=request, uuid="u"))
            async with asyncio.timeout(DEADLINE_S):
                await stopped.wait()
            assert isinstance(yard.loops.exception(), BaseExceptionGroup)
        # What was not acknowledged is done by the next server.
        broken = False
        async with up(tmp_path) as next_yard:
            async with asyncio.timeout(DEADLINE_S):
                while await next_yard.store.read(lambda r: r.pending_effects()):  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            found = await next_yard.store.read(lambda r: r.compute_environments())
            assert {e.name: e.status for e in found}["ce"] == "VALID"

    asyncio.run(main())

"""The one door for writes: what is on disk when, and who hears of it in which order."""

import asyncio
import gc
from collections.abc import Sequence
from typing import cast

import pytest

from batchyard.control.bus import Bus, Due
from batchyard.control.port import Change
from batchyard.kernel import commands as cmd
from batchyard.kernel.effects import FollowUp, StartAttempt
from batchyard.kernel.faults import ClientFault, Conflict, InvariantBroken, StoreUnavailable
from batchyard.testing.simulated import simulated_yard
from batchyard.testing.virtual_time import VirtualTime, run_virtually
from unit.control.bench_store import Disk, create, memory_store, names


def test_a_reply_means_that_it_is_on_disk_and_heard_of() -> None:
    async def main(time: VirtualTime) -> None:
        async with memory_store() as store:
            bus = Bus(store, clock=time.now_ms)
            heard: list[tuple[str, list[str]]] = []

            def listen(changes: Sequence[Change]) -> None:
                for _, row in changes:
                    assert row is not None
                    # Whoever hears of it finds it in the store.
                    heard.append((row.name, names(store)))

            bus.listen(listen)
            await bus.execute(create("a"))
            assert heard == [("a", ["a"])]
            assert names(store) == ["a"]

    run_virtually(main)


def test_listeners_come_in_order_of_commit_and_before_the_effects() -> None:
    async def main(time: VirtualTime) -> None:
        async with memory_store() as store:
            bus = Bus(store, clock=time.now_ms)
            first: list[str] = []
            second: list[str] = []
            story: list[str] = []
            bus.listen(lambda changes: first.extend(e.key[1] for e, _ in changes))
            bus.listen(lambda changes: second.extend(e.key[1] for e, _ in changes))
            bus.listen(lambda changes: story.append("listener"))
            bus.connect(
                dispatch=lambda due: story.append("dispatch"),
                deadline=lambda job_id, attempt, deadline_ms: None,
            )
            async with asyncio.TaskGroup() as group:
                for number in range(300):
                    group.create_task(bus.execute(create(f"{number:03d}")))
            assert first == second == [f"{number:03d}" for number in range(300)]
            assert story == ["listener", "dispatch"] * 300
            recorded = store.read_now(lambda r: r.events_after(0, limit=1000))
            assert [one.event.key[1] for one in recorded] == first

    run_virtually(main)


def test_one_refused_command_does_not_spoil_the_others_of_its_batch() -> None:
    async def main(time: VirtualTime) -> None:
        async with memory_store() as store:
            bus = Bus(store, clock=time.now_ms)
            answers = await bus.execute_all([create("a"), create("a"), create("b")])
            assert isinstance(answers[1], Conflict)
            assert not isinstance(answers[0], Exception)
            assert not isinstance(answers[2], Exception)
            assert names(store) == ["a", "b"]

    run_virtually(main)


def test_a_defect_of_the_kernel_spoils_its_own_command_alone() -> None:
    async def main(time: VirtualTime) -> None:
        async with memory_store() as store:
            bus = Bus(store, clock=time.now_ms)
            # No gateway makes such a command: the kernel takes a document for granted.
            defect = cmd.CreateJobQueue(request=cast("dict[str, object]", None))
            answers = await bus.execute_all([create("a"), defect, create("b")])
            assert isinstance(answers[1], InvariantBroken)
            assert answers[1].message.startswith("CreateJobQueue could not be judged")
            assert "log" in answers[1].hint
            assert isinstance(answers[1].__cause__, Exception)
            assert names(store) == ["a", "b"]
            with pytest.raises(InvariantBroken):
                await bus.execute(defect)

    run_virtually(main)


def test_a_refused_command_raises_and_changes_nothing() -> None:
    async def main(time: VirtualTime) -> None:
        async with memory_store() as store:
            bus = Bus(store, clock=time.now_ms)
            heard: list[object] = []
            await bus.execute(create("a"))
            bus.listen(heard.extend)
            with pytest.raises(Conflict):
                await bus.execute(create("a"))
            assert heard == []
            assert len(store.read_now(lambda r: r.pending_effects())) == 1

    run_virtually(main)


def test_a_caller_that_goes_away_does_not_undo_its_command() -> None:
    async def main(time: VirtualTime) -> None:
        async with memory_store() as store:
            bus = Bus(store, clock=time.now_ms)
            heard: list[str] = []
            bus.listen(lambda changes: heard.extend(e.key[1] for e, _ in changes))
            caller = asyncio.create_task(bus.execute(create("a")))
            await asyncio.sleep(0)
            caller.cancel()
            with pytest.raises(asyncio.CancelledError):
                await caller
            await bus.drain()
            assert names(store) == ["a"]
            assert heard == ["a"]

    run_virtually(main)


def test_a_fault_whose_caller_went_away_is_nobodys_surprise() -> None:
    async def main(time: VirtualTime) -> None:
        disk = Disk()
        surprises: list[object] = []
        time.set_exception_handler(lambda loop, context: surprises.append(context))
        async with memory_store(disk) as store:
            bus = Bus(store, clock=time.now_ms)
            disk.full = True
            caller = asyncio.create_task(bus.execute(create("a")))
            await asyncio.sleep(0)
            caller.cancel()
            await asyncio.wait([caller])
            await bus.drain()
            disk.full = False
        # A fault that nobody took is told when its task goes.
        del caller, bus
        gc.collect()
        assert surprises == []

    run_virtually(main)


def test_a_full_disk_is_told_and_nothing_is_heard_of() -> None:
    async def main(time: VirtualTime) -> None:
        disk = Disk()
        async with memory_store(disk) as store:
            bus = Bus(store, clock=time.now_ms)
            heard: list[object] = []
            bus.listen(heard.extend)
            disk.full = True
            with pytest.raises(StoreUnavailable, match="no space left"):
                await bus.execute(create("a"))
            disk.full = False
            assert heard == []
            assert names(store) == []
            await bus.execute(create("a"))
            assert names(store) == ["a"]

    run_virtually(main)


class TestAcknowledgements:
    @staticmethod
    def _outbox(store: object) -> int:
        return len(store.read_now(lambda r: r.pending_effects()))  # type: ignore[attr-defined]

    def test_the_next_command_takes_them_along(self) -> None:
        async def main(time: VirtualTime) -> None:
            async with memory_store() as store:
                bus = Bus(store, clock=time.now_ms)
                dues: list[Due] = []
                bus.connect(dispatch=dues.extend, deadline=lambda *_: None)
                await bus.execute(create("a"))
                assert self._outbox(store) == 1
                assert dues[0].outbox_id is not None
                bus.acknowledge(dues[0].outbox_id)
                assert self._outbox(store) == 1
                with pytest.raises(ClientFault):
                    await bus.execute(create("a"))
                assert self._outbox(store) == 0

        run_virtually(main)

    def test_flush_writes_what_nobody_took_and_drain_does_too(self) -> None:
        async def main(time: VirtualTime) -> None:
            async with memory_store() as store:
                bus = Bus(store, clock=time.now_ms)
                dues: list[Due] = []
                bus.connect(dispatch=dues.extend, deadline=lambda *_: None)
                for name, write in (("a", bus.flush), ("b", bus.drain)):
                    await bus.execute(create(name))
                    outbox_id = dues.pop().outbox_id
                    assert outbox_id is not None
                    bus.acknowledge(outbox_id)
                    await write()
                    assert self._outbox(store) == 0

        run_virtually(main)

    def test_a_full_disk_does_not_lose_them(self) -> None:
        async def main(time: VirtualTime) -> None:
            disk = Disk()
            async with memory_store(disk) as store:
                bus = Bus(store, clock=time.now_ms)
                dues: list[Due] = []
                bus.connect(dispatch=dues.extend, deadline=lambda *_: None)
                await bus.execute(create("a"))
                outbox_id = dues[0].outbox_id
                assert outbox_id is not None
                bus.acknowledge(outbox_id)
                disk.full = True
                with pytest.raises(StoreUnavailable):
                    await bus.flush()
                disk.full = False
                assert self._outbox(store) == 1
                await bus.flush()
                assert self._outbox(store) == 0

        run_virtually(main)


def test_a_start_comes_with_all_it_needs_and_with_its_deadline() -> None:
    async def main(time: VirtualTime) -> None:
        async with simulated_yard(time) as yard:
            await yard.stop()
            dues: list[Due] = []
            deadlines: list[tuple[str, int, int]] = []
            bus = Bus(yard.store, clock=time.now_ms)
            bus.connect(dispatch=dues.extend, deadline=lambda *d: deadlines.append(d))
            array = await yard.submit(array=3, timeout_s=90)
            child = f"{array}:1"
            place = cmd.PlaceAttempt(
                job_id=child, attempt=1, compute_environment="environment", instance_id="i-1"
            )
            assert await bus.execute(place) is True
            (due,) = dues
            assert due.effect == StartAttempt(job_id=child, attempt=1)
            assert due.start is not None
            assert due.start.array_size == 3
            assert due.start.spec.timeout_s == 90
            assert due.start.job.current is not None
            assert deadlines == []
            at_ms = time.now_ms()
            await bus.execute(cmd.ReportStarted(job_id=child, attempt=1, at_ms=at_ms))
            assert deadlines == [(child, 1, at_ms + 90_000)]
            assert len(dues) == 1

    run_virtually(main)


def test_an_attempt_nobody_saw_start_has_no_deadline() -> None:
    async def main(time: VirtualTime) -> None:
        async with simulated_yard(time) as yard:
            await yard.stop()
            deadlines: list[object] = []
            dues: list[Due] = []
            bus = Bus(yard.store, clock=time.now_ms)
            bus.connect(dispatch=dues.extend, deadline=lambda *d: deadlines.append(d))
            job = await yard.submit(timeout_s=60)
            await yard.submit(depends_on=[{"jobId": job}])
            await bus.execute(
                cmd.PlaceAttempt(
                    job_id=job, attempt=1, compute_environment="environment", instance_id="i-1"
                )
            )
            ended = cmd.ReportEnded(
                job_id=job, attempt=1, at_ms=time.now_ms(), started_at_ms=time.now_ms(), exit_code=0
            )
            assert await bus.execute(ended) is True
            assert deadlines == []
            assert [type(due.effect).__name__ for due in dues] == [
                "StartAttempt",
                "RemoveAttempt",
                "FollowUp",
            ]
            assert isinstance(dues[2].effect, FollowUp)

    run_virtually(main)


def test_where_the_server_dies_before_a_write_nothing_is_lost_from_memory() -> None:
    async def main(time: VirtualTime) -> None:
        async with memory_store() as store:
            armed = False

            def fail(name: str, /) -> None:
                if armed and name == "bus.before_write":
                    raise RuntimeError(name)

            bus = Bus(store, clock=time.now_ms, failpoint=fail)
            dues: list[Due] = []
            bus.connect(dispatch=dues.extend, deadline=lambda *_: None)
            await bus.execute(create("a"))
            outbox_id = dues[0].outbox_id
            assert outbox_id is not None
            bus.acknowledge(outbox_id)
            armed = True
            with pytest.raises(RuntimeError):
                await bus.flush()
            armed = False
            await bus.flush()
            assert store.read_now(lambda r: r.pending_effects()) == []

    run_virtually(main)

"""What a start makes of what the last life left behind."""

import asyncio
from collections.abc import Iterator

import pytest

from batchyard.control.bus import Bus
from batchyard.control.observe import Observer
from batchyard.executors.port import Ended, Lost, Sighting, Started
from batchyard.store.sqlite import SqliteStore, open_memory_store
from unit.control.control_bench import NOW_MS, ControlBench, PlayedExecutor, on_loop


@pytest.fixture
def store() -> Iterator[SqliteStore]:
    store = open_memory_store()
    yield store
    asyncio.run(store.close())


async def run_one(bench: ControlBench, executor: PlayedExecutor, **members: object) -> str:
    """Submit a job and have it running; its attempt's id."""
    await bench.furnish()
    job_id = await bench.submit(**members)
    attempt_id = f"{job_id}.a1"
    await executor.asked_to("start", attempt_id)
    executor.observe(Started(attempt_id=attempt_id, at_ms=NOW_MS, handle="h"))
    await bench.job(job_id, "RUNNING")
    return job_id


class TestStops:
    @on_loop
    async def test_a_stop_the_engine_may_not_have_heard_is_said_again(
        self, store: SqliteStore
    ) -> None:
        bench = ControlBench(store)
        first, second = PlayedExecutor(), PlayedExecutor()
        async with bench.life(first):
            job_id = await run_one(bench, first)
            await bench.call("TerminateJob", jobId=job_id, reason="enough")
            await first.asked_to("stop", f"{job_id}.a1")
            await bench.settled()
        async with bench.life(second):
            await second.asked_to("stop", f"{job_id}.a1")
        assert second.asked == [("adopt", f"{job_id}.a1"), ("stop", f"{job_id}.a1")]

    @on_loop
    async def test_nobody_stops_what_nobody_asked_to_stop(self, store: SqliteStore) -> None:
        bench = ControlBench(store)
        first, second = PlayedExecutor(), PlayedExecutor()
        async with bench.life(first):
            job_id = await run_one(bench, first)
            await bench.settled()
        async with bench.life(second):
            ended = Ended(
                attempt_id=f"{job_id}.a1", at_ms=NOW_MS + 9, started_at_ms=NOW_MS, exit_code=0
            )
            second.observe(ended)
            await second.asked_to("remove", f"{job_id}.a1")
        assert ("stop", f"{job_id}.a1") not in second.asked


class TestDeadlines:
    async def _absent_for_two_minutes(self, bench: ControlBench, first: PlayedExecutor) -> str:
        async with bench.life(first):
            job_id = await run_one(bench, first, timeout={"attemptDurationSeconds": 60})
        bench.now_ms += 120_000
        return job_id

    @on_loop
    async def test_an_attempt_that_ended_in_time_is_not_timed_out_for_our_absence(
        self, store: SqliteStore
    ) -> None:
        bench = ControlBench(store)
        job_id = await self._absent_for_two_minutes(bench, PlayedExecutor())
        attempt_id = f"{job_id}.a1"
        second = PlayedExecutor(Sighting(attempt_id=attempt_id, handle="h", state="ended"))
        async with bench.life(second):
            second.observe(
                Ended(attempt_id=attempt_id, at_ms=NOW_MS + 5000, started_at_ms=NOW_MS, exit_code=0)
            )
            job = await bench.job(job_id, "SUCCEEDED")
        assert job.stopped_at_ms == NOW_MS + 5000

    @on_loop
    async def test_one_that_still_runs_is_timed_out_at_once(self, store: SqliteStore) -> None:
        bench = ControlBench(store)
        job_id = await self._absent_for_two_minutes(bench, PlayedExecutor())
        attempt_id = f"{job_id}.a1"
        second = PlayedExecutor(Sighting(attempt_id=attempt_id, handle="h", state="running"))
        async with bench.life(second):
            await second.asked_to("stop", attempt_id)


class TestFollowUps:
    @on_loop
    async def test_a_store_that_fails_once_does_not_cost_a_follow_up(self) -> None:
        failing = False

        def arm(name: str, /) -> None:
            nonlocal failing
            failing = failing or name == "dispatch.before_follow_up"

        def fail_once(name: str, /) -> None:
            nonlocal failing
            if failing and name == "store.before_commit" and dependents:
                failing = False
                dependents.clear()
                raise OSError("the disk is full")

        dependents: list[str] = []
        store = open_memory_store(failpoints=fail_once)
        bench = ControlBench(store, failpoint=arm)
        executor = PlayedExecutor()
        async with bench.life(executor):
            first = await run_one(bench, executor)
            second = await bench.submit(dependsOn=[{"jobId": first}])
            await bench.settled()
            failing = False
            dependents.append(second)
            executor.observe(
                Ended(attempt_id=f"{first}.a1", at_ms=NOW_MS + 1, started_at_ms=NOW_MS, exit_code=0)
            )
            await executor.asked_to("start", f"{second}.a1")
        assert not dependents, "the store has not failed: this proves nothing"
        await store.close()


@on_loop
async def test_what_waits_for_a_report_comes_after_it(store: SqliteStore) -> None:
    """A failed start may leave nothing behind: only its report, once on disk, ends the effect."""
    story: list[str] = []
    observer = Observer(Bus(store, clock=lambda: NOW_MS), failpoint=story.append)
    done = asyncio.Event()
    observer.observe(Lost(attempt_id="00000000-0000-4000-8000-000000000001.a1", at_ms=1, detail=""))
    observer.once_recorded(lambda: story.append("done"))
    observer.once_recorded(done.set)
    serving = asyncio.ensure_future(observer.serve())
    async with asyncio.timeout(20):
        await done.wait()
    serving.cancel()
    assert story == ["observe.before_report", "observe.after_report", "done"]

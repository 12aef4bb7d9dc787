"""Effects reach the engine: in order per attempt, until it answers, and no oftener than needed."""

import asyncio
from collections.abc import Callable

import pytest

from batchyard.control.bus import Bus, Due
from batchyard.control.dispatch import AT_ONCE, HURRY_S, PATIENCE_S, Dispatcher
from batchyard.control.injection import Surroundings
from batchyard.executors.port import AttemptSpec, StartFailed
from batchyard.kernel import commands as cmd
from batchyard.kernel.effects import FollowUp, RemoveAttempt, StartAttempt, StopAttempt
from batchyard.kernel.faults import ClientFault, SpecRejected
from batchyard.kernel.ids import attempt_id
from batchyard.testing.scripted import ScriptedExecutor
from batchyard.testing.simulated import SimulatedYard, simulated_yard
from batchyard.testing.virtual_time import PatientStore, VirtualTime, run_virtually
from unit.control.bench_store import create

AROUND = Surroundings(
    endpoint_url="http://127.0.0.1:1",
    region="us-east-1",
    credentials_url="http://127.0.0.1:1/c",
    token_for=lambda attempt, role: "token",
)


class Troubled(ScriptedExecutor):
    """Starts go through `trouble` first, which may wait or raise."""

    def __init__(self, *, clock: Callable[[], int]) -> None:
        super().__init__(clock=clock)
        self.trouble: list[Exception | asyncio.Event] = []
        self.under_way = 0
        self.most = 0
        self.stop_raises: list[Exception] = []

    async def stop(self, attempt_id: str, *, grace_s: float = 30.0) -> None:
        if self.stop_raises:
            raise self.stop_raises.pop()
        await super().stop(attempt_id, grace_s=grace_s)

    async def start(self, spec: AttemptSpec) -> None:
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            if self.trouble:
                trouble = self.trouble[0]
                if isinstance(trouble, Exception):
                    self.trouble.pop(0)
                    raise trouble
                await trouble.wait()
            await super().start(spec)
        finally:
            self.under_way -= 1


class Bench:
    """A dispatcher of its own on the store of a yard whose server has stopped."""

    def __init__(self, yard: SimulatedYard, time: VirtualTime) -> None:
        self.yard = yard
        self.executor = Troubled(clock=time.now_ms)
        self.reports: list[StartFailed] = []
        self.recorded: list[Callable[[], None]] = []
        store = PatientStore(yard.store, time)
        self.bus = Bus(store, clock=time.now_ms)
        self.dispatcher = Dispatcher(
            bus=self.bus,
            store=store,
            executor=self.executor,
            around=AROUND,
            clock=time.now_ms,
            report=self.reports.append,
            once_recorded=lambda act: act(),
        )
        self.dues: list[Due] = []
        self.bus.connect(dispatch=self.dues.extend, deadline=lambda *_: None)

    async def placed(self) -> tuple[str, Due]:
        """A job in STARTING, and the start that is due."""
        job = await self.yard.submit()
        await self.bus.execute(
            cmd.PlaceAttempt(
                job_id=job, attempt=1, compute_environment="environment", instance_id="i-1"
            )
        )
        return job, self.dues.pop()

    async def flushed(self) -> int:
        await self.bus.flush()
        return await self.yard.effects()


def on_a_bench(test: Callable[[Bench], object]) -> Callable[[], None]:
    def run() -> None:
        async def main(time: VirtualTime) -> None:
            async with simulated_yard(time) as yard:
                await yard.rest(1)
                await yard.stop()
                bench = Bench(yard, time)
                async with asyncio.TaskGroup() as group:
                    bench.dispatcher.open(group)
                    work = test(bench)
                    assert asyncio.iscoroutine(work)
                    await work

        run_virtually(main)

    run.__name__ = getattr(test, "__name__", "test")
    return run


@on_a_bench
async def test_a_start_before_its_stop_and_its_removal(bench: Bench) -> None:
    job, start = await bench.placed()
    gate = asyncio.Event()
    bench.executor.trouble.append(gate)
    stop = Due(outbox_id=None, effect=StopAttempt(job_id=job, attempt=1))
    remove = Due(outbox_id=None, effect=RemoveAttempt(job_id=job, attempt=1))
    bench.dispatcher.submit([start])
    bench.dispatcher.submit([stop, remove])
    other, other_start = await bench.placed()
    await bench.yard.rest(HURRY_S[0] / 2)
    assert bench.executor.calls == []
    bench.executor.trouble.clear()
    bench.dispatcher.submit([other_start])
    await bench.yard.rest()
    # Another attempt does not wait behind this one.
    assert bench.executor.calls == [("start", attempt_id(other, 1))]
    gate.set()
    await bench.yard.rest()
    name = attempt_id(job, 1)
    assert bench.executor.calls[1:] == [("start", name), ("stop", name), ("remove", name)]


@on_a_bench
async def test_a_start_that_takes_long_is_told_of_its_stop(bench: Bench) -> None:
    """A pull of an image may take an hour; whoever terminates the job must not wait for it."""
    job, start = await bench.placed()
    name = attempt_id(job, 1)
    pulled = asyncio.Event()
    bench.executor.trouble.append(pulled)
    bench.dispatcher.submit([start])
    bench.dispatcher.submit([Due(outbox_id=None, effect=StopAttempt(job_id=job, attempt=1))])
    bench.executor.unavailable(times=1)  # the first word is lost
    await bench.yard.rest(HURRY_S[0] + 0.1)
    assert bench.executor.calls == []
    await bench.yard.rest(HURRY_S[1])
    assert bench.executor.calls == [("stop", name)]
    await bench.yard.rest(HURRY_S[2])
    assert bench.executor.calls == [("stop", name)] * 2
    pulled.set()
    await bench.yard.rest()
    # In its turn it comes once more, for a start that was deaf.
    assert bench.executor.calls == [("stop", name)] * 2 + [("start", name), ("stop", name)]


@on_a_bench
async def test_a_defect_met_while_hurrying_leaves_the_stop_its_turn(bench: Bench) -> None:
    job, start = await bench.placed()
    pulled = asyncio.Event()
    bench.executor.trouble.append(pulled)
    bench.executor.stop_raises = [KeyError("defect")]
    bench.dispatcher.submit([start])
    bench.dispatcher.submit([Due(outbox_id=None, effect=StopAttempt(job_id=job, attempt=1))])
    await bench.yard.rest(HURRY_S[0] + 0.1)
    assert bench.executor.stop_raises == []
    pulled.set()
    await bench.yard.rest()
    assert [verb for verb, _ in bench.executor.calls] == ["start", "stop"]


@on_a_bench
async def test_an_engine_that_is_away_is_asked_again_and_fails_no_job(bench: Bench) -> None:
    job, start = await bench.placed()
    bench.executor.unavailable(times=len(PATIENCE_S) + 2)
    bench.dispatcher.submit([start])
    await bench.yard.rest(sum(PATIENCE_S))
    assert bench.executor.calls == []
    assert bench.dispatcher.held_up[attempt_id(job, 1)].hint
    assert await bench.flushed() == 1
    await bench.yard.rest(2 * PATIENCE_S[-1] + 1)
    assert bench.executor.calls == [("start", attempt_id(job, 1))]
    assert bench.dispatcher.held_up == {}
    assert await bench.flushed() == 0
    assert bench.reports == []
    assert (await bench.yard.job(job)).status == "STARTING"


@on_a_bench
async def test_an_answer_that_was_lost_makes_no_second_attempt(bench: Bench) -> None:
    job, start = await bench.placed()
    bench.executor.unavailable(times=1, done=True)
    bench.dispatcher.submit([start])
    await bench.yard.rest(1)
    assert bench.executor.count("start", attempt_id(job, 1)) == 2
    assert bench.executor.began[attempt_id(job, 1)] == 1


@on_a_bench
async def test_an_attempt_that_ended_meanwhile_is_not_started_once_more(bench: Bench) -> None:
    """Its answer was lost, it ended, was swept away; the second try must not begin it again."""
    job, start = await bench.placed()
    name = attempt_id(job, 1)
    bench.executor.unavailable(times=1, done=True)
    bench.dispatcher.submit([start])
    await bench.executor.until(lambda: name in bench.executor.held, what="the start")
    now_ms = bench.yard.time.now_ms()
    ended = cmd.ReportEnded(job_id=job, attempt=1, at_ms=now_ms, started_at_ms=now_ms, exit_code=0)
    assert await bench.bus.execute(ended) is True
    await bench.executor.remove(name)
    await bench.yard.rest(60)
    assert bench.executor.began[name] == 1
    assert bench.executor.held == {}


@on_a_bench
async def test_a_rejected_spec_is_a_failed_start(bench: Bench) -> None:
    job, start = await bench.placed()
    bench.executor.trouble.append(SpecRejected("no such device"))
    bench.dispatcher.submit([start])
    await bench.yard.rest()
    (report,) = bench.reports
    assert report.attempt_id == attempt_id(job, 1)
    assert report.reason == "CannotStartContainerError: no such device"
    assert report.at_ms <= bench.yard.time.now_ms()
    assert await bench.flushed() == 0
    assert bench.executor.calls == []


@on_a_bench
async def test_a_drivers_defect_is_logged_and_tried_again(bench: Bench) -> None:
    job, start = await bench.placed()
    bench.executor.trouble += [KeyError("defect"), RuntimeError("defect")]
    bench.dispatcher.submit([start])
    await bench.yard.rest(PATIENCE_S[0] + PATIENCE_S[1] + 0.1)
    assert bench.executor.calls == [("start", attempt_id(job, 1))]
    assert await bench.flushed() == 0


@on_a_bench
async def test_a_stale_start_is_done_without_starting_anything(bench: Bench) -> None:
    job, _ = await bench.placed()
    now_ms = bench.yard.time.now_ms()
    failed = cmd.ReportStartFailed(job_id=job, attempt=1, at_ms=now_ms, reason="cannot")
    await bench.bus.execute(failed)
    for number, name in ((1, job), (2, job), (1, "00000000-0000-4000-8000-ffffffffffff")):
        effect = StartAttempt(job_id=name, attempt=number)
        bench.dispatcher.submit([Due(outbox_id=None, effect=effect)])
    stop = StopAttempt(job_id=job, attempt=1)
    bench.dispatcher.submit([Due(outbox_id=None, effect=stop)])
    await bench.yard.rest()
    # The stop goes to the engine all the same, which knows of nothing to stop.
    assert bench.executor.calls == [("stop", attempt_id(job, 1))]
    assert bench.reports == []
    assert bench.executor.held == {}


@on_a_bench
async def test_no_more_starts_are_under_way_than_there_are_slots(bench: Bench) -> None:
    gate = asyncio.Event()
    bench.executor.trouble.append(gate)
    starts = [(await bench.placed())[1] for _ in range(AT_ONCE + 5)]
    bench.dispatcher.submit(starts)
    await bench.yard.rest()
    assert bench.executor.under_way == AT_ONCE
    gate.set()
    await bench.yard.rest()
    assert bench.executor.most == AT_ONCE
    assert len(bench.executor.held) == AT_ONCE + 5


@on_a_bench
async def test_a_follow_up_waits_for_no_engine(bench: Bench) -> None:
    gate = asyncio.Event()
    bench.executor.trouble.append(gate)
    bench.dispatcher.submit([(await bench.placed())[1] for _ in range(AT_ONCE)])
    job, _ = await bench.placed()
    bench.dispatcher.submit([follow_up(cmd.TerminateJob(job_id=job, reason="enough"))])
    await bench.yard.rest()
    stopped = (await bench.yard.job(job)).stop
    gate.set()
    assert stopped is not None
    assert stopped.reason == "enough"


@on_a_bench
async def test_a_refused_follow_up_is_let_go_with_a_word(bench: Bench) -> None:
    await bench.bus.execute(create("other"))
    (settle,) = bench.dues
    refused = cmd.DeleteJobQueue(job_queue="q")
    with pytest.raises(ClientFault):
        await bench.bus.execute(refused)
    bench.dispatcher.submit([Due(outbox_id=settle.outbox_id, effect=FollowUp(command=refused))])
    await bench.yard.rest()
    assert await bench.flushed() == 0


def test_before_it_is_open_and_after_it_is_over_effects_stay_in_the_outbox() -> None:
    async def main(time: VirtualTime) -> None:
        async with simulated_yard(time) as yard:
            await yard.rest(1)
            await yard.stop()
            bench = Bench(yard, time)
            _, start = await bench.placed()
            bench.dispatcher.submit([start])
            async with asyncio.TaskGroup() as group:
                bench.dispatcher.open(group)
            # The yard has stopped; a command of its last moment commits.
            bench.dispatcher.submit([start, follow_up(cmd.CancelJob(job_id="x", reason="y"))])
            await yard.rest()
            assert bench.executor.calls == []
            assert await bench.flushed() == 1

    run_virtually(main)


def follow_up(command: cmd.Command) -> Due:
    return Due(outbox_id=None, effect=FollowUp(command=command))


def test_a_command_of_the_last_moment_is_answered_while_the_yard_stops() -> None:
    """Its effect finds no group any more; its caller must hear that it was done."""

    async def main(time: VirtualTime) -> None:
        async with simulated_yard(time) as yard:
            await yard.stop()
            await yard.environment("late")
            assert await yard.effects() >= 1
            await yard.start()
            await yard.rest(1)
            found = await yard.store.read(lambda r: r.compute_environments())
            assert {e.name: e.status for e in found}["late"] == "VALID"

    run_virtually(main)


@pytest.mark.parametrize("exit_code", [0, 1])
def test_a_terminated_job_that_was_starting_ends_with_the_callers_reason(exit_code: int) -> None:
    async def main(time: VirtualTime) -> None:
        async with simulated_yard(time) as yard:
            job = await yard.submit(attempts=3)
            name = attempt_id(job, 1)
            await yard.executor.until(lambda: name in yard.executor.held, what="the start")
            if exit_code:
                yard.executor.run(name)
            await yard.do(cmd.TerminateJob(job_id=job, reason="not needed any more"))
            await yard.rest()
            row = await yard.job(job)
            assert (row.status, row.status_reason) == ("FAILED", "not needed any more")
            assert len(row.attempts) == 1
            assert row.terminated
            assert yard.executor.held == {}

    run_virtually(main)

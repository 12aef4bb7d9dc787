"""Passes: what wakes them, what happens to a plan that came too late, and what a head job says."""

from collections.abc import Callable

import pytest

from batchyard.control.bus import Bus
from batchyard.control.scheduling import WINDOW
from batchyard.kernel import commands as cmd
from batchyard.kernel import ranges as rg
from batchyard.kernel.events import Explained
from batchyard.kernel.faults import StoreUnavailable
from batchyard.kernel.ids import attempt_id, child_id
from batchyard.kernel.resources import Shape
from batchyard.testing.simulated import ENVIRONMENT, SimulatedYard, simulated_yard
from batchyard.testing.virtual_time import VirtualTime, run_virtually
from unit.control.bench_store import Disk

INVALID = "ACTION_REQUIRED - CE(s) associated with the job queue are invalid."
REQUIREMENT = "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT"


class Interference:
    """A failpoint: what is given to it happens between a plan and its commit."""

    def __init__(self) -> None:
        self.between: Callable[[], None] | None = None

    def __call__(self, name: str, /) -> None:
        if name == "scheduling.after_plan" and self.between is not None:
            between, self.between = self.between, None
            between()


def hand_in(bus: Bus, command: cmd.Command) -> None:
    """Have a command executed ahead of whatever comes next; nobody waits for its reply."""
    caller = bus.execute(command)
    caller.send(None)
    caller.close()


def environment_state(state: str) -> cmd.UpdateComputeEnvironment:
    return cmd.UpdateComputeEnvironment(request={"computeEnvironment": ENVIRONMENT, "state": state})


def free_vcpus(yard: SimulatedYard) -> float:
    (use,) = yard.control.index.occupancy.uses().values()
    return use.free.vcpu_milli / 1000


async def reason(yard: SimulatedYard, job_id: str) -> str | None:
    return (await yard.job(job_id)).status_reason


class TestWaking:
    def test_a_window_that_ran_out_is_followed_by_another_pass(self) -> None:
        async def main(time: VirtualTime) -> None:
            async with simulated_yard(time, vcpus=3 * WINDOW, memory_mib=9999) as yard:
                await yard.stop()
                jobs = [await yard.submit() for _ in range(2 * WINDOW + 3)]
                record = await yard.control.scheduling.run_pass()
                assert record.placed == WINDOW
                await yard.start()
                await yard.rest()
                assert len(yard.executor.held) == len(jobs)

        run_virtually(main)

    def test_room_that_comes_free_is_given_to_the_next_in_line(self) -> None:
        async def main(time: VirtualTime) -> None:
            async with simulated_yard(time, vcpus=1) as yard:
                jobs = [await yard.submit() for _ in range(3)]
                for job in jobs:
                    await yard.executor.begins(attempt_id(job, 1))
                    await yard.rest()
                    assert len(yard.executor.held) == 1
                    yard.executor.ends(attempt_id(job, 1), 0)
                await yard.rest()
                assert [(await yard.job(job)).status for job in jobs] == ["SUCCEEDED"] * 3

        run_virtually(main)

    def test_nothing_to_do_leaves_no_record(self) -> None:
        async def main(time: VirtualTime) -> None:
            async with simulated_yard(time) as yard:
                await yard.rest(100)
                assert list(yard.control.scheduling.passes) == []
                await yard.submit()
                await yard.rest()
                (record,) = yard.control.scheduling.passes
                assert (record.placed, record.stale, record.refusals) == (1, 0, ())
                assert record.duration_us >= 0

        run_virtually(main)


class TestStalePlans:
    def test_a_job_that_ended_meanwhile_is_not_put_back(self) -> None:
        async def main(time: VirtualTime) -> None:
            meanwhile = Interference()
            async with simulated_yard(time, failpoint=meanwhile) as yard:
                await yard.stop()
                job, other = await yard.submit(vcpus=3), await yard.submit()
                bus = yard.control.bus
                meanwhile.between = lambda: hand_in(bus, cmd.CancelJob(job_id=job, reason="no"))
                record = await yard.control.scheduling.run_pass()
                assert (record.placed, record.stale) == (1, 1)
                assert (await yard.job(job)).status == "FAILED"
                assert (await yard.job(other)).status == "STARTING"
                assert free_vcpus(yard) == 3
                assert len(yard.control.index.line("q")) == 0

        run_virtually(main)

    def test_a_job_that_still_waits_goes_back_to_its_place(self) -> None:
        async def main(time: VirtualTime) -> None:
            meanwhile = Interference()
            async with simulated_yard(time, failpoint=meanwhile) as yard:
                await yard.stop()
                jobs = [await yard.submit(vcpus=2) for _ in range(2)]
                bus = yard.control.bus
                meanwhile.between = lambda: hand_in(bus, environment_state("DISABLED"))
                record = await yard.control.scheduling.run_pass()
                assert (record.placed, record.stale) == (0, 2)
                assert free_vcpus(yard) == 4
                heads = yard.control.index.line("q").heads(9)
                assert [head.job_id for head in heads] == jobs
                await yard.do(environment_state("ENABLED"))
                assert (await yard.control.scheduling.run_pass()).placed == 2
                assert free_vcpus(yard) == 0

        run_virtually(main)

    def test_children_of_an_array_go_back_with_and_without_rows(self) -> None:
        async def main(time: VirtualTime) -> None:
            meanwhile = Interference()
            async with simulated_yard(time, failpoint=meanwhile) as yard:
                array = await yard.submit(array=4, attempts=2)
                first = child_id(array, 0)
                await yard.executor.begins(attempt_id(first, 1))
                await yard.executor.begins(attempt_id(child_id(array, 1), 1))
                await yard.do(environment_state("DISABLED"))
                yard.executor.ends(attempt_id(first, 1), 1)
                for index in (1, 2, 3):
                    await yard.executor.begins(attempt_id(child_id(array, index), 1))
                    yard.executor.ends(attempt_id(child_id(array, index), 1), 0)
                later = await yard.submit(array=3)
                await yard.rest()
                await yard.stop()
                await yard.do(environment_state("ENABLED"))
                bus = yard.control.bus
                meanwhile.between = lambda: hand_in(bus, environment_state("DISABLED"))
                record = await yard.control.scheduling.run_pass()
                assert (record.placed, record.stale) == (0, 4)
                assert free_vcpus(yard) == 4
                heads = yard.control.index.line("q").heads(9)
                assert [(head.job_id, head.attempt) for head in heads] == [
                    (first, 2),
                    *((child_id(later, index), 1) for index in range(3)),
                ]
                state = (await yard.job(later)).array
                assert state is not None
                assert state.ready == rg.span(0, 3)

        run_virtually(main)

    def test_a_child_whose_array_was_cancelled_meanwhile_never_starts(self) -> None:
        async def main(time: VirtualTime) -> None:
            meanwhile = Interference()
            async with simulated_yard(time, failpoint=meanwhile) as yard:
                await yard.stop()
                array = await yard.submit(array=3)
                bus = yard.control.bus
                meanwhile.between = lambda: hand_in(bus, cmd.CancelJob(job_id=array, reason="no"))
                record = await yard.control.scheduling.run_pass()
                assert record.placed == 0
                assert free_vcpus(yard) == 4
                await yard.start()
                await yard.rest()
                assert (await yard.job(array)).status == "FAILED"
                assert yard.executor.calls == [("list", "")] * 2

        run_virtually(main)


class TestFullDisk:
    def test_a_pass_that_could_not_be_recorded_leaves_everything_as_it_was(self) -> None:
        async def main(time: VirtualTime) -> None:
            disk = Disk()
            async with simulated_yard(time, store_failpoint=disk) as yard:
                await yard.rest(1)
                await yard.stop()
                jobs = [await yard.submit(vcpus=2) for _ in range(2)]
                array = await yard.submit(array=2)
                disk.full = True
                with pytest.raises(StoreUnavailable):
                    await yard.control.scheduling.run_pass()
                disk.full = False
                assert free_vcpus(yard) == 4
                heads = [head.job_id for head in yard.control.index.line("q").heads(9)]
                assert heads == [*jobs, child_id(array, 0), child_id(array, 1)]

        run_virtually(main)

    def test_it_is_made_again_though_nothing_else_happens(self) -> None:
        async def main(time: VirtualTime) -> None:
            disk = Disk()
            fill = Interference()
            async with simulated_yard(time, failpoint=fill, store_failpoint=disk) as yard:

                def full() -> None:
                    disk.full = True

                fill.between = full
                job = await yard.submit()
                await yard.rest(20)
                assert (await yard.job(job)).status == "RUNNABLE"
                disk.full = False
                await yard.rest(3)
                assert (await yard.job(job)).status == "STARTING"

        run_virtually(main)


class TestReasons:
    def test_the_head_of_a_blocked_queue_says_why_and_then_the_next(self) -> None:
        async def main(time: VirtualTime) -> None:
            async with simulated_yard(time) as yard:
                first = await yard.submit(memory_mib=999_999)
                second = await yard.submit(vcpus=99)
                await yard.rest()
                said = await reason(yard, first)
                assert said is not None
                assert said.startswith(REQUIREMENT)
                assert await reason(yard, second) is None
                await yard.do(cmd.TerminateJob(job_id=first, reason="too large"))
                await yard.rest()
                assert await reason(yard, first) == "too large"
                said = await reason(yard, second)
                assert said is not None
                assert said.startswith(REQUIREMENT)

        run_virtually(main)

    def test_it_says_so_no_more_when_it_only_waits(self) -> None:
        async def main(time: VirtualTime) -> None:
            async with simulated_yard(time) as yard:
                busy, job = await yard.submit(vcpus=4), await yard.submit()
                await yard.executor.begins(attempt_id(busy, 1))
                await yard.rest()
                assert await reason(yard, job) is None
                await yard.do(environment_state("DISABLED"))
                await yard.rest()
                assert await reason(yard, job) == INVALID
                await yard.do(environment_state("ENABLED"))
                await yard.rest()
                row = await yard.job(job)
                assert (row.status, row.status_reason) == ("RUNNABLE", None)

        run_virtually(main)

    @pytest.mark.parametrize("array", [None, 3])
    def test_it_says_so_no_more_on_a_machine_that_has_grown(self, array: int | None) -> None:
        async def main(time: VirtualTime) -> None:
            async with simulated_yard(time) as yard:
                busy, job = await yard.submit(vcpus=4), await yard.submit(vcpus=6, array=array)
                await yard.executor.begins(attempt_id(busy, 1))
                await yard.rest(1)
                assert await reason(yard, job) is not None
                await yard.kill()
                yard.total = Shape(vcpu_milli=8000, memory_mib=4096)
                await yard.start()
                await yard.rest()
                # It waits for the busy one now.
                assert await reason(yard, job) is None
                yard.executor.ends(attempt_id(busy, 1), 0)
                await yard.executor.begins(attempt_id(job if array is None else f"{job}:0", 1))

        run_virtually(main)

    def test_an_array_speaks_for_children_without_rows_and_a_retry_for_itself(self) -> None:
        async def main(time: VirtualTime) -> None:
            async with simulated_yard(time, vcpus=1) as yard:
                array = await yard.submit(array=2, attempts=2)
                child = child_id(array, 0)
                await yard.executor.begins(attempt_id(child, 1))
                await yard.do(environment_state("DISABLED"))
                await yard.rest()
                assert (await yard.job(array)).status == "PENDING"
                assert await reason(yard, array) == INVALID
                yard.executor.ends(attempt_id(child, 1), 1)
                await yard.rest()
                # The retry stands before its sibling, and it has a row.
                assert await reason(yard, child) == INVALID
                assert await reason(yard, array) is None

        run_virtually(main)

    def test_what_a_queue_said_stands_while_others_keep_the_pass_busy(self) -> None:
        async def main(time: VirtualTime) -> None:
            async with simulated_yard(time, vcpus=4 * WINDOW, memory_mib=9999) as yard:
                await yard.queue("urgent", priority=9)
                blocked = await yard.submit(memory_mib=999_999)
                await yard.rest()
                await yard.stop()
                for _ in range(2 * WINDOW + 1):
                    await yard.submit(queue="urgent")
                await yard.start()
                await yard.rest()
                assert len(yard.executor.held) == 2 * WINDOW + 1
                story = await yard.store.read(lambda r: r.events_of("job", blocked))
                assert sum(isinstance(one.event, Explained) for one in story) == 1

        run_virtually(main)

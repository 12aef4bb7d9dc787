"""`status`, `explain`, `passes` and `events` on a simulated yard of 4 vCPUs and 4096 MiB."""

from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import Any

import pytest

from batchyard.executors.port import Doing
from batchyard.kernel import commands as cmd
from batchyard.kernel.faults import InvalidRequest, NotFound
from batchyard.kernel.ids import attempt_id, child_id
from batchyard.server.extensions import extensions
from batchyard.testing.simulated import SimulatedYard, simulated_yard
from batchyard.testing.virtual_time import START_MS, VirtualTime, run_virtually
from batchyard.wire.gateway import RequestContext

CONTEXT = RequestContext(
    request_id="r-1",
    service="batchyard",
    operation="",
    access_key_id="",
    principal_arn="",
    account="",
    region="",
    user_agent="",
)


class Asked:
    """A yard and its answers."""

    def __init__(self, yard: SimulatedYard) -> None:
        self.yard = yard

    async def ask(self, name: str, **params: Any) -> Mapping[str, Any]:
        handlers = extensions(
            control=self.yard.control,
            store=self.yard.store,
            home=Path("/home/of/yard"),
            executor="scripted",
            started_at_ms=START_MS,
        )
        answer: Mapping[str, Any] = await handlers[name](CONTEXT, params)
        return answer

    async def why(self, job_id: str) -> str:
        """The sentence of `explain`."""
        await self.yard.rest()
        return str((await self.ask("explain", jobId=job_id))["sentence"])

    async def busy(self) -> str:
        """A job that holds the whole machine."""
        job = await self.yard.submit(vcpus=4)
        await self.yard.executor.begins(attempt_id(job, 1))
        await self.yard.rest()
        return job


def on_a_yard(test: Any) -> Any:
    """Run `test(asked)` or `test(self, asked)` on virtual time."""

    def run(*self: Any) -> None:
        async def main(time: VirtualTime) -> None:
            async with simulated_yard(time) as yard:
                work: Coroutine[Any, Any, None] = test(*self, Asked(yard))
                await work

        run_virtually(main)

    run.__name__ = test.__name__
    return run


class TestExplain:
    @on_a_yard
    async def test_a_job_that_never_fits_is_told_both_numbers(self, asked: Asked) -> None:
        job = await asked.yard.submit(memory_mib=50_000)
        await asked.yard.rest()
        answer = await asked.ask("explain", jobId=job)
        assert answer["status"] == "RUNNABLE"
        assert "asks for 50000 MiB of memory" in answer["sentence"]
        assert "has 4096 MiB" in answer["sentence"]
        assert answer["statusReason"].startswith("MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT")
        assert answer["fix"]
        (verdict,) = answer["verdicts"]
        assert (verdict["verdict"], verdict["code"], verdict["order"]) == ("never", "MEMORY", 1)
        assert verdict["computeEnvironment"] == "environment"

    @on_a_yard
    async def test_one_that_waits_for_room_is_told_what_is_free(self, asked: Asked) -> None:
        await asked.busy()
        job = await asked.yard.submit(vcpus=2)
        assert "asks for 2 vCPUs; 0 vCPUs of 4 vCPUs are free" in await asked.why(job)
        assert (await asked.ask("explain", jobId=job))["statusReason"] is None

    @on_a_yard
    async def test_one_in_line_is_told_how_many_stand_before_it(self, asked: Asked) -> None:
        await asked.busy()
        first = await asked.yard.submit(vcpus=3)
        second = await asked.yard.submit()
        third = await asked.yard.submit()
        assert f"behind 1 other job in queue q; the first of them is {first}" in await asked.why(
            second
        )
        told = await asked.why(third)
        assert f"behind 2 other jobs in queue q; the first of them is {first}" in told
        assert "That one asks for 3 vCPUs; 0 vCPUs of 4 vCPUs are free" in told

    @on_a_yard
    async def test_children_stand_in_line_by_index_and_retries_before_all(
        self, asked: Asked
    ) -> None:
        busy = await asked.busy()
        array = await asked.yard.submit(array=4, vcpus=4, attempts=2)
        after = await asked.yard.submit()
        assert "behind 2 other jobs" in await asked.why(child_id(array, 2))
        assert "behind 4 other jobs" in await asked.why(after)
        assert "asks for 4 vCPUs" in await asked.why(array)
        asked.yard.executor.ends(attempt_id(busy, 1), 0)
        await asked.yard.executor.begins(attempt_id(child_id(array, 0), 1))
        await asked.yard.rest()
        other = await asked.yard.submit(vcpus=4)
        asked.yard.executor.ends(attempt_id(child_id(array, 0), 1), 1)
        await asked.yard.executor.begins(attempt_id(child_id(array, 0), 2))
        assert "behind 4 other jobs" in await asked.why(other)

    @on_a_yard
    async def test_one_that_fits_starts_with_the_next_pass(self, asked: Asked) -> None:
        # Without its loops the yard takes jobs and makes no pass.
        await asked.yard.stop()
        job = await asked.yard.submit()
        told = await asked.ask("explain", jobId=job)
        assert told["sentence"] == "It fits environment now and starts with the next pass."
        assert told["verdicts"][0]["verdict"] == "fits now"

    @on_a_yard
    async def test_dependencies_are_named_with_their_states(self, asked: Asked) -> None:
        busy = await asked.busy()
        array = await asked.yard.submit(array=2)
        child = child_id(array, 1)
        job = await asked.yard.submit(depends_on=[{"jobId": busy}, {"jobId": child}])
        told = await asked.why(job)
        assert told == (f"It waits for 2 jobs to succeed: {busy} (RUNNING), {child} (RUNNABLE).")
        asked.yard.executor.ends(attempt_id(busy, 1), 0)
        await asked.yard.executor.begins(attempt_id(child, 1))
        assert await asked.why(job) == f"It waits for 1 job to succeed: {child} (RUNNING)."

    @on_a_yard
    async def test_a_child_in_sequence_waits_for_the_one_in_front(self, asked: Asked) -> None:
        array = await asked.yard.submit(array=4, depends_on=[{"type": "SEQUENTIAL"}])
        first, second, third = (child_id(array, i) for i in range(3))
        await asked.yard.executor.begins(attempt_id(first, 1))
        assert await asked.why(second) == f"It waits for 1 job to succeed: {first} (RUNNING)."
        assert await asked.why(third) == f"It waits for 1 job to succeed: {second} (PENDING)."
        told = await asked.why(array)
        assert told == "No child of it waits for capacity: 3 PENDING, 1 RUNNING."

    @on_a_yard
    async def test_a_child_n_to_n_waits_for_its_partner(self, asked: Asked) -> None:
        upstream = await asked.yard.submit(array=3, vcpus=2)
        array = await asked.yard.submit(array=3, depends_on=[{"jobId": upstream, "type": "N_TO_N"}])
        partner = child_id(upstream, 0)
        await asked.yard.executor.begins(attempt_id(partner, 1))
        child = child_id(array, 0)
        assert await asked.why(child) == f"It waits for 1 job to succeed: {partner} (RUNNING)."
        assert await asked.why(array) == f"It waits for 1 job to succeed: {upstream} (PENDING)."
        asked.yard.executor.ends(attempt_id(partner, 1), 0)
        assert "asks for 1 vCPUs; 0 vCPUs of 4 vCPUs are free" in await asked.why(child)
        last = child_id(upstream, 2)
        told = await asked.why(child_id(array, 2))
        assert told == f"It waits for 1 job to succeed: {last} (STARTING)."

    @on_a_yard
    async def test_an_array_that_only_runs_does_not_wait(self, asked: Asked) -> None:
        array = await asked.yard.submit(array=2)
        assert await asked.why(array) == "No child of it waits for capacity: 2 STARTING."

    @on_a_yard
    async def test_a_disabled_environment_is_named(self, asked: Asked) -> None:
        await asked.busy()
        await asked.yard.do(
            cmd.UpdateComputeEnvironment(
                request={"computeEnvironment": "environment", "state": "DISABLED"}
            )
        )
        job = await asked.yard.submit()
        assert await asked.why(job) == (
            "No compute environment of q is usable: environment is DISABLED."
        )
        answer = await asked.ask("explain", jobId=job)
        assert answer["verdicts"][0]["verdict"] == "unusable"
        assert "ENABLED" in answer["fix"]

    @on_a_yard
    async def test_a_live_job_does_not_wait(self, asked: Asked) -> None:
        job = await asked.busy()
        told = await asked.why(job)
        assert told == "It does not wait: attempt 1 is RUNNING in environment."

    @on_a_yard
    async def test_one_that_starts_is_told_what_its_engine_does(self, asked: Asked) -> None:
        job = await asked.yard.submit()
        await asked.yard.rest()
        assert await asked.why(job) == ("It does not wait: attempt 1 is STARTING in environment.")
        name = attempt_id(job, 1)
        pulls = Doing(what="pulls the image far:1", since_ms=asked.yard.time.now_ms())
        asked.yard.executor.busy[name] = pulls
        await asked.yard.rest(90)
        answer = await asked.ask("explain", jobId=job)
        assert answer["sentence"] == (
            "It has its place: attempt 1 is STARTING in environment. "
            "The engine pulls the image far:1, for 90 s so far."
        )
        assert answer["fix"] == f"Wait, or give it up: batchyard terminate {job}"
        # What a start was busy with is no news of a job that runs.
        asked.yard.executor.run(name)
        assert await asked.why(job) == "It does not wait: attempt 1 is RUNNING in environment."

    @on_a_yard
    async def test_an_array_is_told_what_the_engine_does_for_its_first_child(
        self, asked: Asked
    ) -> None:
        array = await asked.yard.submit(array=2)
        await asked.yard.rest()
        await asked.yard.executor.begins(attempt_id(child_id(array, 0), 1))
        pulls = Doing(what="pulls the image far:1", since_ms=asked.yard.time.now_ms())
        asked.yard.executor.busy[attempt_id(child_id(array, 1), 1)] = pulls
        await asked.yard.rest(90)
        answer = await asked.ask("explain", jobId=array)
        assert answer["sentence"] == (
            "No child of it waits for capacity: 1 STARTING, 1 RUNNING. Of child 1: It has its "
            "place: attempt 1 is STARTING in environment. The engine pulls the image far:1, for "
            "90 s so far."
        )
        assert answer["fix"] == f"Wait, or give it up: batchyard terminate {array}"

    @on_a_yard
    async def test_an_engine_that_does_not_answer_is_named(self, asked: Asked) -> None:
        asked.yard.executor.unavailable(times=100)
        job = await asked.yard.submit()
        told = await asked.why(job)
        assert told == (
            "It keeps its place: attempt 1 is STARTING in environment, but its engine does not "
            "answer now. the scripted engine is away"
        )
        fix = (await asked.ask("explain", jobId=job))["fix"]
        assert fix.startswith("Wait until the script is over. Batchyard goes on by itself")
        status = await asked.ask("status")
        assert status["executor"]["trouble"] == {
            "message": "the scripted engine is away",
            "hint": "Wait until the script is over.",
        }
        asked.yard.executor.recovers()
        await asked.yard.executor.begins(attempt_id(job, 1))
        assert await asked.why(job) == "It does not wait: attempt 1 is RUNNING in environment."
        assert (await asked.ask("status"))["executor"]["trouble"] is None

    @on_a_yard
    async def test_an_ended_job_tells_how(self, asked: Asked) -> None:
        job = await asked.busy()
        asked.yard.executor.loses(attempt_id(job, 1))
        told = await asked.why(job)
        assert told.startswith("It has ended as FAILED: Host EC2 (instance i-")
        assert told.endswith("terminated.")
        assert not told.endswith("..")
        done = await asked.yard.submit()
        await asked.yard.executor.begins(attempt_id(done, 1))
        asked.yard.executor.ends(attempt_id(done, 1), 0)
        assert await asked.why(done) == (
            "It has ended as SUCCEEDED: Essential container in task exited."
        )

    @on_a_yard
    async def test_a_dropped_child_is_known_though_it_never_was_a_row(self, asked: Asked) -> None:
        await asked.busy()
        array = await asked.yard.submit(array=3)
        await asked.yard.do(cmd.TerminateJob(job_id=array, reason="not needed"))
        told = await asked.why(child_id(array, 2))
        assert told == "It has ended as FAILED: not needed."

    @on_a_yard
    async def test_whatever_is_no_job_is_not_found(self, asked: Asked) -> None:
        array = await asked.yard.submit(array=2)
        for name in ("nothing", child_id(array, 2), f"{array}:x", child_id("nothing", 0)):
            with pytest.raises(NotFound, match="there is no job") as caught:
                await asked.ask("explain", jobId=name)
            assert "batchyard ls" in caught.value.hint

    @pytest.mark.parametrize("name", ["explain", "events"])
    def test_an_id_must_be_given(self, name: str) -> None:
        @on_a_yard
        async def check(asked: Asked) -> None:
            for params in ({}, {"jobId": ""}, {"jobId": 7}, {"jobId": None}):
                with pytest.raises(InvalidRequest, match="jobId must be specified") as caught:
                    await asked.ask(name, **params)
                assert caught.value.field == "jobId"

        check()


class TestStatus:
    @on_a_yard
    async def test_the_yard_at_a_glance(self, asked: Asked) -> None:
        await asked.yard.queue("other")
        job = await asked.yard.submit(vcpus=3, memory_mib=1000)
        await asked.yard.executor.begins(attempt_id(job, 1))
        await asked.yard.submit(array=5)
        await asked.yard.submit(queue="other", vcpus=4)
        await asked.yard.rest()
        told = await asked.ask("status")
        assert told["executor"] == {
            "name": "scripted",
            "engine": "scripted",
            "warnings": [],
            "trouble": None,
        }
        assert told["startedAt"] == START_MS
        assert told["home"] == "/home/of/yard"
        assert told["yardId"]
        (capacity,) = told["capacity"]
        assert capacity == {
            "computeEnvironment": "environment",
            "vcpus": 4,
            "memoryMiB": 4096,
            "gpus": 0,
            "usedVcpus": 4,
            "usedMemoryMiB": 1128,
        }
        # The array counts once, as its parent, and beside it the child that is live.
        wanted = {"PENDING": 1, "RUNNABLE": 1, "STARTING": 1, "RUNNING": 1}
        assert {s: n for s, n in told["counts"].items() if n} == wanted
        assert len(told["counts"]) == 7
        queues = {q["name"]: q for q in told["queues"]}
        assert queues["other"]["counts"]["RUNNABLE"] == 1
        assert queues["q"]["counts"]["RUNNABLE"] == 0
        assert queues["q"]["state"] == "ENABLED"

    @on_a_yard
    async def test_a_queue_without_jobs_has_all_states(self, asked: Asked) -> None:
        (queue,) = (await asked.ask("status"))["queues"]
        assert set(queue["counts"].values()) == {0}
        assert len(queue["counts"]) == 7


class TestStories:
    @on_a_yard
    async def test_passes_newest_first_with_whom_they_refused(self, asked: Asked) -> None:
        await asked.busy()
        job = await asked.yard.submit(vcpus=2)
        await asked.yard.rest()
        newest, *older = (await asked.ask("passes"))["passes"]
        assert (newest["placed"], newest["stale"]) == (0, 0)
        (refused,) = newest["refused"]
        assert (refused["queue"], refused["jobId"]) == ("q", job)
        assert "asks for 2 vCPUs" in refused["sentence"]
        assert older[-1]["placed"] == 1
        assert newest["at"] >= older[-1]["at"]

    @on_a_yard
    async def test_the_story_of_a_job(self, asked: Asked) -> None:
        job = await asked.busy()
        asked.yard.executor.ends(attempt_id(job, 1), 0)
        await asked.yard.rest()
        told = (await asked.ask("events", jobId=job))["events"]
        types = [event["type"] for event in told]
        assert types == [
            "JobSubmitted",
            "JobRunnable",
            "AttemptPlaced",
            "AttemptStarted",
            "AttemptEnded",
        ]
        assert [event["seq"] for event in told] == sorted(event["seq"] for event in told)
        assert all(event["at"] >= START_MS for event in told)
        assert (await asked.ask("events", jobId="nothing"))["events"] == []

"""SubmitJob becomes a job: its row, its spec, its first state. Judging the request is elsewhere."""

import pytest

from batchyard.kernel import commands as cmd
from batchyard.kernel import events as ev
from batchyard.kernel.faults import ClientFault
from batchyard.kernel.job import ArrayState, Job
from batchyard.kernel.resources import Shape
from batchyard.testing.world import SEQUENTIAL, World, n_to_n


@pytest.fixture
def world() -> World:
    world = World()
    world.queue()
    return world


def test_a_job_without_dependencies_is_runnable_at_once(world: World) -> None:
    world.definition("d", vcpus=2, memory_mib=300, gpus=1)
    job = world.submit(definition="d", members={"jobName": "mine", "tags": {"a": "b"}})
    assert world.job(job) == Job(
        job_id=job,
        kind="single",
        name="mine",
        queue="q",
        definition="d:1",
        status="RUNNABLE",
        seq=1,
        shape=Shape(vcpu_milli=2000, memory_mib=300, gpus=1),
        created_at_ms=world.now_ms,
        tags={"a": "b"},
    )
    submitted, runnable = world.last.events
    assert isinstance(submitted, ev.JobSubmitted)
    assert submitted.job.status == "SUBMITTED"
    assert runnable == ev.JobRunnable(job_id=job, at_ms=world.now_ms)


def test_the_reply_names_the_job(world: World) -> None:
    world.definition()
    request: dict[str, object] = {
        "jobName": "mine",
        "jobQueue": "q",
        "jobDefinition": "definition",
    }
    reply = world.do(cmd.SubmitJob(job_id="some-id", seq=7, request=request))
    assert reply == {
        "jobArn": "arn:aws:batch:us-east-1:000000000000:job/some-id",
        "jobName": "mine",
        "jobId": "some-id",
    }
    assert world.job("some-id").seq == 7


def test_the_spec_is_kept_beside_the_row(world: World) -> None:
    job = world.submit(attempts=3, members={"timeout": {"attemptDurationSeconds": 60}})
    spec = world.view.spec(job)
    assert (spec.definition_name, spec.retry.attempts, spec.timeout_s) == ("definition", 3, 60)


def test_an_array_is_one_row_however_many_children(world: World) -> None:
    array = world.submit(array=10_000)
    row = world.job(array)
    assert (row.kind, row.status) == ("array", "PENDING")
    assert row.array == ArrayState(
        size=10_000, held=(), ready=((0, 10_000),), updated_at_ms=world.now_ms
    )
    assert list(world.view.jobs()) == [array]
    submitted = world.last.events[0]
    assert isinstance(submitted, ev.JobSubmitted)
    assert submitted.job.status == "SUBMITTED"


def test_a_job_with_an_open_dependency_is_pending(world: World) -> None:
    first = world.submit()
    for array in (None, 2):
        second = world.submit(array=array, depends_on=[first])
        assert world.job(second).status == "PENDING"
        assert world.job(second).unmet == (first,)
        submitted = world.last.events[0]
        assert isinstance(submitted, ev.JobSubmitted)
        assert submitted.job.status == "PENDING"


def test_an_array_that_waits_child_by_child_is_pending_and_a_sequence_is_not(
    world: World,
) -> None:
    first = world.submit(array=2)
    states = []
    for needs in ([n_to_n(first)], [SEQUENTIAL]):
        world.submit(array=2, depends_on=needs)
        submitted = world.last.events[0]
        assert isinstance(submitted, ev.JobSubmitted)
        states.append(submitted.job.status)
    assert states == ["PENDING", "SUBMITTED"]


def test_a_refused_submission_leaves_no_trace(world: World) -> None:
    rows = dict(world.view.rows)
    with pytest.raises(ClientFault):
        world.submit(queue="other", definition="d")
    assert world.view.rows == rows


def test_a_job_aws_would_fail_at_dispatch_fails_at_once(world: World) -> None:
    big = {"containerOverrides": {"environment": [{"name": "A", "value": "x" * 9000}]}}
    first = world.submit()
    jobs = [
        world.submit(array=array, depends_on=[first], members={**big}) for array in (None, 3, 100)
    ]
    for job in jobs:
        row = world.job(job)
        assert row.status == "FAILED"
        assert row.stopped_at_ms is not None
    last = world.job(jobs[-1])
    assert last.array is not None
    assert last.array.dropped[0].reason == "Container Overrides length must be at most 8192"
    assert not world.job(first).watched

"""Job queues and their asynchronous steps."""

from typing import Any

import pytest

from batchyard.kernel.commands import (
    CreateComputeEnvironment,
    CreateJobQueue,
    DeleteJobQueue,
    RegisterJobDefinition,
    SettleJobQueue,
    StopQueue,
    SubmitJob,
    UpdateComputeEnvironment,
    UpdateJobQueue,
)
from batchyard.kernel.environment import JobQueue
from batchyard.kernel.faults import (
    ClientFault,
    Conflict,
    InvalidRequest,
    NotAllowedInState,
    NotFound,
    NotSupported,
)
from unit.kernel.yard_world import World

ARN = "arn:aws:batch:us-east-1:000000000000:"


@pytest.fixture
def world() -> World:
    world = World()
    for name in ("a", "b"):
        environment(world, name)
    return world


def environment(world: World, name: str, kind: str | None = None) -> None:
    request: dict[str, Any] = {"computeEnvironmentName": name, "type": "UNMANAGED"}
    if kind is not None:
        request |= {"type": "MANAGED", "computeResources": {"type": kind, "maxvCpus": 4}}
    world.do(CreateComputeEnvironment(request=request, uuid="u"))
    world.settle()


def order(*names: str) -> list[dict[str, Any]]:
    return [{"order": i + 1, "computeEnvironment": name} for i, name in enumerate(names)]


def create(world: World, **members: Any) -> dict[str, Any]:
    request = {
        "jobQueueName": "q",
        "priority": 1,
        "computeEnvironmentOrder": order("a"),
        **members,
    }
    return world.do(CreateJobQueue(request=request))


def update(world: World, **members: Any) -> dict[str, Any]:
    return world.do(UpdateJobQueue(request={"jobQueue": "q", **members}))


def got(world: World) -> JobQueue:
    queue = world.queue("q")
    assert queue is not None
    return queue


def test_a_new_queue_is_creating_and_then_valid(world: World) -> None:
    reply = create(world, tags={"k": "v"}, futureMember=1, jobQueueType="ECS")
    assert reply == {"jobQueueName": "q", "jobQueueArn": ARN + "job-queue/q"}
    assert (got(world).status, got(world).state) == ("CREATING", "ENABLED")
    assert world.follow_ups() == [SettleJobQueue(name="q", generation=1)]
    world.settle()
    assert (got(world).status, got(world).status_reason) == ("VALID", "JobQueue Healthy")
    assert got(world).tags == {"k": "v"}
    assert got(world).extra == {
        "futureMember": 1,
        "jobQueueType": "ECS",
        "computeEnvironmentOrder": [
            {"order": 1, "computeEnvironment": ARN + "compute-environment/a"}
        ],
    }


def test_environments_are_tried_in_ascending_order(world: World) -> None:
    entries = [
        {"order": 7, "computeEnvironment": "a"},
        {"order": 0, "computeEnvironment": ARN + "compute-environment/b"},
    ]
    create(world, computeEnvironmentOrder=entries, state="DISABLED", priority=0)
    assert got(world).compute_environments == ("b", "a")
    assert got(world).state == "DISABLED"
    shown = got(world).extra["computeEnvironmentOrder"]
    assert isinstance(shown, list)
    assert [entry["order"] for entry in shown] == [0, 7]


@pytest.mark.parametrize(
    ("members", "fault", "said"),
    [
        ({"jobQueueName": "a/b"}, InvalidRequest, "should match valid pattern"),
        ({"priority": None}, InvalidRequest, "priority must be specified"),
        ({"priority": -1}, InvalidRequest, "priority must be at least 0"),
        ({"state": "ON"}, InvalidRequest, "state must be ENABLED or DISABLED"),
        ({"computeEnvironmentOrder": None}, InvalidRequest, "1 to 3 compute environments"),
        ({"computeEnvironmentOrder": []}, InvalidRequest, "1 to 3 compute environments"),
        ({"computeEnvironmentOrder": order(*"abab")}, InvalidRequest, "at most 3"),
        ({"computeEnvironmentOrder": order("a", "a")}, InvalidRequest, "names a more than once"),
        (
            {"computeEnvironmentOrder": order("a")[:1] + order("b")[:1]},
            InvalidRequest,
            "[1].order must be given and different",
        ),
        (
            {"computeEnvironmentOrder": [{"computeEnvironment": "a"}]},
            InvalidRequest,
            "order must be given",
        ),
        ({"computeEnvironmentOrder": [{"order": 1}]}, InvalidRequest, "must be specified"),
        ({"computeEnvironmentOrder": order("x")}, NotFound, "x does not exist"),
        ({"schedulingPolicyArn": "arn:x"}, NotSupported, "no scheduling policies yet"),
        ({"serviceEnvironmentOrder": [{}]}, NotSupported, "no service environments yet"),
        ({"jobQueueType": "SAGEMAKER_TRAINING"}, NotSupported, "no service environments yet"),
        ({"tags": {"aws:a": ""}}, InvalidRequest, "reserved"),
        ({"jobStateTimeLimitActions": [{}]}, InvalidRequest, "reason must be specified"),
    ],
)
def test_refuses(
    world: World, members: dict[str, Any], fault: type[ClientFault], said: str
) -> None:
    with pytest.raises(fault) as caught:
        create(world, **members)
    assert said in caught.value.message
    assert world.queue("q") is None


def test_time_limit_actions_are_judged_and_stored(world: World) -> None:
    good = {"reason": "CAPACITY", "state": "RUNNABLE", "maxTimeSeconds": 600, "action": "CANCEL"}
    for member in good:
        with pytest.raises(InvalidRequest, match=member):
            create(world, jobStateTimeLimitActions=[{**good, member: None}])
    with pytest.raises(InvalidRequest, match="between 600 and 86400"):
        create(world, jobStateTimeLimitActions=[{**good, "maxTimeSeconds": 599}])
    create(world, jobStateTimeLimitActions=[good])
    assert got(world).extra["jobStateTimeLimitActions"] == [good]


def test_a_name_is_taken_once(world: World) -> None:
    create(world)
    with pytest.raises(Conflict, match="Object already exists"):
        create(world)


def test_kinds_of_environments_do_not_mix(world: World) -> None:
    environment(world, "f", "FARGATE")
    with pytest.raises(InvalidRequest, match=r"of one kind, but are a \(EC2\), f \(FARGATE\)"):
        create(world, computeEnvironmentOrder=order("a", "f"))
    environment(world, "spot", "FARGATE_SPOT")
    create(world, computeEnvironmentOrder=order("f", "spot"))
    assert got(world).compute_environments == ("f", "spot")


def test_only_a_valid_environment_can_be_attached(world: World) -> None:
    create(world)
    world.settle()
    for name in ("a", "b"):
        world.do(UpdateComputeEnvironment(request={"computeEnvironment": name}))
    with pytest.raises(NotAllowedInState, match="b is UPDATING"):
        update(world, computeEnvironmentOrder=order("a", "b"))
    update(world, computeEnvironmentOrder=order("a"))
    assert got(world).status == "UPDATING"


def test_an_update_replaces_what_it_names(world: World) -> None:
    create(world)
    world.settle()
    update(world, priority=9, state="DISABLED", futureMember=2)
    assert (got(world).priority, got(world).state, got(world).status) == (9, "DISABLED", "UPDATING")
    assert got(world).compute_environments == ("a",)
    assert world.follow_ups() == [SettleJobQueue(name="q", generation=2)]
    world.settle()
    assert got(world).status == "VALID"
    assert update(world, jobQueue=ARN + "job-queue/q", computeEnvironmentOrder=order("b")) == {
        "jobQueueName": "q",
        "jobQueueArn": ARN + "job-queue/q",
    }
    assert (got(world).compute_environments, got(world).priority) == (("b",), 9)
    assert got(world).extra["futureMember"] == 2


def test_a_stale_or_repeated_settling_step_does_nothing(world: World) -> None:
    create(world)
    update(world, priority=2)
    for step in (
        SettleJobQueue(name="q", generation=1),
        SettleJobQueue(name="gone", generation=1),
    ):
        world.do(step)
        assert world.last.events == ()
    world.settle()
    world.do(SettleJobQueue(name="q", generation=2))
    assert (got(world).status, len(world.last.events)) == ("VALID", 1)
    world.do(SettleJobQueue(name="q", generation=2))
    assert world.last.events == ()


def test_updating_an_unknown_queue_says_that_it_does_not_exist(world: World) -> None:
    with pytest.raises(NotFound, match="does not exist"):
        update(world)


def test_deleting_needs_a_disabled_queue_at_rest(world: World) -> None:
    create(world)
    with pytest.raises(NotAllowedInState, match="Cannot delete, resource is being modified"):
        world.do(DeleteJobQueue(job_queue="q"))
    world.settle()
    with pytest.raises(NotAllowedInState, match="Cannot delete, job queue q is ENABLED"):
        world.do(DeleteJobQueue(job_queue="q"))
    update(world, state="DISABLED")
    with pytest.raises(NotAllowedInState, match="Cannot delete, resource is being modified"):
        world.do(DeleteJobQueue(job_queue="q"))
    world.settle()
    world.do(DeleteJobQueue(job_queue=ARN + "job-queue/q"))
    assert (got(world).status, world.follow_ups()) == ("DELETING", [StopQueue(queue="q")])
    with pytest.raises(NotAllowedInState, match="q is being deleted"):
        update(world)


def test_deleting_twice_or_the_unknown_is_no_error(world: World) -> None:
    create(world, state="DISABLED")
    world.settle()
    world.do(DeleteJobQueue(job_queue="q"))
    for name in ("q", "gone"):
        world.do(DeleteJobQueue(job_queue=name))
        assert (world.last.events, world.last.effects) == ((), ())
    with pytest.raises(InvalidRequest, match="jobQueue must be specified"):
        world.do(DeleteJobQueue(job_queue=""))


def test_a_deleted_queue_goes_once_its_jobs_have_ended(world: World) -> None:
    create(world)
    world.settle()
    container = {"image": "i", "vcpus": 1, "memory": 4}
    definition = {"jobDefinitionName": "d", "type": "container", "containerProperties": container}
    world.do(RegisterJobDefinition(request=definition))
    submit = {"jobName": "j", "jobQueue": "q", "jobDefinition": "d"}
    world.do(SubmitJob(job_id="job", seq=1, request=submit))
    update(world, state="DISABLED")
    world.settle()
    world.do(DeleteJobQueue(job_queue="q"))
    stop = world.follow_ups()
    generation = got(world).generation
    world.do(SettleJobQueue(name="q", generation=generation))
    assert got(world).status == "DELETING"
    for command in stop:
        world.do(command)
        world.settle()
    job = world.job("job")
    assert job is not None
    assert (job.status, job.status_reason) == ("FAILED", "JobQueue deleted")
    assert world.queue("q") is None

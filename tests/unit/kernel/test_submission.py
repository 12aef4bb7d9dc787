"""SubmitJob before the life cycle: lookups, merge rules, limits, and AWS's words for refusals."""

from typing import Any

import pytest
from msgspec.structs import replace

from batchyard.kernel import submission
from batchyard.kernel.commands import (
    CreateComputeEnvironment,
    CreateJobQueue,
    DeregisterJobDefinition,
    RegisterJobDefinition,
    SubmitJob,
)
from batchyard.kernel.events import QueueSaved
from batchyard.kernel.evolve import evolve
from batchyard.kernel.faults import (
    ClientFault,
    InvalidRequest,
    LimitExceeded,
    NotAllowedInState,
    NotFound,
    NotSupported,
)
from batchyard.kernel.job import Dependency, ExitRule, RetryStrategy
from batchyard.kernel.resources import Shape
from batchyard.kernel.submission import Resolved
from unit.kernel.yard_world import World

ARN = "arn:aws:batch:us-east-1:000000000000:"


@pytest.fixture
def world() -> World:
    """A queue `q` on an unmanaged environment, and the definition `d:1`."""
    world = World()
    environment(world, "ce", {"type": "UNMANAGED"})
    queue(world, "q", "ce")
    define(world, "d", command=["echo", "Ref::word"])
    return world


def environment(world: World, name: str, request: dict[str, Any]) -> None:
    request = {"computeEnvironmentName": name, **request}
    world.do(CreateComputeEnvironment(request=request, uuid="u"))
    world.settle()


def queue(world: World, name: str, *environments: str) -> None:
    order = [{"order": i, "computeEnvironment": e} for i, e in enumerate(environments)]
    request = {"jobQueueName": name, "priority": 1, "computeEnvironmentOrder": order}
    world.do(CreateJobQueue(request=request))
    world.settle()


def define(world: World, name: str, top: dict[str, Any] | None = None, **props: Any) -> None:
    container = {"image": "busybox", "vcpus": 1, "memory": 128, **props}
    request = {
        "jobDefinitionName": name,
        "type": "container",
        "parameters": {"word": "hello"},
        "containerProperties": {k: v for k, v in container.items() if v is not None},
        **(top or {}),
    }
    world.do(RegisterJobDefinition(request=request))


def resolve(world: World, **members: Any) -> Resolved:
    request = {"jobName": "j", "jobQueue": "q", "jobDefinition": "d", **members}
    return submission.resolve(world, request)


def overridden(world: World, **overrides: Any) -> Resolved:
    return resolve(world, containerOverrides=overrides)


def need(**values: str) -> list[dict[str, str]]:
    return [{"type": k, "value": v} for k, v in values.items()]


def test_a_plain_submission(world: World) -> None:
    got = resolve(world, tags={"a": "b"}, newest=[1])
    assert (got.name, got.queue.name, got.definition.key) == ("j", "q", "d:1")
    assert got.shape == Shape(vcpu_milli=1000, memory_mib=128)
    assert (got.array_size, got.tags, got.doomed) == (None, {"a": "b"}, None)
    assert got.spec.definition_arn == ARN + "job-definition/d:1"
    assert got.spec.definition_name == "d"
    assert got.spec.retry == RetryStrategy(attempts=1)
    assert got.spec.timeout_s is None
    assert got.spec.parameters == {"word": "hello"}
    assert got.spec.extra == {"newest": [1]}
    assert got.spec.container == {
        "image": "busybox",
        "vcpus": 1,
        "memory": 128,
        "command": ["echo", "hello"],
        "environment": [],
        "mountPoints": [],
        "networkInterfaces": [],
        "resourceRequirements": [],
        "secrets": [],
        "ulimits": [],
        "volumes": [],
    }


@pytest.mark.parametrize("said", ["q", ARN + "job-queue/q"])
def test_the_queue_goes_by_name_or_arn(world: World, said: str) -> None:
    assert resolve(world, jobQueue=said).queue.name == "q"


@pytest.mark.parametrize(
    "said", ["nope", ARN + "job-queue/nope", "arn:aws:batch:eu-west-1:1:job-queue/q"]
)
def test_an_unknown_queue_is_not_found(world: World, said: str) -> None:
    with pytest.raises(NotFound) as caught:
        resolve(world, jobQueue=said)
    assert caught.value.message == f"JobQueue {said} not found."


@pytest.mark.parametrize("status", ["CREATING", "DELETING", "DELETED", "INVALID"])
def test_a_queue_that_is_not_valid_takes_no_jobs(world: World, status: Any) -> None:
    save(world, status=status)
    with pytest.raises(NotAllowedInState, match=f"cannot take jobs while it is {status}"):
        resolve(world)


def test_a_queue_that_is_updating_takes_jobs(world: World) -> None:
    save(world, status="UPDATING")
    assert resolve(world).queue.status == "UPDATING"


def test_a_disabled_queue_takes_no_jobs(world: World) -> None:
    save(world, state="DISABLED")
    with pytest.raises(NotAllowedInState, match="q is DISABLED"):
        resolve(world)


def save(world: World, **changes: Any) -> None:
    current = world.queue("q")
    assert current is not None
    event = QueueSaved(queue=replace(current, **changes))
    row = evolve(current, event)
    assert row is not None
    world.rows[event.key] = row


@pytest.mark.parametrize(
    ("said", "key"),
    [
        ("d", "d:2"),
        ("d:1", "d:1"),
        ("d:2", "d:2"),
        (ARN + "job-definition/d", "d:2"),
        (ARN + "job-definition/d:1", "d:1"),
    ],
)
def test_the_definition_goes_by_name_revision_or_arn(world: World, said: str, key: str) -> None:
    define(world, "d")
    assert resolve(world, jobDefinition=said).definition.key == key


def test_a_bare_name_takes_the_latest_active_revision(world: World) -> None:
    define(world, "d")
    world.do(DeregisterJobDefinition(job_definition="d:2"))
    assert resolve(world).definition.key == "d:1"


@pytest.mark.parametrize("said", ["d", "d:1", "d:3", "e", "a:b:c", "arn:aws:batch:x:y:z/d:1"])
def test_a_definition_must_be_active(world: World, said: str) -> None:
    world.do(DeregisterJobDefinition(job_definition="d:1"))
    with pytest.raises(NotFound) as caught:
        resolve(world, jobDefinition=said)
    words = f"JobDefinition name {said} does not exist or is not in ACTIVE status"
    assert caught.value.message == words


# --- merge rules


def test_a_submitted_parameter_wins(world: World) -> None:
    got = resolve(world, parameters={"word": "bye", "other": "x"})
    assert got.spec.parameters == {"word": "bye", "other": "x"}
    assert got.spec.container["command"] == ["echo", "bye"]


def test_references_are_replaced_everywhere_once(world: World) -> None:
    parameters = {"a": "Ref::b", "b": "2", "in-put_1": "i"}
    got = resolve(
        world,
        parameters=parameters,
        containerOverrides={"command": ["sh", "-c", "x Ref::a/Ref::b.Ref::in-put_1; Ref:b"]},
    )
    assert got.spec.container["command"] == ["sh", "-c", "x Ref::b/2.i; Ref:b"]


def test_a_reference_without_parameter_is_refused(world: World) -> None:
    with pytest.raises(InvalidRequest) as caught:
        overridden(world, command=["Ref::word", "Ref::lost"])
    words = "Unable to substitute value. No parameter found for reference lost"
    assert caught.value.message == words


def test_the_environment_is_a_union_by_name(world: World) -> None:
    define(world, "d", environment=[{"name": "A", "value": "1"}, {"name": "B", "value": "2"}])
    got = overridden(world, environment=[{"name": "B", "value": "3"}, {"name": "C", "value": ""}])
    assert got.spec.container["environment"] == [
        {"name": "A", "value": "1"},
        {"name": "B", "value": "3"},
        {"name": "C", "value": ""},
    ]


@pytest.mark.parametrize(
    ("defined", "override", "shape", "members"),
    [
        ({}, {}, (1000, 128, 0), {"vcpus": 1, "memory": 128, "resourceRequirements": []}),
        ({}, {"vcpus": 2, "memory": 64}, (2000, 64, 0), {"vcpus": 2, "memory": 64}),
        (
            {},
            {"vcpus": 8, "resourceRequirements": need(VCPU="4", GPU="1")},
            (4000, 128, 1),
            {"vcpus": None, "memory": 128, "resourceRequirements": need(VCPU="4", GPU="1")},
        ),
        (
            {"vcpus": None, "memory": None, "resourceRequirements": need(VCPU="1", MEMORY="9")},
            {"vcpus": 8, "memory": 800},
            (1000, 9, 0),
            {"vcpus": None, "memory": None, "resourceRequirements": need(VCPU="1", MEMORY="9")},
        ),
        (
            {"vcpus": None, "memory": None, "resourceRequirements": need(VCPU="1", MEMORY="9")},
            {"resourceRequirements": need(MEMORY="10")},
            (1000, 10, 0),
            {"resourceRequirements": need(VCPU="1", MEMORY="10")},
        ),
        (
            {"resourceRequirements": need(VCPU="3")},
            {"vcpus": 8, "memory": 200},
            (3000, 200, 0),
            {"vcpus": None, "memory": 200, "resourceRequirements": need(VCPU="3")},
        ),
        (
            {},
            {"resourceRequirements": [{"type": "GPU", "value": 2}]},
            (1000, 128, 2),
            {"resourceRequirements": need(GPU="2")},
        ),
    ],
)
def test_requirements_merge(
    world: World,
    defined: dict[str, Any],
    override: dict[str, Any],
    shape: tuple[int, int, int],
    members: dict[str, Any],
) -> None:
    define(world, "d", **defined)
    got = overridden(world, **override)
    assert (got.shape.vcpu_milli, got.shape.memory_mib, got.shape.gpus) == shape
    for member, value in members.items():
        assert got.spec.container.get(member) == value, member


def test_lists_and_unknown_members_of_the_container_come_through(world: World) -> None:
    define(
        world,
        "d",
        user=None,
        futureMember={"x": 1},
        linuxParameters={"devices": [{"hostPath": "/dev/fuse"}], "initProcessEnabled": True},
        logConfiguration={"logDriver": "awslogs"},
    )
    container = resolve(world).spec.container
    assert container["futureMember"] == {"x": 1}
    assert container["linuxParameters"] == {
        "devices": [{"hostPath": "/dev/fuse", "permissions": []}],
        "tmpfs": [],
        "initProcessEnabled": True,
    }
    assert container["logConfiguration"] == {
        "logDriver": "awslogs",
        "options": {},
        "secretOptions": [],
    }


def test_a_submitted_retry_strategy_replaces_the_whole(world: World) -> None:
    rules = [{"action": "exit", "onExitCode": "1"}]
    define(world, "d", {"retryStrategy": {"attempts": 3, "evaluateOnExit": rules}})
    kept = resolve(world).spec.retry
    assert kept == RetryStrategy(
        attempts=3, evaluate_on_exit=(ExitRule(action="exit", on_exit_code="1"),)
    )
    assert resolve(world, retryStrategy={"attempts": 2}).spec.retry == RetryStrategy(attempts=2)


def test_timeout_flags_and_priority_fall_back_to_the_definition(world: World) -> None:
    top = {
        "timeout": {"attemptDurationSeconds": 100},
        "propagateTags": True,
        "schedulingPriority": 0,
        "platformCapabilities": ["EC2"],
    }
    define(world, "d", top)
    spec = resolve(world).spec
    assert (spec.timeout_s, spec.propagate_tags, spec.scheduling_priority) == (100, True, 0)
    assert spec.platform_capabilities == ("EC2",)
    spec = resolve(world, timeout={"attemptDurationSeconds": 60}, propagateTags=False).spec
    assert (spec.timeout_s, spec.propagate_tags) == (60, False)


# --- arrays and dependencies


@pytest.mark.parametrize(
    ("array", "size"), [({"size": 2}, 2), ({"size": 10_000}, 10_000), ({}, None), (None, None)]
)
def test_array_sizes(world: World, array: object, size: int | None) -> None:
    assert resolve(world, arrayProperties=array).array_size == size


@pytest.mark.parametrize("size", [-1, 0, 1, 10_001])
def test_bad_array_sizes(world: World, size: int) -> None:
    with pytest.raises(InvalidRequest, match=f"between 2 and 10000, but is {size}"):
        resolve(world, arrayProperties={"size": size})


def test_dependencies(world: World) -> None:
    entries = [
        {"jobId": "a"},
        {"jobId": "b", "type": "N_TO_N"},
        {"type": "SEQUENTIAL"},
        {"jobId": "a"},
    ]
    assert resolve(world, dependsOn=entries, arrayProperties={"size": 2}).spec.depends_on == (
        Dependency(job_id="a"),
        Dependency(job_id="b", type="N_TO_N"),
        Dependency(type="SEQUENTIAL"),
    )
    assert resolve(world, dependsOn=[]).spec.depends_on == ()


@pytest.mark.parametrize(
    ("entry", "array", "said"),
    [
        ({}, 2, "dependsOn[0].jobId must be specified"),
        ({"type": "N_TO_N"}, 2, "needs the jobId of another array job"),
        ({"type": "SEQUENTIAL", "jobId": "a"}, 2, "has no jobId"),
        ({"type": "SEQUENTIAL"}, None, "SEQUENTIAL is for array jobs only"),
        ({"type": "N_TO_N", "jobId": "a"}, None, "N_TO_N is for array jobs only"),
        ({"type": "AFTER", "jobId": "a"}, 2, "must be N_TO_N or SEQUENTIAL"),
    ],
)
def test_bad_dependencies(world: World, entry: object, array: int | None, said: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        resolve(world, dependsOn=[entry], arrayProperties={"size": array})
    assert said in caught.value.message


def test_at_most_20_dependencies(world: World) -> None:
    entries = [{"jobId": str(i)} for i in range(21)]
    assert len(resolve(world, dependsOn=entries[:20]).spec.depends_on) == 20
    with pytest.raises(LimitExceeded) as caught:
        resolve(world, dependsOn=entries)
    assert caught.value.message == "Job cannot have more than 20 dependencies"


# --- refusals


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"jobName": ""}, "jobName must be specified"),
        ({"jobName": "-a"}, "Job name should match valid pattern"),
        ({"jobName": "a b"}, "Job name should match valid pattern"),
        ({"jobName": "a" * 129}, "Job name should match valid pattern"),
        ({"jobQueue": None}, "jobQueue must be specified"),
        ({"jobDefinition": ""}, "jobDefinition must be specified"),
        ({"containerOverrides": []}, "containerOverrides must be an object"),
        ({"containerOverrides": {"command": ["a", ""]}}, "cannot contain an empty string"),
        (
            {"containerOverrides": {"environment": [{"name": "AWS_BATCH_JOB_ID", "value": "1"}]}},
            "cannot start with AWS_BATCH",
        ),
        ({"containerOverrides": {"memory": 3}}, "At least 4 MiB"),
        (
            {"containerOverrides": {"resourceRequirements": need(VCPU="1.5")}},
            "Value 1.5 for type VCPU in resourceRequirement is not valid.",
        ),
        ({"containerOverrides": {}, "nodeOverrides": {}}, "Only one of"),
        ({"nodeOverrides": {}}, "nodeOverrides should match job definition"),
        ({"retryStrategy": {}}, "RetryAttempts must be provided with retry strategy"),
        ({"timeout": {"attemptDurationSeconds": 59}}, "60 seconds"),
        (
            {"shareIdentifier": "s"},
            "Job with shareIdentifier or schedulingPriority can only be submitted to job queue "
            "with fair share scheduling policy.",
        ),
        ({"schedulingPriorityOverride": 1}, "can only be submitted to job queue with fair share"),
        ({"schedulingPriorityOverride": 10_000}, "must be between 0 and 9999"),
        ({"shareIdentifier": "a b"}, "shareIdentifier should be up to 255 letters"),
        ({"tags": {"aws:x": ""}}, "reserved"),
        ({"parameters": {"a": 1}}, "parameters.a must be a string"),
        ({"parameters": []}, "parameters must be an object"),
        ({"propagateTags": 1}, "propagateTags must be true or false"),
    ],
)
def test_refuses(world: World, members: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        resolve(world, **members)
    assert said in caught.value.message


def test_refuses_a_request_over_30_kib(world: World) -> None:
    with pytest.raises(LimitExceeded, match="at most 30720 bytes"):
        resolve(world, parameters={"p": "x" * 30_720})


def test_a_fair_share_queue_needs_a_share(world: World) -> None:
    save(world, extra={"schedulingPolicyArn": "arn"})
    with pytest.raises(InvalidRequest, match=r"shareIdentifier must be specified\."):
        resolve(world)
    spec = resolve(world, shareIdentifier="s", schedulingPriorityOverride=7).spec
    assert (spec.share_identifier, spec.scheduling_priority) == ("s", 7)


@pytest.mark.parametrize(
    ("properties", "kind"),
    [
        (
            {"ecsProperties": {"taskProperties": [{"containers": [{"image": "a"}]}]}},
            "ecsProperties",
        ),
        ({"eksProperties": {"podProperties": {"containers": [{"image": "a"}]}}}, "eksProperties"),
        (
            {
                "type": "multinode",
                "nodeProperties": {
                    "numNodes": 1,
                    "mainNode": 0,
                    "nodeRangeProperties": [{"targetNodes": "0", "container": {"image": "a"}}],
                },
            },
            "nodeProperties",
        ),
    ],
)
def test_kinds_that_cannot_run_yet_are_refused_by_name(
    world: World, properties: dict[str, Any], kind: str
) -> None:
    request = {"jobDefinitionName": "d", "type": "container", **properties}
    world.do(RegisterJobDefinition(request=request))
    with pytest.raises(NotSupported, match=f"cannot run jobs with {kind} yet"):
        resolve(world)
    with pytest.raises(InvalidRequest, match="containerOverrides should match job definition"):
        overridden(world)


@pytest.mark.parametrize(
    ("top", "props", "said"),
    [
        ({}, {"secrets": [{"name": "S", "valueFrom": "arn"}]}, "cannot fetch secrets yet"),
        (
            {},
            {"volumes": [{"name": "v", "efsVolumeConfiguration": {"fileSystemId": "fs-1"}}]},
            "cannot mount efsVolumeConfiguration yet",
        ),
        (
            {"consumableResourceProperties": {"consumableResourceList": [{}]}},
            {},
            "no consumable resources yet",
        ),
    ],
)
def test_a_job_never_runs_without_what_it_was_promised(
    world: World, top: dict[str, Any], props: dict[str, Any], said: str
) -> None:
    define(world, "d", top, **props)
    with pytest.raises(NotSupported, match=said):
        resolve(world)


def test_host_volumes_and_null_members_are_fine(world: World) -> None:
    define(world, "d", volumes=[{"name": "v", "host": {"sourcePath": "/v"}}, {"name": "w"}])
    got = resolve(world, parameters={"gone": None, "word": "w"}, tags=None)
    assert got.spec.parameters == {"word": "w"}


def test_consumable_overrides_are_refused(world: World) -> None:
    define(world, "d", {"consumableResourceProperties": {}})
    assert resolve(world).definition.revision == 2
    with pytest.raises(NotSupported, match="no consumable resources yet"):
        resolve(world, consumableResourcePropertiesOverride={})


def test_platforms_must_match_the_queue(world: World) -> None:
    fargate = {"type": "MANAGED", "computeResources": {"type": "FARGATE", "maxvCpus": 4}}
    environment(world, "fargate", fargate)
    queue(world, "fq", "fargate")
    with pytest.raises(InvalidRequest) as caught:
        resolve(world, jobQueue="fq")
    assert caught.value.message == (
        "Job Queue is attached to Compute Environment that can not run Jobs with capability EC2"
    )
    top = {"platformCapabilities": ["FARGATE"]}
    sizes = need(VCPU="0.25", MEMORY="512")
    props = {"vcpus": None, "memory": None, "resourceRequirements": sizes}
    define(world, "f", top, executionRoleArn="r", **props)
    with pytest.raises(InvalidRequest, match="can not run Jobs with capability FARGATE"):
        resolve(world, jobDefinition="f")
    with pytest.raises(NotSupported, match="capability FARGATE yet"):
        resolve(world, jobQueue="fq", jobDefinition="f")


# --- accepted by AWS, and failed before they start


def test_overrides_over_ecs_limit_doom_the_job(world: World) -> None:
    assert overridden(world, command=["x" * 7_500]).doomed is None
    words = "Container Overrides length must be at most 8192"
    assert overridden(world, command=["x" * 7_800]).doomed == words
    assert overridden(world, environment=[{"name": "A", "value": "x" * 7_800}]).doomed == words


def test_substituted_words_count_towards_the_limit(world: World) -> None:
    got = resolve(
        world, parameters={"p": "x" * 4_000}, containerOverrides={"command": ["Ref::p", "Ref::p"]}
    )
    assert got.doomed == "Container Overrides length must be at most 8192"


def test_more_than_50_propagated_tags_doom_the_job(world: World) -> None:
    define(world, "d", {"tags": {f"d{i}": "" for i in range(26)}})
    tags = {f"j{i}": "" for i in range(25)}
    assert resolve(world, tags=tags).doomed is None
    doomed = resolve(world, tags=tags, propagateTags=True).doomed
    assert doomed is not None
    assert "51 tags" in doomed
    fitting = dict(list(tags.items())[:24])
    assert resolve(world, tags=fitting, propagateTags=True).doomed is None


@pytest.mark.parametrize("members", [{}, {"arrayProperties": {"size": 100}}])
def test_a_doomed_job_is_accepted_and_failed(world: World, members: dict[str, Any]) -> None:
    request = {
        "jobName": "j",
        "jobQueue": "q",
        "jobDefinition": "d",
        "containerOverrides": {"command": ["x" * 7_800]},
        **members,
    }
    world.do(SubmitJob(job_id="doomed", seq=1, request=request))
    job = world.job("doomed")
    assert job is not None
    assert job.status == "FAILED"
    if job.array is None:
        assert job.status_reason == "Container Overrides length must be at most 8192"
    else:
        assert job.array.tally()["FAILED"] == 100


def test_every_refusal_is_a_client_fault(world: World) -> None:
    for members in ({"jobName": 1}, {"jobQueue": []}, {"dependsOn": {}}, {"tags": [1]}):
        with pytest.raises(ClientFault) as caught:
            resolve(world, **members)
        assert caught.value.code == "ClientException"

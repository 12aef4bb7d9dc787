"""RegisterJobDefinition and DeregisterJobDefinition: what AWS takes and what it refuses."""

from typing import Any

import pytest

from batchyard.kernel.commands import DeregisterJobDefinition, RegisterJobDefinition
from batchyard.kernel.faults import InvalidRequest, LimitExceeded, NotFound
from unit.kernel.yard_world import World

FARGATE: dict[str, Any] = {
    "image": "busybox",
    "executionRoleArn": "arn:aws:iam::000000000000:role/e",
    "resourceRequirements": [
        {"type": "VCPU", "value": "0.25"},
        {"type": "MEMORY", "value": "512"},
    ],
}
NODES: dict[str, Any] = {
    "numNodes": 4,
    "mainNode": 0,
    "nodeRangeProperties": [
        {"targetNodes": "0", "container": {"image": "a"}},
        {"targetNodes": "1:", "container": {"image": "b"}},
    ],
}


def props(**members: Any) -> dict[str, Any]:
    return {"image": "busybox", "vcpus": 1, "memory": 128, **members}


def listed(**values: str) -> dict[str, Any]:
    """containerProperties with resourceRequirements alone."""
    entries = [{"type": k, "value": v} for k, v in values.items()]
    return {"image": "busybox", "resourceRequirements": entries}


def request(container: object = None, **members: Any) -> dict[str, Any]:
    out: dict[str, Any] = {"jobDefinitionName": "d", "type": "container", **members}
    if container is not None:
        out["containerProperties"] = container
    return out


def register(world: World, container: object = None, **members: Any) -> dict[str, Any]:
    return world.do(RegisterJobDefinition(request=request(container, **members)))


@pytest.fixture
def world() -> World:
    return World()


def test_an_identical_definition_makes_the_next_revision(world: World) -> None:
    first, second = register(world, props()), register(world, props())
    assert (first["revision"], second["revision"]) == (1, 2)
    assert second == {
        "jobDefinitionName": "d",
        "jobDefinitionArn": "arn:aws:batch:us-east-1:000000000000:job-definition/d:2",
        "revision": 2,
    }


def test_revisions_go_on_after_all_were_deregistered(world: World) -> None:
    register(world, props())
    world.do(DeregisterJobDefinition(job_definition="d:1"))
    assert register(world, props())["revision"] == 2


def test_what_was_sent_is_stored_with_members_of_newer_models(world: World) -> None:
    sent = props(command=["echo"], futureMember={"a": [1]})
    register(world, sent, tags={"k": "v"}, parameters={"p": ""}, newest=True, timeout=None)
    stored = world.definition("d", 1)
    assert stored is not None
    assert stored.tags == {"k": "v"}
    assert stored.document == {
        "jobDefinitionName": "d",
        "type": "container",
        "containerProperties": sent,
        "parameters": {"p": ""},
        "newest": True,
    }


def test_variables_with_empty_values_are_dropped(world: World) -> None:
    environment = [{"name": "A", "value": ""}, {"name": "B", "value": "b"}, {"name": "C"}]
    register(world, props(environment=environment))
    stored = world.definition("d", 1)
    assert stored is not None
    container = stored.document["containerProperties"]
    assert isinstance(container, dict)
    assert container["environment"] == [{"name": "B", "value": "b"}]


@pytest.mark.parametrize(
    "members",
    [
        request(listed(VCPU="2", MEMORY="4", GPU="1")),
        request(props(user="1000:1000")),
        request(props(user="nobody")),
        request(props(), platformCapabilities=["EC2"], schedulingPriority=9999),
        request(props(), retryStrategy={"attempts": 10}, timeout={"attemptDurationSeconds": 60}),
        request(props(), timeout={}),
        request(FARGATE, platformCapabilities=["FARGATE"]),
        request(
            {
                **FARGATE,
                "ulimits": [],
                "volumes": [{"name": "v"}, {"host": {}}],
                "privileged": False,
            },
            platformCapabilities=["FARGATE"],
        ),
        request(
            {**FARGATE, "linuxParameters": {"initProcessEnabled": True}},
            platformCapabilities=["FARGATE"],
        ),
        request(
            props(
                volumes=[{"name": "v", "host": {"sourcePath": "/data"}}, {"name": "w"}],
                mountPoints=[
                    {"sourceVolume": "v", "containerPath": "/data"},
                    {"containerPath": "/anonymous", "readOnly": True},
                ],
                ulimits=[
                    {"name": "nofile", "softLimit": 10, "hardLimit": 10},
                    {"name": "core", "softLimit": -1, "hardLimit": -1},
                ],
                linuxParameters={
                    "devices": [{"hostPath": "/dev/fuse", "permissions": ["READ"]}],
                    "tmpfs": [{"containerPath": "/scratch", "size": 64}],
                    "maxSwap": 0,
                    "swappiness": 100,
                    "sharedMemorySize": 64,
                },
            )
        ),
        request(type="multinode", nodeProperties=NODES),
        request(
            type="multinode",
            nodeProperties={
                "numNodes": 3,
                "mainNode": 2,
                "nodeRangeProperties": [
                    {"targetNodes": ":1", "eksProperties": {}},
                    {"targetNodes": "0:2", "container": {"image": "b"}},
                ],
            },
        ),
        request(
            ecsProperties={
                "taskProperties": [
                    {
                        "containers": [
                            {"name": "a", "image": "a", "essential": False},
                            {"name": "b", "image": "b"},
                        ]
                    }
                ]
            }
        ),
        request(eksProperties={"podProperties": {"containers": [{"image": "a"}]}}),
        request(
            props(),
            retryStrategy={
                "attempts": 2,
                "evaluateOnExit": [
                    {"action": "retry", "onStatusReason": "Host EC2*"},
                    {"action": "EXIT", "onReason": "*", "onExitCode": "13*"},
                ],
            },
        ),
    ],
)
def test_accepts(world: World, members: dict[str, Any]) -> None:
    assert world.do(RegisterJobDefinition(request=members))["revision"] == 1


def refusals() -> list[tuple[dict[str, Any], str]]:
    """Requests, and a piece of the refusal each must get."""
    vcpu = {"type": "VCPU", "value": "1"}
    ecs: dict[str, Any] = {"containers": [{"name": "a", "image": "a"}]}
    fargate = {"platformCapabilities": ["FARGATE"]}
    nodes = {"type": "multinode"}
    group = NODES["nodeRangeProperties"][0]
    rule = {"action": "EXIT"}

    def bad_nodes(**members: Any) -> dict[str, Any]:
        return request(**nodes, nodeProperties={**NODES, **members})

    def targets(text: str) -> dict[str, Any]:
        return bad_nodes(nodeRangeProperties=[{**group, "targetNodes": text}])

    def retry(*rules: Any, **members: Any) -> dict[str, Any]:
        strategy = {"attempts": 1, "evaluateOnExit": list(rules), **members}
        return request(props(), retryStrategy=strategy)

    return [
        ({**request(props()), "jobDefinitionName": ""}, "jobDefinitionName must be specified"),
        ({**request(props()), "jobDefinitionName": "a b"}, "should match valid pattern"),
        ({**request(props()), "jobDefinitionName": "x" * 129}, "should match valid pattern"),
        ({**request(props()), "jobDefinitionName": 7}, "jobDefinitionName must be a string"),
        (request(props(), type="pod"), "type must be container or multinode"),
        ({"jobDefinitionName": "d", "containerProperties": props()}, "type must be specified"),
        (request(), "needs containerProperties or ecsProperties or eksProperties"),
        (request(props(), eksProperties={}), "and only that"),
        (request(props(), type="multinode"), "type multinode needs nodeProperties"),
        (request(nodeProperties=NODES), "nodeProperties was given"),
        (request("text"), "containerProperties must be an object"),
        (request({"vcpus": 1, "memory": 4}), "containerProperties.image must be specified"),
        (request({"image": "a", "memory": 4}), "vCPU is not provided."),
        (request({"image": "a", "vcpus": 1}), "Memory is not provided."),
        (request(listed(MEMORY="4")), "vCPU is not provided."),
        (
            request(listed(VCPU="1.0", MEMORY="4")),
            "Value 1.0 for type VCPU in resourceRequirement is not valid. "
            "Please provide a numeric value.",
        ),
        (request(listed(VCPU="0.5", MEMORY="4")), "Value 0.5 for type VCPU"),
        (request(listed(VCPU="-1", MEMORY="4")), "Value -1 for type VCPU"),
        (request(listed(VCPU="1", MEMORY="4G")), "Value 4G for type MEMORY"),
        (request(listed(VCPU="1", MEMORY="4", GPU="x")), "Value x for type GPU"),
        (request(listed(VCPU="0", MEMORY="4")), "At least 1 vCPU"),
        (request(props(vcpus=0)), "At least 1 vCPU"),
        (request(listed(VCPU="1", MEMORY="3")), "At least 4 MiB of memory are needed, but 3"),
        (request(props(memory=-1)), "containerProperties.memory must be at least 0"),
        (request(props(resourceRequirements=[vcpu, vcpu])), "names VCPU more than once"),
        (request(props(resourceRequirements=[{"value": "1"}])), "[0].type must be specified"),
        (request(props(resourceRequirements=[{"type": "VCPU"}])), "[0].value of VCPU must be"),
        (
            request(props(resourceRequirements=[{"type": "DISK", "value": "1"}])),
            "[0].type must be GPU or VCPU or MEMORY",
        ),
        (request(props(resourceRequirements="1")), "resourceRequirements must be a list"),
        (request(props(resourceRequirements=["1"])), "resourceRequirements[0] must be an object"),
        (request(props(vcpus=True)), "vcpus must be an integer"),
        (request(props(vcpus="1")), "vcpus must be an integer"),
        (request(props(command="echo")), "command must be a list"),
        (request(props(command=[1])), "command[0] must be a string"),
        (request(props(privileged="yes")), "privileged must be true or false"),
        (
            request(props(environment=[{"name": "AWS_BATCH_X", "value": "1"}])),
            "cannot start with AWS_BATCH, but 'AWS_BATCH_X' does",
        ),
        (request(props(environment=[{"value": "1"}])), "environment[0].name must be specified"),
        (
            request(props(user="Bad User")),
            "User 'Bad User' does not match regex '^([a-z0-9_][a-z0-9_-]{0,30})$'",
        ),
        (request(props(networkConfiguration={})), "networkConfiguration not applicable for EC2."),
        (request(props(ephemeralStorage={})), "ephemeralStorage not applicable for EC2."),
        (
            request(props(mountPoints=[{"sourceVolume": "v", "containerPath": "/v"}])),
            "is 'v', but volumes has none of that name",
        ),
        (
            request(props(mountPoints=[{"containerPath": "v"}])),
            "containerPath must be an absolute path, but is 'v'",
        ),
        (request(props(mountPoints=[{}])), "containerPath must be specified"),
        (request(props(volumes=[{"name": "v"}, {"name": "v"}])), "names 'v' more than once"),
        (request(props(volumes=[{"host": {"sourcePath": 1}}])), "host.sourcePath must be a string"),
        (request(props(ulimits=[{"name": "nofile"}])), "needs softLimit and hardLimit"),
        (
            request(props(ulimits=[{"name": "nofile", "softLimit": 2, "hardLimit": 1}])),
            "softLimit 2 is above hardLimit 1",
        ),
        (
            request(props(ulimits=[{"name": "nofile", "softLimit": -1, "hardLimit": 1}])),
            "softLimit -1 is above hardLimit 1",
        ),
        (request(props(linuxParameters={"swappiness": 101})), "must be between 0 and 100"),
        (request(props(linuxParameters={"maxSwap": -1})), "maxSwap must be at least 0"),
        (request(props(linuxParameters={"sharedMemorySize": 0})), "must be at least 1"),
        (request(props(linuxParameters={"devices": [{}]})), "hostPath must be specified"),
        (
            request(props(linuxParameters={"tmpfs": [{"containerPath": "/t"}]})),
            "tmpfs[0].size must be specified",
        ),
        (request(props(), schedulingPriority=10_000), "must be between 0 and 9999"),
        (request(props(), schedulingPriority=-1), "must be between 0 and 9999"),
        (request(props(), parameters={"a": 1}), "parameters.a must be a string"),
        (request(props(), propagateTags="no"), "propagateTags must be true or false"),
        (request(props(), retryStrategy={}), "RetryAttempts must be provided with retry strategy"),
        (
            request(props(), retryStrategy={"evaluateOnExit": [rule]}),
            "RetryAttempts must be provided with retry strategy",
        ),
        (retry(attempts=0), "attempts must be between 1 and 10, but is 0"),
        (retry(attempts=11), "attempts must be between 1 and 10, but is 11"),
        (retry(*[rule] * 6), "at most 5 conditions, but has 6"),
        (retry({"action": "MAYBE"}), "action must be RETRY or EXIT, but is 'MAYBE'"),
        (retry({}), "evaluateOnExit[0].action must be specified"),
        (retry({**rule, "onExitCode": "1x"}), "can have up to 512 digits"),
        (retry({**rule, "onReason": "a*b"}), "up to 512 letters, digits"),
        (retry({**rule, "onStatusReason": "a" * 513}), "onStatusReason can have up to 512"),
        (
            request(props(), timeout={"attemptDurationSeconds": 59}),
            "The minimum value for the timeout is 60 seconds",
        ),
        (request(props(), tags={"aws:x": "1"}), "reserved; 'aws:x'"),
        (request(props(), tags={"k": "v" * 257}), "a tag key has 1 to 128 characters"),
        (request(props(), tags={"": "v"}), "a tag key has 1 to 128 characters"),
        (request(props(), platformCapabilities=["X"]), "but has 'X'"),
        (request(props(), platformCapabilities=["EC2", "FARGATE"]), "can have one entry only"),
        (
            request(props(), **fargate),
            "vcpus is not applicable for Fargate. Use resource requirements instead.",
        ),
        (
            request({**FARGATE, "privileged": True}, **fargate),
            "Fargate requires that the 'privileged' setting be 'false' at the container level.",
        ),
        (
            request({**FARGATE, "instanceType": "m5.large"}, **fargate),
            "instanceType is not applicable for Fargate.",
        ),
        (
            request({**FARGATE, "linuxParameters": {"maxSwap": 1}}, **fargate),
            "maxSwap is not applicable for Fargate.",
        ),
        (
            request({**FARGATE, "volumes": [{"host": {"sourcePath": "/x"}}]}, **fargate),
            "sourcePath is not applicable for Fargate.",
        ),
        (
            request({**FARGATE, "executionRoleArn": None}, **fargate),
            "executionRoleArn must be specified",
        ),
        (
            request({**FARGATE, **listed(VCPU="2", MEMORY="1024")}, **fargate),
            "Fargate resource requirements (2.00 vCPU, 1024 MiB) not valid.",
        ),
        (
            request({**FARGATE, **listed(VCPU="1.25", MEMORY="1024")}, **fargate),
            "Fargate resource requirements (1.25 vCPU) not valid.",
        ),
        (
            request({**FARGATE, **listed(VCPU="1", MEMORY="2048", GPU="1")}, **fargate),
            "GPU is not applicable for Fargate.",
        ),
        (
            request({**FARGATE, **listed(VCPU="one", MEMORY="2048")}, **fargate),
            "Value one for type VCPU",
        ),
        (request(**nodes, **fargate, nodeProperties=NODES), "is not applicable for Fargate"),
        (request(**nodes, nodeProperties={}), "needs numNodes and mainNode"),
        (bad_nodes(mainNode=4), "mainNode is 4, but the nodes are 0 to 3"),
        (bad_nodes(numNodes=1001), "numNodes must be between 1 and 1000"),
        (bad_nodes(nodeRangeProperties=[]), "must have 1 to 5 groups, but has 0"),
        (bad_nodes(nodeRangeProperties=[group] * 6), "must have 1 to 5 groups, but has 6"),
        (bad_nodes(nodeRangeProperties=[group]), "does not cover node 1 of 4"),
        (targets("0-3"), "must look like 0:3"),
        (targets(":"), "must look like 0:3"),
        (targets("3:1"), "is '3:1', but the nodes are 0 to 3"),
        (targets("0:4"), "is '0:4', but the nodes are 0 to 3"),
        (
            bad_nodes(nodeRangeProperties=[{"targetNodes": "0:"}]),
            "needs container, ecsProperties or eksProperties",
        ),
        (
            bad_nodes(nodeRangeProperties=[{"targetNodes": "0:", "container": {"vcpus": 1}}]),
            "container.image must be specified",
        ),
        (request(ecsProperties={}), "taskProperties must have exactly 1 element, but has 0"),
        (request(ecsProperties={"taskProperties": [ecs, ecs]}), "but has 2"),
        (request(ecsProperties={"taskProperties": [{}]}), "1 to 10 containers, but has 0"),
        (
            request(ecsProperties={"taskProperties": [{"containers": ecs["containers"] * 2}]}),
            "must have unique names, but has a, a",
        ),
        (
            request(
                ecsProperties={
                    "taskProperties": [{"containers": [{"image": "a", "essential": False}]}]
                }
            ),
            "at least one container must be essential",
        ),
        (request(eksProperties={}), "podProperties must be specified"),
        (
            request(eksProperties={"podProperties": {"containers": [{"image": "a"}] * 11}}),
            "1 to 10 containers, but has 11",
        ),
        (
            request(eksProperties={"podProperties": {"containers": [{}]}}),
            "image must be specified",
        ),
    ]


@pytest.mark.parametrize(("members", "said"), refusals())
def test_refuses(world: World, members: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        world.do(RegisterJobDefinition(request=members))
    assert said in caught.value.message
    assert world.rows == {}


def test_refuses_more_than_50_tags(world: World) -> None:
    register(world, props(), tags={str(i): "" for i in range(50)})
    with pytest.raises(LimitExceeded, match="at most 50 tags, but 51"):
        register(world, props(), tags={str(i): "" for i in range(51)})


def test_refuses_a_definition_over_24_kib(world: World) -> None:
    overhead = len(b'{"jobDefinitionName":"d","type":"container","containerProperties":')
    overhead += len(b'{"image":"busybox","vcpus":1,"memory":128,"command":[""]}}')
    register(world, props(command=["x" * (24 * 1024 - overhead)]))
    with pytest.raises(LimitExceeded, match="JobDefinition size must be less than"):
        register(world, props(command=["x" * (24 * 1024 - overhead + 1)]))


@pytest.mark.parametrize("by", ["d:1", "arn:aws:batch:us-east-1:000000000000:job-definition/d:1"])
def test_deregistering_twice_is_no_error(world: World, by: str) -> None:
    register(world, props())
    world.now_ms += 5
    world.do(DeregisterJobDefinition(job_definition=by))
    once = world.definition("d", 1)
    assert once is not None
    assert (once.status, once.deregistered_at_ms) == ("INACTIVE", world.now_ms)
    world.now_ms += 5
    world.do(DeregisterJobDefinition(job_definition=by))
    assert world.definition("d", 1) == once


@pytest.mark.parametrize(
    "said", ["d:2", "e:1", "arn:aws:batch:us-east-1:000000000000:job-definition/d:9"]
)
def test_deregistering_an_unknown_revision_is_refused(world: World, said: str) -> None:
    register(world, props())
    with pytest.raises(NotFound, match="does not exist"):
        world.do(DeregisterJobDefinition(job_definition=said))


@pytest.mark.parametrize(
    "said", ["", "d", "d:0", "d:x", "arn:aws:batch:eu-west-1:000000000000:job-definition/d:1"]
)
def test_deregistering_needs_a_revision_of_this_yard(world: World, said: str) -> None:
    register(world, props())
    with pytest.raises(InvalidRequest, match="jobDefinition must be"):
        world.do(DeregisterJobDefinition(job_definition=said))

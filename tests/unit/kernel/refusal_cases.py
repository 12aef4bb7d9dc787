"""Commands that the kernel must refuse, by name. What it says to each stands in `refusals.txt`.

After a wording has changed on purpose, write the file anew and read the difference:

    PYTHONPATH=tests python -m unit.kernel.refusal_cases > tests/unit/kernel/refusals.txt
"""

from collections.abc import Iterator
from typing import Any

from batchyard.kernel import commands as cmd
from batchyard.kernel.faults import ClientFault, InvalidRequest
from batchyard.testing.world import World

REALM = "arn:aws:batch:us-east-1:000000000000:"
NETWORK = {"subnets": ["subnet-1"], "securityGroupIds": ["sg-1"]}
EC2 = {
    "type": "EC2",
    "minvCpus": 0,
    "maxvCpus": 8,
    "instanceRole": "role",
    "instanceTypes": ["optimal"],
    **NETWORK,
}
FARGATE = {"type": "FARGATE", "maxvCpus": 8, **NETWORK}
CONTAINER = {"image": "busybox", "vcpus": 1, "memory": 128}
FARGATE_CONTAINER = {
    "image": "busybox",
    "executionRoleArn": "role",
    "resourceRequirements": [
        {"type": "VCPU", "value": "0.25"},
        {"type": "MEMORY", "value": "512"},
    ],
}
NODES = {
    "numNodes": 2,
    "mainNode": 0,
    "nodeRangeProperties": [{"targetNodes": "0:1", "container": {"image": "busybox"}}],
}
LIMIT_ACTION = {"reason": "r", "state": "RUNNABLE", "maxTimeSeconds": 600, "action": "CANCEL"}


def yard() -> World:
    """Something of everything a request can name."""
    world = World()
    for name, resources in (
        ("best-fit", EC2),
        ("progressive", {**EC2, "allocationStrategy": "BEST_FIT_PROGRESSIVE"}),
        ("grown", {**EC2, "desiredvCpus": 4}),
        ("fargate", FARGATE),
    ):
        request = {
            "computeEnvironmentName": name,
            "type": "MANAGED",
            "computeResources": dict(resources),
        }
        world.do(cmd.CreateComputeEnvironment(request=dict(request), uuid=name))
    world.settle()
    for name in ("idle", "changing-ce", "new-ce", "leaving-ce"):
        world.environment(name)
    world.queue("q", environments=["unmanaged"])
    world.queue("on-fargate", environments=["fargate"])
    for name in ("off", "changing", "leaving"):
        world.queue(name, environments=["unmanaged"])
    for name in ("off", "leaving"):
        world.do(cmd.UpdateJobQueue(request={"jobQueue": name, "state": "DISABLED"}))
    for name in ("idle", "unmanaged", "leaving-ce"):
        update = {"computeEnvironment": name, "state": "DISABLED"}
        world.do(cmd.UpdateComputeEnvironment(request=dict(update)))
    world.settle()
    # From here on nothing settles: what changes or leaves stays so.
    world.do(cmd.DeleteJobQueue(job_queue="leaving"))
    world.do(cmd.DeleteComputeEnvironment(compute_environment="leaving-ce"))
    world.do(cmd.UpdateJobQueue(request={"jobQueue": "changing", "state": "DISABLED"}))
    for name in ("changing-ce", "new-ce"):
        world.do(cmd.UpdateComputeEnvironment(request={"computeEnvironment": name}))
    world.definition("d")
    for name, members in (
        ("ecs", {"ecsProperties": {"taskProperties": [{"containers": [named("a")]}]}}),
        ("eks", {"eksProperties": {"podProperties": {"containers": [named("a")]}}}),
        ("nodes", {"type": "multinode", "nodeProperties": NODES}),
        ("secret", {"containerProperties": {**CONTAINER, "secrets": [{"name": "s"}]}}),
        ("efs", volumes({"name": "v", "efsVolumeConfiguration": {"fileSystemId": "fs"}})),
        ("s3", volumes({"name": "v", "s3filesVolumeConfiguration": {}})),
        (
            "consumer",
            {
                "containerProperties": CONTAINER,
                "consumableResourceProperties": {"consumableResourceList": [{"quantity": 1}]},
            },
        ),
        (
            "on-fargate",
            {"containerProperties": FARGATE_CONTAINER, "platformCapabilities": ["FARGATE"]},
        ),
        ("word", {"containerProperties": {**CONTAINER, "command": ["echo", "Ref::word"]}}),
    ):
        definition: dict[str, Any] = {"jobDefinitionName": name, "type": "container"}
        definition.update(members)
        world.do(cmd.RegisterJobDefinition(request=definition))
    world.do(cmd.DeregisterJobDefinition(job_definition="nodes:1"))
    again: dict[str, Any] = {"jobDefinitionName": "nodes", "type": "multinode"}
    world.do(cmd.RegisterJobDefinition(request={**again, "nodeProperties": NODES}))
    return world


def named(name: str, **members: Any) -> dict[str, Any]:
    return {"name": name, "image": "busybox", **members}


def volumes(*entries: dict[str, Any]) -> dict[str, Any]:
    return {"containerProperties": {**CONTAINER, "volumes": list(entries)}}


def environments() -> Iterator[tuple[str, cmd.Command]]:
    def create(name: str = "new", **members: Any) -> cmd.Command:
        request = {"computeEnvironmentName": name, "type": "MANAGED", **members}
        return cmd.CreateComputeEnvironment(request=request, uuid="u")

    def ec2(base: dict[str, Any] = EC2, **members: Any) -> cmd.Command:
        return create(computeResources={**base, **members})

    def update(name: str, **members: Any) -> cmd.Command:
        return cmd.UpdateComputeEnvironment(request={"computeEnvironment": name, **members})

    def delete(name: str) -> cmd.Command:
        return cmd.DeleteComputeEnvironment(compute_environment=name)

    yield "no name", create("")
    yield "bad name", create("a b")
    yield "no type", create(type=None)
    yield "bad type", create(type="OWN")
    yield "bad state", create(type="UNMANAGED", state="ON")
    yield "no resources", create()
    yield "resources of unmanaged", create(type="UNMANAGED", computeResources=EC2)
    yield "name is taken", create("best-fit", computeResources=EC2)
    yield "unmanaged vcpus of managed", create(computeResources=EC2, unmanagedvCpus=1)
    yield "no resource type", ec2(type=None)
    yield "bad resource type", ec2(type="LAMBDA")
    yield "no max", ec2(maxvCpus=None)
    yield "no min", ec2(minvCpus=None)
    yield "negative min", ec2(minvCpus=-1)
    yield "negative max", ec2(maxvCpus=-1)
    yield "negative desired", ec2(desiredvCpus=-1)
    yield "no role", ec2(instanceRole=None)
    yield "min above max", ec2(minvCpus=9)
    yield "desired above max", ec2(desiredvCpus=9)
    yield "desired below min", ec2(minvCpus=2, desiredvCpus=1)
    yield "spot without fleet role", ec2(type="SPOT")
    yield "spot best fit without fleet role", ec2(type="SPOT", allocationStrategy="BEST_FIT")
    yield "bid of nothing", ec2(bidPercentage=0)
    yield "bid too high", ec2(bidPercentage=101)
    for member in (
        *("allocationStrategy", "bidPercentage", "ec2Configuration", "ec2KeyPair", "imageId"),
        *("instanceRole", "instanceTypes", "launchTemplate", "placementGroup", "tags"),
        *("minvCpus", "desiredvCpus", "spotIamFleetRole"),
    ):
        yield f"{member} on fargate", ec2(FARGATE, **{member: EC2.get(member, 1)})
    yield "update without name", update("")
    yield "update of unknown", update("unknown")
    yield "update while leaving", update("leaving-ce")
    yield "update of unmanaged vcpus", update("best-fit", unmanagedvCpus=1)
    yield "update of resources of unmanaged", update("idle", computeResources={"maxvCpus": 1})
    yield "update to eks", update("idle", eksConfiguration={"kubernetesNamespace": "x"})
    yield "update of nothing", update("best-fit", computeResources={})
    yield "scale down", update("grown", computeResources={"desiredvCpus": 3})
    yield "negative desired in update", update("grown", computeResources={"desiredvCpus": -1})
    yield (
        "update of best fit",
        update(
            "best-fit", computeResources={"subnets": ["other"], "type": "SPOT", "tags": {"a": "b"}}
        ),
    )
    yield (
        "update to best fit",
        update("progressive", computeResources={"allocationStrategy": "BEST_FIT"}),
    )
    yield "update of fargate", update("fargate", computeResources={"imageId": "ami"})
    yield (
        "update of fargate's image version",
        update("fargate", computeResources={"updateToLatestImageVersion": True}),
    )
    yield (
        "update of max below min",
        update("best-fit", computeResources={"minvCpus": 4, "maxvCpus": 3}),
    )
    yield "desired above max in update", update("best-fit", computeResources={"desiredvCpus": 9})
    yield "delete without name", delete("")
    yield "delete while changing", delete("new-ce")
    yield "delete while enabled", delete("best-fit")
    yield "delete with queues", delete("unmanaged")


def queues() -> Iterator[tuple[str, cmd.Command]]:
    order = [{"order": 1, "computeEnvironment": "best-fit"}]

    def create(name: str = "new", **members: Any) -> cmd.Command:
        base = {"jobQueueName": name, "priority": 1, "computeEnvironmentOrder": order}
        return cmd.CreateJobQueue(request={**base, **members})

    def orders(*entries: Any) -> cmd.Command:
        return create(
            computeEnvironmentOrder=[
                {"order": number, "computeEnvironment": name} for number, name in entries
            ]
        )

    def limit(**members: Any) -> cmd.Command:
        return create(jobStateTimeLimitActions=[{**LIMIT_ACTION, **members}])

    def update(name: str, **members: Any) -> cmd.Command:
        return cmd.UpdateJobQueue(request={"jobQueue": name, **members})

    yield "no name", create("")
    yield "bad name", create("a/b")
    yield "no priority", create(priority=None)
    yield "negative priority", create(priority=-1)
    yield "bad state", create(state="ON")
    yield "no environments", create(computeEnvironmentOrder=[])
    yield "name is taken", create("q")
    yield "fair share", create(schedulingPolicyArn="arn")
    yield "service environments", create(serviceEnvironmentOrder=[{"order": 1}])
    yield "sagemaker", create(jobQueueType="SAGEMAKER_TRAINING")
    yield "four environments", orders((1, "a"), (2, "b"), (3, "c"), (4, "d"))
    yield "no order", orders((None, "best-fit"))
    yield "negative order", orders((-1, "best-fit"))
    yield "same order", orders((1, "best-fit"), (1, "progressive"))
    yield "same environment", orders((1, "best-fit"), (2, "best-fit"))
    yield "no environment", orders((1, ""))
    yield "unknown environment", orders((1, "unknown"))
    yield "mixed environments", orders((1, "best-fit"), (2, "fargate"))
    yield "changing environment", orders((1, "changing-ce"), (2, "new-ce"))
    yield "limit without reason", limit(reason="")
    yield "limit without state", limit(state=None)
    yield "limit in another state", limit(state="RUNNING")
    yield "limit without time", limit(maxTimeSeconds=None)
    yield "limit too short", limit(maxTimeSeconds=599)
    yield "limit too long", limit(maxTimeSeconds=86_401)
    yield "limit without action", limit(action=None)
    yield "limit with another action", limit(action="KILL")
    yield "update without name", update("")
    yield "update of unknown", update("unknown")
    yield "update while leaving", update("leaving")
    yield "update with negative priority", update("q", priority=-1)
    yield "update to fair share", update("q", schedulingPolicyArn="arn")
    yield "update with bad limit", update("q", jobStateTimeLimitActions=[{"reason": "r"}])
    yield "delete without name", cmd.DeleteJobQueue(job_queue="")
    yield "delete while changing", cmd.DeleteJobQueue(job_queue="changing")
    yield "delete while enabled", cmd.DeleteJobQueue(job_queue="q")


def definitions() -> Iterator[tuple[str, cmd.Command]]:
    def register(**members: Any) -> cmd.Command:
        base = {"jobDefinitionName": "new", "type": "container"}
        return cmd.RegisterJobDefinition(request={**base, **members})

    def props(**members: Any) -> cmd.Command:
        return register(containerProperties={**CONTAINER, **members})

    def listed(*entries: dict[str, Any], **members: Any) -> cmd.Command:
        return props(vcpus=None, memory=None, resourceRequirements=list(entries), **members)

    def fargate(**members: Any) -> cmd.Command:
        return register(
            containerProperties={**FARGATE_CONTAINER, **members}, platformCapabilities=["FARGATE"]
        )

    def sized(vcpu: str, memory: str, **more: str) -> cmd.Command:
        values = {"VCPU": vcpu, "MEMORY": memory, **more}
        return fargate(resourceRequirements=[{"type": k, "value": v} for k, v in values.items()])

    def linux(**members: Any) -> cmd.Command:
        return props(linuxParameters=members)

    def nodes(**members: Any) -> cmd.Command:
        return register(type="multinode", nodeProperties={**NODES, **members})

    def group(**members: Any) -> cmd.Command:
        base = {"targetNodes": "0:1", "container": {"image": "busybox"}}
        return nodes(nodeRangeProperties=[{**base, **members}])

    def ecs(*containers: Any) -> cmd.Command:
        return register(ecsProperties={"taskProperties": [{"containers": list(containers)}]})

    def eks(**members: Any) -> cmd.Command:
        return register(eksProperties={"podProperties": members})

    def retry(**members: Any) -> cmd.Command:
        return register(containerProperties=CONTAINER, retryStrategy=members)

    def rule(**members: Any) -> cmd.Command:
        return retry(attempts=2, evaluateOnExit=[{"action": "EXIT", **members}])

    vcpu, memory = {"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "128"}
    yield "no name", register(jobDefinitionName="")
    yield "bad name", register(jobDefinitionName="a:b")
    yield "too large", props(command=["x" * 24 * 1024])
    yield "no type", register(type=None)
    yield "bad type", register(type="pod")
    yield "no properties", register()
    yield "no node properties", register(type="multinode")
    yield "wrong properties", register(type="multinode", containerProperties=CONTAINER)
    yield "two properties", register(containerProperties=CONTAINER, eksProperties={})
    yield "bad platform", register(containerProperties=CONTAINER, platformCapabilities=["LAMBDA"])
    yield (
        "two platforms",
        register(containerProperties=CONTAINER, platformCapabilities=["EC2", "FARGATE"]),
    )
    yield (
        "nodes on fargate",
        register(type="multinode", nodeProperties=NODES, platformCapabilities=["FARGATE"]),
    )
    yield "bad priority", register(containerProperties=CONTAINER, schedulingPriority=10_000)
    yield "negative priority", register(containerProperties=CONTAINER, schedulingPriority=-1)
    yield "parameters are no map", register(containerProperties=CONTAINER, parameters=[])
    yield "parameter is no text", register(containerProperties=CONTAINER, parameters={"a": 1})
    yield "propagate tags is no flag", register(containerProperties=CONTAINER, propagateTags="x")
    yield "51 tags", register(containerProperties=CONTAINER, tags={f"k{n}": "v" for n in range(51)})
    yield "empty tag key", register(containerProperties=CONTAINER, tags={"": "v"})
    yield "long tag key", register(containerProperties=CONTAINER, tags={"k" * 129: "v"})
    yield "long tag value", register(containerProperties=CONTAINER, tags={"k": "v" * 257})
    yield "reserved tag", register(containerProperties=CONTAINER, tags={"AWS:k": "v"})
    for seconds in (-(2**31), -(2**31) - 1):
        yield (
            f"timeout of {seconds}",
            register(containerProperties=CONTAINER, timeout={"attemptDurationSeconds": seconds}),
        )
    yield (
        "short timeout",
        register(containerProperties=CONTAINER, timeout={"attemptDurationSeconds": 59}),
    )
    yield "no attempts", retry()
    yield "too few attempts", retry(attempts=0)
    yield "too many attempts", retry(attempts=11)
    yield "attempts is no number", retry(attempts="2")
    yield "attempts is a flag", retry(attempts=True)
    yield "six rules", retry(attempts=2, evaluateOnExit=[{"action": "EXIT"}] * 6)
    yield "rule is no object", retry(attempts=2, evaluateOnExit=["EXIT"])
    yield "rules are no list", retry(attempts=2, evaluateOnExit={"action": "EXIT"})
    yield "no action", rule(action=None)
    yield "bad action", rule(action="STOP")
    yield "bad status reason", rule(onStatusReason="a*b")
    yield "bad reason", rule(onReason="a-b")
    yield "bad exit code", rule(onExitCode="x")
    yield "long bad reason", rule(onReason="-" * 100)
    yield "long exit code", rule(onExitCode="1" * 513)
    yield "no image", props(image=None)
    yield "image is no text", props(image=7)
    yield "network on ec2", props(networkConfiguration={})
    yield "fargate platform on ec2", props(fargatePlatformConfiguration={})
    yield "ephemeral storage on ec2", props(ephemeralStorage={})
    yield "no vcpu", listed(memory)
    yield "no memory", listed(vcpu)
    yield "nothing asked for", register(containerProperties={"image": "busybox"})
    yield "no requirement type", listed({"value": "1"})
    yield "bad requirement type", listed({"type": "TPU", "value": "1"})
    yield "same requirement", listed(vcpu, vcpu)
    yield "no requirement value", listed({"type": "VCPU"}, memory)
    yield "requirement value is no text", listed({"type": "VCPU", "value": True}, memory)
    yield "fractional vcpu on ec2", listed({"type": "VCPU", "value": "0.5"}, memory)
    yield "no vcpu at all", listed({"type": "VCPU", "value": "0"}, memory)
    yield "gpu is no number", listed(vcpu, memory, {"type": "GPU", "value": "all"})
    yield "memory is no number", listed(vcpu, {"type": "MEMORY", "value": "1GiB"})
    yield "little memory", listed(vcpu, {"type": "MEMORY", "value": "3"})
    yield "negative vcpus", props(vcpus=-1)
    yield "negative memory", props(memory=-1)
    yield "command is no list", props(command="echo")
    yield "command is no text", props(command=["echo", 1])
    yield "no variable name", props(environment=[{"value": "v"}])
    yield "reserved variable", props(environment=[{"name": "A"}, {"name": "AWS_BATCH_X"}])
    yield "bad user", props(user="Root!")
    yield "same volume", volumes_of(register, {"name": "v"}, {"name": "v"})
    yield "volume host is no object", volumes_of(register, {"name": "v", "host": "/data"})
    yield "source path is no text", volumes_of(register, {"host": {"sourcePath": 1}})
    yield "no mount path", props(mountPoints=[{}])
    yield "relative mount path", props(mountPoints=[{"containerPath": "data"}])
    yield "unknown volume", props(mountPoints=[{"containerPath": "/d", "sourceVolume": "v"}])
    yield "read only is no flag", props(mountPoints=[{"containerPath": "/d", "readOnly": 1}])
    yield "no ulimit name", props(ulimits=[{"softLimit": 1, "hardLimit": 1}])
    yield "no soft limit", props(ulimits=[{"name": "nofile", "hardLimit": 1}])
    yield "no hard limit", props(ulimits=[{"name": "nofile", "softLimit": 1}])
    yield "low soft limit", props(ulimits=[{"name": "n", "softLimit": -2, "hardLimit": 1}])
    yield "low hard limit", props(ulimits=[{"name": "n", "softLimit": 1, "hardLimit": -2}])
    yield "soft above hard", props(ulimits=[{"name": "n", "softLimit": 2, "hardLimit": 1}])
    yield "unlimited above hard", props(ulimits=[{"name": "n", "softLimit": -1, "hardLimit": 1}])
    yield "linux is no object", props(linuxParameters=[])
    yield "init is no flag", linux(initProcessEnabled="yes")
    yield "no shared memory", linux(sharedMemorySize=0)
    yield "negative swap", linux(maxSwap=-1)
    yield "negative swappiness", linux(swappiness=-1)
    yield "swappiness above 100", linux(swappiness=101)
    yield "no host path", linux(devices=[{}])
    yield "device path is no text", linux(devices=[{"hostPath": "/d", "containerPath": 1}])
    yield "permissions are no list", linux(devices=[{"hostPath": "/d", "permissions": "READ"}])
    yield "no tmpfs path", linux(tmpfs=[{"size": 1}])
    yield "no tmpfs size", linux(tmpfs=[{"containerPath": "/t"}])
    yield "empty tmpfs", linux(tmpfs=[{"containerPath": "/t", "size": 0}])
    for member in ("privileged", "readonlyRootFilesystem", "enableExecuteCommand"):
        yield f"{member} is no flag", props(**{member: "yes"})
    for member in ("jobRoleArn", "executionRoleArn", "instanceType"):
        yield f"{member} is no text", props(**{member: 1})
    yield "privileged on fargate", fargate(privileged=True)
    yield "no execution role on fargate", fargate(executionRoleArn=None)
    for member, value in (
        ("ulimits", [{"name": "n"}]),
        ("vcpus", 1),
        ("memory", 128),
        ("instanceType", "m5.large"),
    ):
        yield f"{member} on fargate", fargate(**{member: value})
    for member, setting in (
        ("devices", [{"hostPath": "/d"}]),
        ("sharedMemorySize", 1),
        ("tmpfs", [{"containerPath": "/t", "size": 1}]),
        ("maxSwap", 1),
        ("swappiness", 1),
    ):
        yield f"{member} on fargate", fargate(linuxParameters={member: setting})
    yield "host path on fargate", fargate(volumes=[{}, {"host": {"sourcePath": "/d"}}])
    yield "vcpu fargate does not sell", sized("0.3", "512")
    yield "memory fargate does not sell", sized("2", "1024")
    yield "memory fargate does not sell with 16", sized("16", "1024")
    yield "vcpu on fargate is no number", sized("one", "512")
    yield "gpu on fargate", sized("1", "2048", GPU="1")
    yield "no node count", nodes(numNodes=None)
    yield "no main node", nodes(mainNode=None)
    yield "no nodes", nodes(numNodes=0)
    yield "too many nodes", nodes(numNodes=1001)
    yield "negative main node", nodes(mainNode=-1)
    yield "main node beyond the nodes", nodes(mainNode=2)
    yield "no groups", nodes(nodeRangeProperties=[])
    yield "six groups", nodes(nodeRangeProperties=NODES["nodeRangeProperties"] * 6)  # type: ignore[operator]
    yield "no targets", group(targetNodes=None)
    for targets in (":", "x", "0-1", "1:0", "0:2", "2"):
        yield f"targets {targets}", group(targetNodes=targets)
    yield "a node without group", group(targetNodes="0")
    yield "the first node without group", group(targetNodes="1:1")
    yield "group without properties", group(container=None)
    yield "group with two properties", group(ecsProperties={})
    yield "group without image", group(container={})
    yield "no task", register(ecsProperties={"taskProperties": []})
    yield "two tasks", register(ecsProperties={"taskProperties": [{}, {}]})
    yield "no containers", ecs()
    yield "eleven containers", ecs(*(named(f"c{n}") for n in range(11)))
    yield "same container", ecs(named("a"), named("a"))
    yield "container without image", ecs({"name": "a"})
    yield "container with reserved variable", ecs(named("a", environment=[{"name": "AWS_BATCH"}]))
    yield "container with bad requirement", ecs(named("a", resourceRequirements=[{}]))
    yield "no essential container", ecs(named("a", essential=False))
    yield "no pod", register(eksProperties={})
    yield "no pod containers", eks(containers=[])
    yield "pod container without image", eks(containers=[{}])
    yield "init container without image", eks(containers=[named("a")], initContainers=[{}])
    yield "deregister nothing", cmd.DeregisterJobDefinition(job_definition="")
    yield "deregister without revision", cmd.DeregisterJobDefinition(job_definition="d")
    yield "deregister unknown", cmd.DeregisterJobDefinition(job_definition="d:9")


def volumes_of(register: Any, *entries: dict[str, Any]) -> cmd.Command:
    command: cmd.Command = register(**volumes(*entries))
    return command


def submissions() -> Iterator[tuple[str, cmd.Command]]:
    def submit(**members: Any) -> cmd.Command:
        base = {"jobName": "job", "jobQueue": "q", "jobDefinition": "d"}
        return cmd.SubmitJob(job_id="j", seq=9, request={**base, **members})

    def override(**members: Any) -> cmd.Command:
        return submit(containerOverrides=members)

    def needs(*entries: Any, array: int | None = None) -> cmd.Command:
        members: dict[str, Any] = {"dependsOn": list(entries)}
        if array is not None:
            members["arrayProperties"] = {"size": array}
        return submit(**members)

    yield "no name", submit(jobName="")
    yield "bad name", submit(jobName="-job")
    yield "too large", submit(parameters={"a": "x" * 30 * 1024})
    yield "no queue", submit(jobQueue=None)
    yield "unknown queue", submit(jobQueue="unknown")
    yield "foreign queue", submit(jobQueue="arn:aws:batch:eu-west-1:1:job-queue/q")
    yield "disabled queue", submit(jobQueue="off")
    yield "queue that is leaving", submit(jobQueue="leaving")
    yield "no definition", submit(jobDefinition="")
    yield "unknown definition", submit(jobDefinition="unknown")
    yield "unknown revision", submit(jobDefinition="d:9")
    yield "inactive revision", submit(jobDefinition="nodes:1")
    yield "share in first in first out", submit(shareIdentifier="a")
    yield "bad share", submit(shareIdentifier="a-b")
    yield "long bad share", submit(shareIdentifier="a" * 100 + "-")
    yield "priority in first in first out", submit(schedulingPriorityOverride=1)
    yield "bad priority override", submit(schedulingPriorityOverride=10_000)
    yield "two overrides", submit(containerOverrides={}, nodeOverrides={})
    yield "wrong override", submit(nodeOverrides={})
    yield "ecs", submit(jobDefinition="ecs")
    yield "eks", submit(jobDefinition="eks", eksPropertiesOverride={})
    yield "nodes", submit(jobDefinition="nodes")
    yield "container override of ecs", submit(jobDefinition="ecs", containerOverrides={})
    yield "secrets", submit(jobDefinition="secret")
    yield "efs", submit(jobDefinition="efs")
    yield "s3 files", submit(jobDefinition="s3")
    yield "consumables", submit(jobDefinition="consumer")
    yield (
        "consumables override",
        submit(consumableResourcePropertiesOverride={"consumableResourceList": []}),
    )
    yield "fargate queue", submit(jobQueue="on-fargate")
    yield "fargate", submit(jobQueue="on-fargate", jobDefinition="on-fargate")
    yield "fargate definition on ec2 queue", submit(jobDefinition="on-fargate")
    yield "array of one", submit(arrayProperties={"size": 1})
    yield "array too large", submit(arrayProperties={"size": 10_001})
    yield "array size is no number", submit(arrayProperties={"size": "2"})
    yield "21 dependencies", needs(*({"jobId": f"j{n}"} for n in range(21)))
    yield "no job id", needs({})
    yield "unknown job", needs({"jobId": "unknown"})
    yield "bad dependency type", needs({"jobId": "x", "type": "ANY"})
    yield "sequential single", needs({"type": "SEQUENTIAL"})
    yield "n to n single", needs({"jobId": "x", "type": "N_TO_N"})
    yield "sequential with job id", needs({"jobId": "x", "type": "SEQUENTIAL"}, array=2)
    yield "n to n without job id", needs({"type": "N_TO_N"}, array=2)
    yield "51 tags", submit(tags={f"k{n}": "v" for n in range(51)})
    yield "short timeout", submit(timeout={"attemptDurationSeconds": 1})
    yield "no attempts", submit(retryStrategy={})
    yield "no parameter", submit(jobDefinition="word")
    yield "empty argument", override(command=["echo", ""])
    yield "reserved variable", override(environment=[{"name": "AWS_BATCH_JOB_ID"}])
    yield "fractional vcpu", override(resourceRequirements=[{"type": "VCPU", "value": "1.5"}])
    yield "little memory", override(resourceRequirements=[{"type": "MEMORY", "value": "3"}])
    yield "propagate tags is no flag", submit(propagateTags=1)


def tags() -> Iterator[tuple[str, cmd.Command]]:
    def tag(arn: str, **found: str) -> cmd.Command:
        return cmd.TagResource(arn=arn, tags=found)

    for arn in (
        "q",
        "arn:aws:batch:us-east-1:000000000000",
        "nra:aws:batch:us-east-1:000000000000:job-queue/q",
        "arn:aws:ecs:us-east-1:000000000000:job-queue/q",
        REALM + "job-queue",
        REALM + "scheduling-policy/p",
        REALM + "job-queue/a/b",
        REALM + "job-queue/unknown",
        REALM + "compute-environment/unknown",
        REALM + "job-definition/d:9",
        REALM + "job-definition/d",
        REALM + "job/unknown",
        REALM + "job/x:0",
        REALM + "job/x#0",
        "arn:aws:batch:eu-west-1:000000000000:job-queue/q",
    ):
        yield f"tag {arn}", tag(arn, a="b")
        yield f"untag {arn}", cmd.UntagResource(arn=arn, keys=("a",))
    queue = REALM + "job-queue/q"
    yield "51 at once", tag(queue, **{f"k{n}": "v" for n in range(51)})
    yield "reserved key", cmd.TagResource(arn=queue, tags={"aws:x": "v"})
    yield "long value", tag(queue, k="v" * 257)


AREAS = {
    "environments": environments,
    "queues": queues,
    "definitions": definitions,
    "submissions": submissions,
    "tags": tags,
}


def cases() -> Iterator[tuple[str, cmd.Command]]:
    for area, some in AREAS.items():
        for name, command in some():
            yield f"{area}: {name}", command


def answer(world: World, command: cmd.Command) -> str:
    """What the kernel says, as it stands in the file."""
    try:
        world.do(command)
    except ClientFault as fault:
        field = fault.field if isinstance(fault, InvalidRequest) else ""
        lines = [f"{type(fault).__name__}: {fault.message}"]
        lines += [f"field: {field}"] if field else []
        lines += [f"hint: {fault.hint}"] if fault.hint else []
        return "\n".join(lines)
    return "taken"


def main() -> None:
    for name, command in cases():
        print(f"[{name}]\n{answer(yard(), command)}\n")


if __name__ == "__main__":
    main()

"""A live yard with one of everything a bad request may name, and a digest of all it has stored."""

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from batchyard.testing.server import LiveYard, serving, until
from conformance.bad_input.refused_request import Bad

REALM = "arn:aws:batch:us-east-1:000000000000"
REQUIREMENTS = [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "64"}]
CONTAINER = {"image": "any", "command": ["true"], "resourceRequirements": REQUIREMENTS}
RESOURCES = {
    "type": "EC2",
    "minvCpus": 0,
    "maxvCpus": 16,
    "instanceTypes": ["optimal"],
    "subnets": ["subnet-1"],
    "instanceRole": "ecsInstanceRole",
}


class Furnished:
    """The yard and the names of its jobs: `ids["running"]` and so on, `$running` in cases."""

    def __init__(self, yard: LiveYard, ids: dict[str, str]) -> None:
        self.yard = yard
        self.ids = ids

    def filled(self, bad: Bad) -> Bad:
        """The case with `$running` and the like replaced by the ids of jobs."""
        body, path = bad.body, bad.path
        for name, job_id in self.ids.items():
            body = body.replace(f"${name}".encode(), job_id.encode())
            path = path.replace(f"${name}", job_id)
        return replace(bad, body=body, path=path)

    def digest(self) -> dict[str, str]:
        return store_digest(self.yard.home)


def store_digest(home: Path) -> dict[str, str]:
    """One hash per table, over all of its rows."""
    with closing(sqlite3.connect(f"file:{home / 'yard.db'}?mode=ro", uri=True)) as database:
        tables = [
            name
            for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        ]
        return {
            table: hashlib.sha256(
                repr(sorted(map(repr, database.execute(f'SELECT * FROM "{table}"')))).encode()
            ).hexdigest()
            for table in tables
        }


@contextmanager
def furnished(home: Path) -> Iterator[Furnished]:
    """Serve a new yard on the mock executor, quiet from now on: nothing happens by itself."""
    with serving(home, executor="mock") as yard:
        ids = _furnish(yard)
        until(lambda: _quiet(home), what="the outbox is empty")
        yield Furnished(yard, ids)


def _quiet(home: Path) -> bool | None:
    with closing(sqlite3.connect(f"file:{home / 'yard.db'}?mode=ro", uri=True)) as database:
        (open_effects,) = database.execute("SELECT count(*) FROM outbox").fetchone()
        return None if open_effects else True


def _furnish(yard: LiveYard) -> dict[str, str]:
    _furnish_environments(yard)
    _furnish_definitions(yard)
    return _furnish_jobs(yard)


def _furnish_environments(yard: LiveYard) -> None:
    batch = yard.boto3("batch")

    def environment(name: str, **more: Any) -> None:
        batch.create_compute_environment(computeEnvironmentName=name, **more)

    environment("machines", type="MANAGED", computeResources=RESOURCES)
    environment(
        "fargate",
        type="MANAGED",
        computeResources={
            "type": "FARGATE",
            "maxvCpus": 4,
            "subnets": ["subnet-1"],
            "securityGroupIds": ["sg-1"],
        },
    )
    environment("free", type="UNMANAGED")
    environment("resting", type="UNMANAGED", state="DISABLED")

    def valid() -> bool | None:
        found = batch.describe_compute_environments()["computeEnvironments"]
        return True if all(one["status"] == "VALID" for one in found) else None

    until(valid, what="the compute environments are VALID")
    for name, first, state in (
        ("open", "machines", "ENABLED"),
        ("closed", "resting", "DISABLED"),
        ("serverless", "fargate", "ENABLED"),
    ):
        batch.create_job_queue(
            jobQueueName=name,
            priority=1,
            state=state,
            computeEnvironmentOrder=[{"order": 1, "computeEnvironment": first}],
        )

    def queues_valid() -> bool | None:
        found = batch.describe_job_queues()["jobQueues"]
        return True if all(one["status"] == "VALID" for one in found) else None

    until(queues_valid, what="the job queues are VALID")


def _furnish_definitions(yard: LiveYard) -> None:
    batch = yard.boto3("batch")

    def register(name: str, *, type: str = "container", **more: Any) -> None:
        batch.register_job_definition(jobDefinitionName=name, type=type, **more)

    register("plain", containerProperties=CONTAINER)
    register("plain", containerProperties=CONTAINER)
    batch.deregister_job_definition(jobDefinition="plain:2")
    register("retired", containerProperties=CONTAINER)
    batch.deregister_job_definition(jobDefinition="retired:1")
    register("long", containerProperties=CONTAINER, parameters={"run_for": "1000000"})
    register("reference", containerProperties={**CONTAINER, "command": ["cat", "Ref::input"]})
    register(
        "secretive",
        containerProperties={
            **CONTAINER,
            "secrets": [{"name": "A", "valueFrom": "arn:aws:ssm:us-east-1:0:parameter/a"}],
        },
    )
    register(
        "efs",
        containerProperties={
            **CONTAINER,
            "volumes": [{"name": "v", "efsVolumeConfiguration": {"fileSystemId": "fs-1"}}],
        },
    )
    register(
        "consuming",
        containerProperties=CONTAINER,
        consumableResourceProperties={
            "consumableResourceList": [{"consumableResource": "licence", "quantity": 1}]
        },
    )
    register(
        "serverless",
        platformCapabilities=["FARGATE"],
        containerProperties={
            "image": "any",
            "executionRoleArn": "arn:aws:iam::000000000000:role/r",
            "resourceRequirements": [
                {"type": "VCPU", "value": "1"},
                {"type": "MEMORY", "value": "2048"},
            ],
        },
    )
    register(
        "nodes",
        type="multinode",
        nodeProperties={
            "numNodes": 2,
            "mainNode": 0,
            "nodeRangeProperties": [{"targetNodes": "0:1", "container": CONTAINER}],
        },
    )
    register(
        "pod", eksProperties={"podProperties": {"containers": [{"name": "a", "image": "any"}]}}
    )


def _furnish_jobs(yard: LiveYard) -> dict[str, str]:
    batch = yard.boto3("batch")

    def submit(name: str, definition: str = "plain:1", **more: Any) -> str:
        answer = batch.submit_job(jobName=name, jobQueue="open", jobDefinition=definition, **more)
        job_id: str = answer["jobId"]
        return job_id

    ids = {
        "done": submit("done"),
        "array": submit("array", arrayProperties={"size": 3}),
        "running": submit("running", "long"),
    }
    ids["waiting"] = submit("waiting", dependsOn=[{"jobId": ids["running"]}])
    yard.wait(ids["done"], "SUCCEEDED")
    yard.wait(ids["array"], "SUCCEEDED")
    yard.wait(ids["running"], "RUNNING")
    yard.wait(ids["waiting"], "PENDING")
    return ids

"""Behaviour that real clients broke on elsewhere: each test names the client that needs it."""

import re
import uuid
from pathlib import Path
from typing import Any

import pytest

from batchyard.testing.server import LiveYard, until

pytestmark = pytest.mark.clients

REQUIREMENTS = [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "16"}]


@pytest.fixture(scope="module")
def batch(live: LiveYard) -> Any:
    return live.boto3("batch")


def run(live: LiveYard, *command: str, **submission: Any) -> str:
    """Submit to the default queue a job of a definition of its own."""
    properties = submission.pop("properties", {})
    parameters = submission.pop("defaults", {})
    batch = live.boto3("batch")
    definition = batch.register_job_definition(
        jobDefinitionName=f"rely-{uuid.uuid4()}",
        type="container",
        parameters=parameters,
        containerProperties={
            "image": "debian:stable",
            "command": list(command),
            "resourceRequirements": REQUIREMENTS,
            **properties,
        },
    )["jobDefinitionArn"]
    job_id: str = batch.submit_job(
        jobName="rely", jobQueue="default", jobDefinition=definition, **submission
    )["jobId"]
    return job_id


def test_array_children_know_their_index(live: LiveYard) -> None:
    """redun: "Array job environment variable not set"."""
    array = run(live, "sh", "-c", "echo $AWS_BATCH_JOB_ARRAY_INDEX", arrayProperties={"size": 3})
    live.wait(array, "SUCCEEDED")

    lines = [live.log_lines(live.describe(f"{array}:{index}")) for index in range(3)]

    assert lines == [["0"], ["1"], ["2"]]


def test_parameters_are_substituted(live: LiveYard) -> None:
    """luigi and Airflow: the job printed `Ref::msg`."""
    job = run(
        live,
        *("echo", "Ref::msg", "Ref::who"),
        defaults={"msg": "hello", "who": "nobody"},
        parameters={"who": "world"},
    )

    ended = live.wait(job, "SUCCEEDED")

    assert live.log_lines(ended) == ["hello world"]
    assert ended["parameters"] == {"msg": "hello", "who": "world"}
    assert ended["container"]["command"] == ["echo", "hello", "world"]


def test_a_job_knows_where_it_runs(live: LiveYard) -> None:
    """Metaflow: KeyError unless all of them are there."""
    job = run(
        live, "sh", "-c", "env | grep -E '^AWS_(BATCH|EXECUTION)'", retryStrategy={"attempts": 2}
    )

    ended = live.wait(job, "SUCCEEDED")

    assert sorted(live.log_lines(ended)) == [
        "AWS_BATCH_CE_NAME=this-machine",
        "AWS_BATCH_JOB_ATTEMPT=1",
        f"AWS_BATCH_JOB_ID={job}",
        "AWS_BATCH_JQ_NAME=default",
        "AWS_EXECUTION_ENV=AWS_ECS_EC2",
    ]
    assert all(not one["name"].startswith("AWS_") for one in ended["container"]["environment"])


@pytest.mark.parametrize("code", [0, 1, 23, 255])
def test_the_status_and_the_exit_code_come_together(
    live: LiveYard, batch: Any, tmp_path: Path, code: int
) -> None:
    """Toil: a job that is over and has no exit code has failed for it."""
    gate = tmp_path / "gate"
    job = run(live, "sh", "-c", f"until test -e {gate}; do sleep 0.01; done; exit {code}")
    live.wait(job, "RUNNING")
    gate.touch()
    seen: list[dict[str, Any]] = []

    def look() -> bool | None:
        seen.append(batch.describe_jobs(jobs=[job])["jobs"][0])
        return True if seen[-1]["status"] in ("SUCCEEDED", "FAILED") else None

    until(look, what="the job has ended")

    assert seen[-1]["status"] == ("SUCCEEDED" if code == 0 else "FAILED")
    for one in seen:
        over = one["status"] in ("SUCCEEDED", "FAILED")
        assert (one["container"].get("exitCode") == code) == over
        assert ("stoppedAt" in one) == over
        assert len(one["attempts"]) == (1 if over else 0)
    assert seen[-1]["attempts"][0]["container"]["exitCode"] == code
    assert seen[-1]["statusReason"] == "Essential container in task exited"


def test_a_mount_point_needs_no_read_only(live: LiveYard, tmp_path: Path) -> None:
    """Toil and miniwdl-aws: KeyError 'readOnly'."""
    folder = str(tmp_path)
    job = run(
        live,
        *("touch", f"{folder}/written"),
        properties={
            "volumes": [{"name": "v", "host": {"sourcePath": folder}}],
            "mountPoints": [{"sourceVolume": "v", "containerPath": folder}],
        },
    )

    live.wait(job, "SUCCEEDED")

    assert (tmp_path / "written").exists()


def test_queues_say_how_they_are(live: LiveYard, batch: Any) -> None:
    """ParallelCluster's awsbqueues reads statusReason of each."""
    assert all("statusReason" in one for one in batch.describe_job_queues()["jobQueues"])
    (found,) = batch.describe_compute_environments(computeEnvironments=["this-machine"])[
        "computeEnvironments"
    ]
    assert found["ecsClusterArn"].startswith("arn:aws:ecs:")


def test_roles_by_name_and_queues_without_a_state(batch: Any) -> None:
    """aegea: role names instead of ARNs, and no state."""
    name = "aegea-like"
    batch.create_compute_environment(
        computeEnvironmentName=name,
        type="MANAGED",
        serviceRole="aegea.batch.service",
        computeResources={
            "type": "SPOT",
            "minvCpus": 0,
            "maxvCpus": 64,
            "desiredvCpus": 2,
            "bidPercentage": 100,
            "instanceTypes": ["r5d", "c5d"],
            "subnets": ["subnet-0"],
            "securityGroupIds": ["sg-0"],
            "instanceRole": "aegea.batch.ecs_container_instance",
            "spotIamFleetRole": "aegea.batch.ecs_container_instance",
        },
    )

    def valid() -> dict[str, Any] | None:
        (found,) = batch.describe_compute_environments(computeEnvironments=[name])[
            "computeEnvironments"
        ]
        return found if found["status"] == "VALID" else None

    assert until(valid, what="the environment is VALID")["serviceRole"] == "aegea.batch.service"
    batch.create_job_queue(
        jobQueueName=name,
        priority=5,
        computeEnvironmentOrder=[{"order": 1, "computeEnvironment": name}],
    )
    (queue,) = batch.describe_job_queues(jobQueues=[name])["jobQueues"]
    assert queue["state"] == "ENABLED"


def test_an_unknown_queue_is_not_found(batch: Any) -> None:
    """aegea makes the queue when the message matches its expression."""
    with pytest.raises(batch.exceptions.ClientException) as caught:
        batch.submit_job(jobName="j", jobQueue="aegea_batch_default", jobDefinition="d")

    assert re.search("JobQueue .+ not found", caught.value.response["Error"]["Message"])


@pytest.mark.parametrize(
    ("operation", "member"),
    [
        ("update_compute_environment", "computeEnvironment"),
        ("update_job_queue", "jobQueue"),
    ],
)
def test_what_is_gone_does_not_exist(batch: Any, operation: str, member: str) -> None:
    """Terraform takes a thing for deleted when an update says so; the name is in the message."""
    with pytest.raises(batch.exceptions.ClientException, match="gone-thing does not exist"):
        getattr(batch, operation)(**{member: "gone-thing", "state": "DISABLED"})


def test_reapers_may_come_late(live: LiveYard, batch: Any) -> None:
    """Snakemake terminates every job after its success; Toil kills what it no longer knows."""
    job = run(live, "true")
    before = live.wait(job, "SUCCEEDED")

    for job_id in (job, str(uuid.uuid4())):
        batch.terminate_job(jobId=job_id, reason="clean up")
        batch.cancel_job(jobId=job_id, reason="clean up")

    assert live.describe(job) == before


def test_a_job_outlives_its_definition(live: LiveYard, batch: Any, tmp_path: Path) -> None:
    """miniwdl-aws deregisters as soon as it has submitted."""
    gate = tmp_path / "gate"
    job = run(live, "sh", "-c", f"until test -e {gate}; do sleep 0.01; done; echo over")
    definition = live.describe(job)["jobDefinition"]

    batch.deregister_job_definition(jobDefinition=definition)
    gate.touch()

    assert live.log_lines(live.wait(job, "SUCCEEDED")) == ["over"]
    assert live.describe(job)["jobDefinition"] == definition


def test_legacy_and_empty_members(live: LiveYard, batch: Any) -> None:
    """awsbsub, aegea and TOPMed: vcpus and memory, arrayProperties {}, dependsOn []."""
    definition = batch.register_job_definition(
        jobDefinitionName="legacy",
        type="container",
        containerProperties={"image": "any", "vcpus": 1, "memory": 64, "command": ["true"]},
    )["jobDefinitionArn"]
    job = batch.submit_job(
        jobName="legacy",
        jobQueue="default",
        jobDefinition=definition,
        arrayProperties={},
        dependsOn=[],
        parameters={},
        containerOverrides={"vcpus": 1, "memory": 16},
    )["jobId"]

    ended = live.wait(job, "SUCCEEDED")

    assert "arrayProperties" not in ended
    assert ended["container"]["memory"] == 16

"""A client inside a job reaches the yard that runs it, with nothing configured."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from batchyard.executors.docker.sockets import peer_pid
from batchyard.testing.server import LiveYard, live_yard
from clients.real_clients import AwsCli
from required import cannot_run

pytestmark = pytest.mark.clients

ROOT = Path(__file__).parents[2]
SCRIPT = Path(__file__).with_name("asks_the_yard.py").read_text()
ROLE = "arn:aws:iam::000000000000:role/pipeline"
IMAGE = "batchyard-clients:1"
SOCKET = os.environ.get("BATCHYARD_DOCKER_SOCKET", "/var/run/docker.sock")


@pytest.fixture(scope="module")
def containers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveYard]:
    """A yard on Docker."""
    try:
        peer_pid(SOCKET)
    except OSError as error:
        cannot_run(
            f"docker does not answer on {SOCKET} ({error}): run scripts/engines/docker-up.sh"
        )
    image = [sys.executable, str(ROOT / "scripts/engines/mkimage.py"), "--socket", SOCKET]
    subprocess.run([*image, "--tag", IMAGE, "chroot"], check=True, timeout=120)
    settings = f'engine_socket = "{SOCKET}"\n'
    home = tmp_path_factory.mktemp("containers")
    with live_yard(home, executor="docker", settings=settings) as yard:
        yield yard


def submit(yard: LiveYard, name: str, command: list[str], **properties: Any) -> str:
    batch = yard.boto3("batch")
    definition = batch.register_job_definition(
        jobDefinitionName=name,
        type="container",
        containerProperties={
            "image": IMAGE,
            "command": command,
            "resourceRequirements": [
                {"type": "VCPU", "value": "1"},
                {"type": "MEMORY", "value": "512"},
            ],
            **properties,
        },
    )["jobDefinitionArn"]
    job_id: str = batch.submit_job(jobName=name, jobQueue="default", jobDefinition=definition)[
        "jobId"
    ]
    return job_id


def check(yard: LiveYard, job_id: str) -> None:
    ended = yard.wait(job_id, "SUCCEEDED", "FAILED", timeout_s=120)
    lines = yard.log_lines(ended)
    assert ended["status"] == "SUCCEEDED", lines
    told = json.loads(lines[-1])
    assert told["arn"].startswith("arn:aws:sts::000000000000:assumed-role/pipeline/")
    assert told["status"] == "RUNNING"
    assert told["sees_itself"]
    assert told["stream"] == ended["container"]["logStreamName"]
    assert told["groups"] == ["/aws/batch/job"]
    yard.wait(told["child"], "SUCCEEDED", timeout_s=120)


def test_boto3_in_a_process(live: LiveYard) -> None:
    check(live, submit(live, "asks", [sys.executable, "-c", SCRIPT], jobRoleArn=ROLE))


@pytest.mark.engine
def test_boto3_in_a_container(containers: LiveYard) -> None:
    """The machine's own Python, as the image has none: the root is mounted and entered."""
    job_id = submit(
        containers,
        "asks",
        ["chroot", "/machine", sys.executable, "-c", SCRIPT],
        jobRoleArn=ROLE,
        volumes=[{"name": "machine", "host": {"sourcePath": "/"}}],
        mountPoints=[{"sourceVolume": "machine", "containerPath": "/machine", "readOnly": True}],
    )

    check(containers, job_id)


def test_the_aws_cli_in_a_process(aws_cli_1: AwsCli) -> None:
    yard, aws = aws_cli_1.yard, aws_cli_1.program
    script = f"{aws} sts get-caller-identity --query Arn --output text && {aws} batch list-jobs"
    script += " --job-queue $AWS_BATCH_JQ_NAME --query 'length(jobSummaryList) > `0`'"
    job_id = submit(yard, "asks-with-the-cli", ["sh", "-c", script], jobRoleArn=ROLE)

    ended = yard.wait(job_id, "SUCCEEDED", "FAILED", timeout_s=120)

    arn, sees_jobs = yard.log_lines(ended)
    assert ":assumed-role/pipeline/" in arn
    assert sees_jobs == "true"


def test_what_a_job_was_given_is_of_no_use_to_others(live: LiveYard) -> None:
    """Its keys are not the owner's, and its description does not show them."""
    job_id = submit(live, "tells", ["sh", "-c", "env"], jobRoleArn=ROLE)
    ended = live.wait(job_id, "SUCCEEDED")

    variables = "\n".join(live.log_lines(ended))
    described = json.dumps(ended)

    assert live.credentials.secret_access_key not in variables
    assert live.credentials.access_key_id not in variables
    assert "AWS_CONTAINER_AUTHORIZATION_TOKEN" in variables
    assert "AWS_CONTAINER_AUTHORIZATION_TOKEN" not in described

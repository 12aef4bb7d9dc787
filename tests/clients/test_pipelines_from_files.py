"""A genome pipeline the way large projects kept it: requests in JSON files, sent by the AWS CLI.

The definitions are of the old form (vcpus and memory, eleven Ref:: parameters, host volumes,
privileged), and name machines, images and networks that exist nowhere. Then boto3 submits arrays,
jobs that combine them, and synchronising jobs where there are more than twenty dependencies.
"""

from pathlib import Path
from typing import Any

import pytest

from batchyard.testing.server import LiveYard, until
from clients.real_clients import AwsCli

pytestmark = pytest.mark.clients

REQUESTS = Path(__file__).with_name("requests")


@pytest.fixture(scope="module")
def pipeline(aws_cli_1: AwsCli) -> LiveYard:
    """The yard with the pipeline's environment, queue and definition."""
    yard = aws_cli_1.yard
    for operation, request in (
        ("create-compute-environment", "compute_environment"),
        ("create-job-queue", "job_queue"),
        ("register-job-definition", "analysis_definition"),
    ):
        aws_cli_1("batch", operation, "--cli-input-json", f"file://{REQUESTS / request}.json")
        until(lambda: settled(yard), what="the pipeline's environment is VALID")
    return yard


def settled(yard: LiveYard) -> bool | None:
    (found,) = yard.boto3("batch").describe_compute_environments(
        computeEnvironments=["pipeline_env"]
    )["computeEnvironments"]
    return True if found["status"] == "VALID" else None


def submit(yard: LiveYard, name: str, *needs: str, size: int = 0, **parameters: str) -> str:
    more: dict[str, Any] = {"arrayProperties": {"size": size}} if size else {}
    job_id: str = yard.boto3("batch").submit_job(
        jobName=name,
        jobQueue="pipeline_queue",
        jobDefinition="pipeline_analysis",
        parameters={"jid": name, **parameters},
        dependsOn=[{"jobId": need} for need in needs],
        containerOverrides={
            "vcpus": 1,
            "memory": 16,
            "environment": [{"name": "JOB_NAME", "value": name}],
        },
        retryStrategy={"attempts": 1},
        **more,
    )["jobId"]
    return job_id


def test_what_was_sent_comes_back(pipeline: LiveYard) -> None:
    batch = pipeline.boto3("batch")
    (environment,) = batch.describe_compute_environments(computeEnvironments=["pipeline_env"])[
        "computeEnvironments"
    ]
    (definition,) = batch.describe_job_definitions(
        jobDefinitionName="pipeline_analysis", status="ACTIVE"
    )["jobDefinitions"]

    resources = environment["computeResources"]
    assert resources["imageId"] == "ami-0a1b2c3d4e5f60718"
    assert resources["bidPercentage"] == 60
    assert resources["tags"] == {"Name": "pipeline", "Project": "genomes"}
    properties = definition["containerProperties"]
    assert (properties["vcpus"], properties["memory"]) == (1, 64)
    assert properties["privileged"] is True
    assert [one["name"] for one in properties["volumes"]] == ["projects", "local", "tmp"]
    assert len(definition["parameters"]) == 11


def test_arrays_are_combined_and_analysed(pipeline: LiveYard) -> None:
    array = submit(pipeline, "grm", size=3, ra="-c", at="1")
    combine = submit(pipeline, "grm_combine", array)
    after = submit(pipeline, "post_analysis", combine, lf="post.log")

    ended = pipeline.wait(after, "SUCCEEDED")
    lines = pipeline.log_lines(pipeline.describe(f"{array}:1"))

    assert lines == [
        *("--rd", "analysis.sh", "--ra", "-c", "--rs", "1", "--at", "1", "--jid", "grm"),
        *("--lf", "run.log", "--wd", "/projects", "--pf", "/projects/pipeline", "--mt", "1"),
        *("--da", "0", "--sec", "0", "1"),
    ]
    assert pipeline.describe(combine)["stoppedAt"] <= ended["startedAt"]
    container = ended["container"]
    assert (container["vcpus"], container["memory"]) == (1, 16)
    assert {"name": "JOB_NAME", "value": "post_analysis"} in container["environment"]


def test_more_than_twenty_dependencies_are_synchronised(pipeline: LiveYard) -> None:
    """Twenty at a time, and the last synchronising job may wait for nothing."""
    parts = [submit(pipeline, f"part_{index}") for index in range(22)]
    syncs = [submit(pipeline, f"sync_{start}", *parts[start : start + 20]) for start in (0, 20, 40)]
    last = submit(pipeline, "last", *syncs)

    ended = pipeline.wait(last, "SUCCEEDED", timeout_s=120)

    stops = [pipeline.describe(part)["stoppedAt"] for part in parts]
    assert max(stops) <= ended["startedAt"]

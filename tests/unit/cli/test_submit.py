import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from batchyard.cli.submission import job_name_from, name_from_image

JobMaker = Callable[..., dict[str, Any]]
Run = Callable[..., Any]
SUBMITTED = {"jobId": "job-1", "jobName": "n", "jobArn": "arn:aws:batch:eu-west-2:1:job/job-1"}


def definition(name: str, revision: int, **members: Any) -> dict[str, Any]:
    return {
        "jobDefinitionName": name,
        "jobDefinitionArn": f"arn:aws:batch:eu-west-2:1:job-definition/{name}:{revision}",
        "revision": revision,
        "status": "ACTIVE",
        "type": "container",
        **members,
    }


@pytest.fixture
def yard(stub: Any) -> Any:
    """A stub that keeps definitions and accepts submits."""
    stub.definitions = []

    def describe(body: dict[str, Any]) -> dict[str, Any]:
        name = body.get("jobDefinitionName")
        found = [d for d in stub.definitions if name in (None, d["jobDefinitionName"])]
        return {"jobDefinitions": found}

    def register(body: dict[str, Any]) -> dict[str, Any]:
        revision = len(stub.bodies("RegisterJobDefinition"))
        # AWS: an answer carries empty members that the request did not have.
        body["containerProperties"] |= {"environment": [], "ulimits": [], "secrets": []}
        made = definition(revision=revision, name=body.pop("jobDefinitionName"), **body)
        stub.definitions.append(made)
        return made

    stub.on("DescribeJobDefinitions", describe)
    stub.on("RegisterJobDefinition", register)
    stub.on("SubmitJob", SUBMITTED)
    return stub


def test_an_image_with_a_command_is_registered_once_and_reused(yard: Any, run: Run) -> None:
    first = run("submit", "debian:stable", "-c", "2", "-m", "2g", "-e", "A=1", "--", "echo", "-n")
    second = run("submit", "debian:stable", "--", "date")

    assert (first.code, first.out) == (0, "job-1\n")
    assert second.code == 0
    assert len(yard.bodies("RegisterJobDefinition")) == 1
    one, two = yard.bodies("SubmitJob")
    assert one == {
        "jobName": "debian-stable",
        "jobQueue": "default",
        "jobDefinition": "debian-stable:1",
        "containerOverrides": {
            "command": ["echo", "-n"],
            "environment": [{"name": "A", "value": "1"}],
            "resourceRequirements": [
                {"type": "VCPU", "value": "2"},
                {"type": "MEMORY", "value": "2048"},
            ],
        },
    }
    assert two["jobDefinition"] == "debian-stable:1"


def test_other_mounts_need_another_revision(yard: Any, run: Run, tmp_path: Path) -> None:
    run("submit", "debian:stable", "--", "date")
    run("submit", "debian:stable", "--mount", f"{tmp_path}:/data:ro", "--", "date")
    run("submit", "debian:stable", "--mount", f"{tmp_path}:/data:ro", "--", "date")

    registered = yard.bodies("RegisterJobDefinition")
    assert len(registered) == 2
    assert registered[1]["containerProperties"]["mountPoints"] == [
        {"sourceVolume": "mount-0", "containerPath": "/data", "readOnly": True}
    ]
    assert registered[1]["containerProperties"]["volumes"] == [
        {"name": "mount-0", "host": {"sourcePath": str(tmp_path)}}
    ]


def test_a_definition_of_that_name_wins_over_an_image(yard: Any, run: Run) -> None:
    yard.definitions.append(definition("align", 3))

    ended = run(
        "submit", "align:3", "-q", "urgent", "-n", "go", "--array", "24", "--retry", "3",
        "--timeout", "2h", "--after", "x:N_TO_N", "--after", "y", "--tag", "p=q",
        "-p", "sample=HG002", "--gpus", "1",
    )  # fmt: skip

    assert ended.code == 0, ended.err
    assert yard.bodies("SubmitJob") == [
        {
            "jobName": "go",
            "jobQueue": "urgent",
            "jobDefinition": "align:3",
            "containerOverrides": {"resourceRequirements": [{"type": "GPU", "value": "1"}]},
            "arrayProperties": {"size": 24},
            "dependsOn": [{"jobId": "x", "type": "N_TO_N"}, {"jobId": "y"}],
            "retryStrategy": {"attempts": 3},
            "timeout": {"attemptDurationSeconds": 7200},
            "tags": {"p": "q"},
            "parameters": {"sample": "HG002"},
        }
    ]


def test_a_misspelt_definition_is_no_image(yard: Any, run: Run) -> None:
    yard.definitions.append(definition("align", 3))

    ended = run("submit", "aling")

    assert ended.code == 3
    assert "did you mean 'align'" in ended.err
    assert "batchyard submit aling -- COMMAND" in ended.err
    assert yard.bodies("SubmitJob") == []


def test_a_revision_that_does_not_exist_names_those_that_do(yard: Any, run: Run) -> None:
    yard.definitions.append(definition("align", 3))

    ended = run("submit", "align:7")

    assert ended.code == 3
    assert "align:3" in ended.err


def test_a_misspelt_queue_gets_near_names(yard: Any, run: Run, refused: Any) -> None:
    yard.definitions.append(definition("align", 3))
    yard.with_queues("default", "urgent")
    yard.on(
        "SubmitJob",
        refused(
            status=400,
            error="ClientException",
            body={"message": "JobQueue defualt not found."},
        ),
    )

    ended = run("submit", "align", "-q", "defualt")

    assert ended.code == 3
    assert "did you mean 'default'" in ended.err


def test_dry_run_prints_the_requests_and_sends_none(yard: Any, run: Run) -> None:
    ended = run("submit", "ghcr.io/x/tool:1.2", "--dry-run", "--", "tool")

    assert ended.code == 0
    assert json.loads(ended.out) == {
        "RegisterJobDefinition": {
            "jobDefinitionName": "tool-1-2",
            "type": "container",
            "containerProperties": {
                "image": "ghcr.io/x/tool:1.2",
                "resourceRequirements": [
                    {"type": "VCPU", "value": "1"},
                    {"type": "MEMORY", "value": "1024"},
                ],
            },
        },
        "SubmitJob": {
            "jobName": "tool-1-2",
            "jobQueue": "default",
            "jobDefinition": "tool-1-2",
            "containerOverrides": {"command": ["tool"]},
        },
    }
    assert {name for name, _ in yard.calls} <= {"describejobdefinitions"}


def test_json_is_the_base_and_options_lie_over_it(yard: Any, run: Run, tmp_path: Path) -> None:
    file = tmp_path / "job.json"
    base = {
        "jobName": "n",
        "jobQueue": "q",
        "jobDefinition": "d:1",
        "containerOverrides": {
            "resourceRequirements": [
                {"type": "VCPU", "value": "1"},
                {"type": "MEMORY", "value": "5"},
            ]
        },
        "schedulingPriorityOverride": 7,
    }
    file.write_text(json.dumps(base))

    ended = run("submit", "--json", str(file), "-c", "8", "-q", "other")

    assert ended.code == 0, ended.err
    (request,) = yard.bodies("SubmitJob")
    assert request["jobQueue"] == "other"
    assert request["schedulingPriorityOverride"] == 7
    assert request["containerOverrides"]["resourceRequirements"] == [
        {"type": "MEMORY", "value": "5"},
        {"type": "VCPU", "value": "8"},
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "nothing to submit"),
        (["a", "--array", "1"], "--array 1"),
        (["a", "--array", "10001"], "10000"),
        (["a", "--array", "x"], "array"),
        (["a", "--timeout", "30s"], "60"),
        (["a", "--timeout", "soon"], "duration"),
        (["a", "-m", "much"], "memory"),
        (["a", "-c", "0"], "vCPUs"),
        (["a", "--env", "=1"], "--env"),
        (["a", "--mount", "x"], "--mount"),
        (["--json", "/nonexistent.json"], "No such file"),
        (["a", "-o", "yaml"], "yaml"),
        (["a", "--colour"], "--colour"),
    ],
)
def test_a_wrong_command_line_is_refused_before_anything_is_sent(
    yard: Any, run: Run, arguments: list[str], said: str
) -> None:
    ended = run("submit", *arguments)

    assert ended.code == 2
    assert said in ended.err
    assert "try:" in ended.err
    assert yard.calls == []


def test_mounts_cannot_change_an_existing_definition(yard: Any, run: Run) -> None:
    yard.definitions.append(definition("align", 3))

    ended = run("submit", "align", "--mount", "/a:/b")

    assert ended.code == 2
    assert "batchyard jobdef register" in ended.err


def test_wait_ends_with_5_when_the_job_failed(yard: Any, run: Run, a_job: JobMaker) -> None:
    yard.with_jobs(a_job("job-1", status="FAILED", startedAt=1, container={"exitCode": 9}))

    plain = run("submit", "debian:stable", "--wait", "--", "false")
    own = run("submit", "debian:stable", "--wait", "--exit-code-from-job", "--", "false")

    assert (plain.code, plain.out) == (5, "job-1\n")
    assert "batchyard logs job-1" in plain.err
    assert own.code == 9


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ("debian", "debian"),
        ("debian:stable", "debian-stable"),
        ("quay.io/biocontainers/samtools:1.21--h0", "samtools-1-21--h0"),
        ("localhost:5000/a/b@sha256:" + "0" * 64, "b"),
        ("x/" + "y" * 200, "y" * 128),
        ("...", "image"),
    ],
)
def test_names_from_images_fit_the_alphabet_of_aws(image: str, name: str) -> None:
    assert name_from_image(image) == name


@pytest.mark.parametrize(
    ("named", "name"),
    [
        ("align:3", "align"),
        ("arn:aws:batch:r:1:job-definition/align:3", "align"),
        ("_x", "x"),
        ("--", "job"),
    ],
)
def test_a_job_name_starts_with_a_letter_or_digit(named: str, name: str) -> None:
    assert job_name_from(named) == name

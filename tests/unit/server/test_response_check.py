"""The check of answers finds what it is for, and nothing else."""

from pathlib import Path
from typing import Any

import pytest

from batchyard.server.response_check import VARIABLE, checking, response_check
from batchyard.wire.gateway import RequestContext, ResponseHook
from batchyard.wire.model import Models

Answer = dict[str, Any]


@pytest.fixture(scope="module")
def models() -> Models:
    return Models()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "problems"


@pytest.fixture
def check(models: Models, file: Path) -> ResponseHook:
    return checking(file, models)


def context(service: str = "batch") -> RequestContext:
    return RequestContext(
        request_id="r-1",
        service=service,
        operation="",
        access_key_id="",
        principal_arn="",
        account="",
        region="",
        user_agent="",
    )


@pytest.mark.parametrize(
    ("operation", "answer", "told"),
    [
        ("SubmitJob", {"jobName": "a"}, "jobId: required by SubmitJobResponse, absent"),
        ("SubmitJob", {"jobName": "a", "jobId": 7}, "jobId: expected string, got 7"),
        ("DescribeJobs", {"jobs": [{"color": "red"}]}, "jobs[0].color: not a member of JobDetail"),
        ("DescribeJobs", {"jobs": [{"status": "LOST"}]}, "'LOST' is not one of SUBMITTED"),
    ],
)
def test_a_wrong_answer_is_noted_with_its_request(
    check: ResponseHook, file: Path, operation: str, answer: Answer, told: str
) -> None:
    check(context(), operation, 200, answer)

    assert f"batch.{operation}" in file.read_text()
    assert told in file.read_text()
    assert "(r-1)" in file.read_text()


def test_right_answers_refusals_and_own_operations_are_not(check: ResponseHook, file: Path) -> None:
    check(context(), "SubmitJob", 200, {"jobName": "a", "jobId": "b"})
    check(context(), "SubmitJob", 400, None)
    check(context("batchyard"), "status", 200, {"any": "thing"})

    assert not file.exists()


def test_the_note_on_what_was_degraded_is_ours_to_add(check: ResponseHook, file: Path) -> None:
    check(context(), "DescribeJobs", 200, {"jobs": [{"batchyardNotes": ["a ulimit was clamped"]}]})

    assert "batchyardNotes" not in file.read_text()


def test_a_yard_that_nobody_tests_checks_nothing() -> None:
    assert response_check({}) is None
    assert response_check({VARIABLE: ""}) is None

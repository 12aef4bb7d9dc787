"""SubmitJob, DescribeJobs, CancelJob and TerminateJob: which member shows in which state."""

from typing import Any

import pytest

from batchyard.kernel.commands import ReportStartFailed
from batchyard.kernel.faults import InvalidRequest
from batchyard.kernel.states import STATUSES
from unit.api.served_yard import ARN, NOW_MS, ServedYard, finish, place, start, submit


def show(yard: ServedYard, job_id: str) -> dict[str, Any]:
    (found,) = yard.call("DescribeJobs", jobs=[job_id])["jobs"]
    return dict(found)


def test_a_submitted_job_shows_everything_but_results(yard: ServedYard) -> None:
    reply = yard.call("SubmitJob", jobName="j", jobQueue="q", jobDefinition="d", futureMember=7)
    job_id = reply["jobId"]
    assert reply == {"jobId": job_id, "jobName": "j", "jobArn": f"{ARN}job/{job_id}"}
    assert show(yard, job_id) == {
        "jobArn": f"{ARN}job/{job_id}",
        "jobId": job_id,
        "jobName": "j",
        "jobQueue": ARN + "job-queue/q",
        "jobDefinition": ARN + "job-definition/d:1",
        "status": "RUNNABLE",
        "createdAt": NOW_MS,
        "attempts": [],
        "retryStrategy": {"attempts": 1, "evaluateOnExit": []},
        "dependsOn": [],
        "parameters": {},
        "container": {
            "image": "busybox",
            "vcpus": 1,
            "memory": 128,
            "command": ["true"],
            "environment": [],
            "mountPoints": [],
            "networkInterfaces": [],
            "resourceRequirements": [],
            "secrets": [],
            "ulimits": [],
            "volumes": [],
        },
        "tags": {},
        "propagateTags": False,
        "platformCapabilities": [],
        "isCancelled": False,
        "isTerminated": False,
        "futureMember": 7,
    }


def test_options_come_back(yard: ServedYard) -> None:
    rules = [{"action": "exit", "onExitCode": "1"}, {"action": "RETRY", "onReason": "*"}]
    job = show(
        yard,
        submit(
            yard,
            timeout={"attemptDurationSeconds": 61},
            retryStrategy={"attempts": 3, "evaluateOnExit": rules},
            propagateTags=True,
            tags={"a": "b"},
            parameters={"p": "1"},
        ),
    )
    assert job["timeout"] == {"attemptDurationSeconds": 61}
    assert job["retryStrategy"] == {"attempts": 3, "evaluateOnExit": rules}
    assert (job["propagateTags"], job["tags"], job["parameters"]) == (True, {"a": "b"}, {"p": "1"})


def test_the_priority_of_the_definition_shows(yard: ServedYard) -> None:
    yard.call(
        "RegisterJobDefinition",
        jobDefinitionName="p",
        type="container",
        schedulingPriority=3,
        platformCapabilities=["EC2"],
        containerProperties={"image": "i", "vcpus": 1, "memory": 4},
    )
    job = show(yard, submit(yard, jobDefinition="p"))
    assert (job["schedulingPriority"], job["platformCapabilities"]) == (3, ["EC2"])


def results(job: dict[str, Any]) -> set[str]:
    members = {"taskArn", "containerInstanceArn", "logStreamName", "exitCode", "reason"}
    return members & job["container"].keys()


def test_results_appear_state_by_state(yard: ServedYard) -> None:
    job_id = submit(yard)
    place(yard, job_id)
    starting = show(yard, job_id)
    assert starting["status"] == "STARTING"
    assert results(starting) == {"taskArn", "containerInstanceArn"}
    assert starting["container"]["taskArn"].startswith("arn:aws:ecs:us-east-1:000000000000:task/")
    assert "startedAt" not in starting

    start(yard, job_id, 1, "ulimit nofile clamped", "ulimit nofile clamped")
    running = show(yard, job_id)
    assert (running["status"], running["startedAt"]) == ("RUNNING", NOW_MS + 10)
    assert results(running) == {"taskArn", "containerInstanceArn", "logStreamName"}
    assert running["container"]["logStreamName"].startswith("d/default/")
    assert running["attempts"] == []
    assert "stoppedAt" not in running
    assert running["batchyardNotes"] == ["ulimit nofile clamped"]

    finish(yard, job_id, 0)
    ended = show(yard, job_id)
    assert (ended["status"], ended["stoppedAt"]) == ("SUCCEEDED", NOW_MS + 20)
    assert ended["statusReason"] == "Essential container in task exited"
    assert ended["container"]["exitCode"] == 0
    assert "reason" not in ended["container"]
    assert ended["attempts"] == [
        {
            "container": {
                "taskArn": ended["container"]["taskArn"],
                "containerInstanceArn": ended["container"]["containerInstanceArn"],
                "logStreamName": ended["container"]["logStreamName"],
                "exitCode": 0,
                "networkInterfaces": [],
            },
            "startedAt": NOW_MS + 10,
            "stoppedAt": NOW_MS + 20,
            "statusReason": "Essential container in task exited",
        }
    ]


def test_a_retrying_job_shows_no_end(yard: ServedYard) -> None:
    job_id = submit(yard, retryStrategy={"attempts": 2})
    place(yard, job_id)
    start(yard, job_id)
    finish(yard, job_id, 3)
    job = show(yard, job_id)
    assert job["status"] == "RUNNABLE"
    assert "stoppedAt" not in job
    assert results(job) == set()
    assert [a["container"]["exitCode"] for a in job["attempts"]] == [3]
    place(yard, job_id, 2)
    again = show(yard, job_id)
    first = again["attempts"][0]["container"]
    assert again["container"]["taskArn"] != first["taskArn"]
    assert "exitCode" not in again["container"]


def test_a_container_that_never_started_has_a_reason_and_no_code(yard: ServedYard) -> None:
    job_id = submit(yard)
    place(yard, job_id)
    reason = "CannotPullContainerError: no such image"
    yard.do(ReportStartFailed(job_id=job_id, attempt=1, at_ms=NOW_MS + 5, reason=reason))
    job = show(yard, job_id)
    assert (job["status"], job["statusReason"]) == ("FAILED", "Task failed to start")
    assert results(job) == {"taskArn", "containerInstanceArn", "reason"}
    (attempt,) = job["attempts"]
    assert attempt["container"]["reason"] == reason
    assert "startedAt" not in attempt
    assert "startedAt" not in job


@pytest.mark.parametrize(
    ("operation", "member"), [("CancelJob", "isCancelled"), ("TerminateJob", "isTerminated")]
)
def test_a_stopped_job_carries_the_reason_given(
    yard: ServedYard, operation: str, member: str
) -> None:
    job_id = submit(yard)
    assert yard.call(operation, jobId=job_id, reason="No longer needed.") == {}
    job = show(yard, job_id)
    assert (job["status"], job["statusReason"]) == ("FAILED", "No longer needed.")
    assert (job[member], job["attempts"], results(job)) == (True, [], set())
    assert yard.call(operation, jobId=job_id, reason="again") == {}
    assert show(yard, job_id) == job


@pytest.mark.parametrize("operation", ["CancelJob", "TerminateJob"])
def test_stopping_the_unknown_is_no_error(yard: ServedYard, operation: str) -> None:
    for job_id in ("unknown", "unknown:3", "unknown#1", "a:b"):
        assert yard.call(operation, jobId=job_id, reason="r") == {}


@pytest.mark.parametrize("operation", ["CancelJob", "TerminateJob"])
@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"reason": "r"}, "jobId must be specified"),
        ({"jobId": "j"}, "reason must be specified"),
        ({"jobId": "j", "reason": ""}, "reason must be specified"),
        ({"jobId": "j", "reason": "x" * 1025}, "at most 1024 characters, but has 1025"),
        ({"jobId": 1, "reason": "r"}, "jobId must be a string"),
    ],
)
def test_stopping_needs_an_id_and_a_reason(
    yard: ServedYard, operation: str, params: dict[str, Any], said: str
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        yard.call(operation, **params)
    assert said in caught.value.message


def test_unknown_ids_are_left_out(yard: ServedYard) -> None:
    first, second = submit(yard), submit(yard)
    unknown = ["a" * 32, f"{first}:0", f"{first}#0", "x:1", "x:01", ""]
    answer = yard.call("DescribeJobs", jobs=[second, *unknown, first, second])
    assert [job["jobId"] for job in answer["jobs"]] == [second, first]
    assert yard.call("DescribeJobs", jobs=[]) == {"jobs": []}


def test_at_most_100_jobs(yard: ServedYard) -> None:
    assert yard.call("DescribeJobs", jobs=["x"] * 100) == {"jobs": []}
    with pytest.raises(InvalidRequest) as caught:
        yard.call("DescribeJobs", jobs=["x"] * 101)
    assert caught.value.message == "Maximum number of jobs supported is  100 ."


def test_an_array_and_its_children(yard: ServedYard) -> None:
    parent = submit(yard, arrayProperties={"size": 3})
    place(yard, f"{parent}:1")
    start(yard, f"{parent}:1")
    job = show(yard, parent)
    assert (job["status"], results(job)) == ("PENDING", set())
    tally = dict.fromkeys(STATUSES, 0) | {"RUNNABLE": 2, "RUNNING": 1}
    assert job["arrayProperties"] == {
        "size": 3,
        "statusSummary": tally,
        "statusSummaryLastUpdatedAt": NOW_MS,
    }
    children = yard.call("DescribeJobs", jobs=[f"{parent}:{i}" for i in range(5)])["jobs"]
    assert [(c["jobId"], c["status"]) for c in children] == [
        (f"{parent}:0", "RUNNABLE"),
        (f"{parent}:1", "RUNNING"),
        (f"{parent}:2", "RUNNABLE"),
    ]
    assert [c["arrayProperties"] for c in children] == [{"index": i} for i in range(3)]
    assert children[0]["jobName"] == "j"
    assert children[0]["jobDefinition"] == ARN + "job-definition/d:1"


def test_children_that_were_dropped_show_why(yard: ServedYard) -> None:
    parent = submit(yard, arrayProperties={"size": 500})
    yard.call("TerminateJob", jobId=parent, reason="enough")
    child = show(yard, f"{parent}:499")
    assert (child["status"], child["statusReason"], child["isTerminated"]) == (
        "FAILED",
        "enough",
        True,
    )
    assert (child["stoppedAt"], child["attempts"]) == (NOW_MS, [])
    assert show(yard, parent)["arrayProperties"]["statusSummary"]["FAILED"] == 500


def test_children_show_the_child_they_wait_for(yard: ServedYard) -> None:
    first, single = submit(yard, arrayProperties={"size": 2}), submit(yard)
    entries = [
        {"jobId": first, "type": "N_TO_N"},
        {"type": "SEQUENTIAL"},
        {"jobId": single},
    ]
    second = submit(yard, arrayProperties={"size": 2}, dependsOn=entries)
    assert show(yard, second)["dependsOn"] == entries
    assert show(yard, f"{second}:0")["status"] == "PENDING"
    assert show(yard, f"{second}:0")["dependsOn"] == [
        {"jobId": f"{first}:0", "type": "N_TO_N"},
        {"jobId": single},
    ]
    assert show(yard, f"{second}:1")["dependsOn"] == [
        {"jobId": f"{first}:1", "type": "N_TO_N"},
        {"jobId": f"{second}:0", "type": "SEQUENTIAL"},
        {"jobId": single},
    ]

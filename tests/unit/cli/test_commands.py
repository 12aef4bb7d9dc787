import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

JobMaker = Callable[..., dict[str, Any]]
Run = Callable[..., Any]


@pytest.fixture
def jobs(stub: Any, a_job: JobMaker) -> Any:
    stub.with_queues("default")
    stub.with_jobs(
        a_job("old", status="SUCCEEDED", createdAt=1, startedAt=10, stoppedAt=2010),
        a_job("new", status="RUNNABLE", createdAt=3, jobName="merge"),
        a_job(
            "bad",
            status="FAILED",
            createdAt=2,
            statusReason="Essential container in task exited",
            container={"exitCode": 137, "reason": "OutOfMemoryError: killed"},
        ),
        a_job("arr", status="PENDING", createdAt=0, arrayProperties={"size": 2}),
        a_job("arr:0", status="SUCCEEDED", createdAt=0, arrayProperties={"index": 0, "size": 2}),
        a_job("arr:1", status="FAILED", createdAt=0, arrayProperties={"index": 1, "size": 2}),
    )
    return stub


def test_ls_shows_all_states_newest_first(jobs: Any, run: Run) -> None:
    ended = run("ls")

    lines = ended.out.splitlines()
    assert ended.code == 0
    headings = lines[0].split("  ")
    assert [one for one in map(str.strip, headings) if one] == [
        *("JOB ID", "NAME", "STATUS", "QUEUE", "ARRAY", "AGE", "RAN", "REASON"),
    ]
    assert [line.split()[0] for line in lines[1:]] == ["new", "bad", "old", "arr"]
    assert lines[2].endswith(
        "exit 137; Essential container in task exited; OutOfMemoryError: killed"
    )
    assert lines[3].split()[-1] == "2s"
    assert jobs.bodies("ListJobs") == [
        {"jobQueue": "default", "filters": [{"name": "AFTER_CREATED_AT", "values": ["0"]}]}
    ]
    assert "\x1b" not in ended.out


def test_ps_is_ls(jobs: Any, run: Run) -> None:
    assert run("ps", "-o", "ids").out == run("ls", "-o", "ids").out == "new\nbad\nold\narr\n"


def test_ls_failed_asks_for_one_state_only(jobs: Any, run: Run) -> None:
    ended = run("ls", "--failed", "-o", "ids")

    assert ended.out == "bad\n"
    assert [body["jobStatus"] for body in jobs.bodies("ListJobs")] == ["FAILED"]


def test_ls_of_an_array_lists_its_children(jobs: Any, run: Run) -> None:
    assert run("ls", "arr", "-o", "ids").out == "arr:0\narr:1\n"
    assert run("ls", "arr", "--failed", "-o", "ids").out == "arr:1\n"
    assert run("ls", "old").code == 2


def test_ls_by_name_lets_the_server_filter_prefixes_and_matches_other_globs_here(
    jobs: Any, run: Run
) -> None:
    assert run("ls", "--name", "mer*", "-o", "ids").out == "new\n"
    assert jobs.bodies("ListJobs") == [
        {"jobQueue": "default", "filters": [{"name": "JOB_NAME", "values": ["mer*"]}]}
    ]
    assert run("ls", "--name", "*r?e", "-o", "ids").out == "new\n"
    assert jobs.bodies("ListJobs")[1]["filters"][0]["name"] == "AFTER_CREATED_AT"


def test_ls_says_when_it_hides_jobs(jobs: Any, run: Run) -> None:
    ended = run("ls", "--limit", "2", "-o", "ids")

    assert ended.out == "new\nbad\n"
    assert "--limit 0" in ended.err
    whole = run("ls", "--limit", "0", "-o", "ids")
    assert (whole.err, whole.out) == ("", "new\nbad\nold\narr\n")
    assert [body["jobStatus"] for body in jobs.bodies("ListJobs")[1:]] == [
        *("SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING", "SUCCEEDED", "FAILED")
    ]


def test_ls_follows_next_tokens(stub: Any, run: Run, a_job: JobMaker) -> None:
    stub.with_queues("default")
    stub.on(
        "ListJobs",
        lambda body: (
            {"jobSummaryList": [a_job("two")]}
            if body.get("nextToken") == "t"
            else {"jobSummaryList": [a_job("one")], "nextToken": "t"}
        ),
    )

    assert run("ls", "-s", "running", "-o", "ids").out == "one\ntwo\n"


def test_ls_as_json_has_the_members_of_aws(jobs: Any, run: Run) -> None:
    (found,) = json.loads(run("ls", "--failed", "-o", "json").out)
    (line,) = run("ls", "--failed", "-o", "jsonl").out.splitlines()

    assert found == json.loads(line)
    assert (found["jobId"], found["container"]["exitCode"]) == ("bad", 137)


def test_an_empty_list_says_so_away_from_the_data(stub: Any, run: Run) -> None:
    stub.with_queues("default")
    stub.with_jobs()

    ended = run("ls")

    assert (ended.code, ended.out, ended.err) == (0, "", "no jobs match\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--state", "DONE"], "SUBMITTED, PENDING"),
        (["--limit", "-1"], "--limit"),
        (["--interval", "soon"], "--interval"),
    ],
)
def test_wrong_filters_are_usage(jobs: Any, run: Run, arguments: list[str], said: str) -> None:
    ended = run("ls", *arguments)

    assert ended.code == 2
    assert said in ended.err


def test_a_misspelt_queue_gets_near_names(jobs: Any, run: Run) -> None:
    ended = run("ls", "-q", "defalt")

    assert ended.code == 3
    assert "did you mean 'default'" in ended.err


def test_show_prints_reasons_and_attempts(stub: Any, run: Run, a_job: JobMaker) -> None:
    attempts = [
        {"container": {"exitCode": 1}, "startedAt": 0, "stoppedAt": 5000, "statusReason": "Host"},
        {"container": {"reason": "OutOfMemory"}, "startedAt": 1000, "stoppedAt": 61000},
    ]
    stub.with_jobs(
        a_job(
            "j",
            status="FAILED",
            attempts=attempts,
            container={"command": ["echo", "a b"], "image": "debian:stable"},
            dependsOn=[{"jobId": "x", "type": "N_TO_N"}],
        )
    )

    ended = run("show", "j")

    assert ended.code == 0
    assert "command     echo 'a b'" in ended.out
    assert "after       x:N_TO_N" in ended.out
    assert "definition  align:3" in ended.out
    assert [line.split() for line in ended.out.splitlines()[-2:]] == [
        ["1", "1", "-", "Host"],
        ["2", "-", "1m00s", "OutOfMemory"],
    ]


def test_show_takes_arns_and_names_the_ids_it_misses(stub: Any, run: Run, a_job: JobMaker) -> None:
    stub.with_jobs(a_job("j"))

    assert run("show", "arn:aws:batch:eu-west-2:1:job/j", "-o", "ids").out == "j\n"
    ended = run("show", "j", "gone")
    assert ended.code == 3
    assert "gone" in ended.err
    assert run("show").code == 2


@pytest.fixture
def log(stub: Any, a_job: JobMaker) -> Any:
    """A stub of CloudWatch Logs with forward tokens that end by repeating."""
    stub.lines = [f"line {number}" for number in range(25)]

    def get(body: dict[str, Any]) -> dict[str, Any]:
        assert body["logGroupName"] == "/aws/batch/job"
        start = int(body["nextToken"]) if "nextToken" in body else 0
        if not body["startFromHead"]:
            start = max(0, len(stub.lines) - body["limit"])
        end = min(len(stub.lines), start + min(10, body["limit"]))
        return {
            "events": [{"message": line, "timestamp": 0} for line in stub.lines[start:end]],
            "nextForwardToken": str(end),
        }

    stub.on("GetLogEvents", get)
    stub.with_jobs(a_job("j", status="SUCCEEDED", container={"logStreamName": "d/default/1"}))
    return stub


def test_logs_prints_all_pages(log: Any, run: Run) -> None:
    ended = run("logs", "j")

    assert ended.code == 0
    assert ended.out.splitlines() == log.lines


def test_logs_tail_and_grep(log: Any, run: Run) -> None:
    assert run("logs", "j", "--tail", "2").out == "line 23\nline 24\n"
    assert run("logs", "j", "--grep", "1$").out == "line 1\nline 11\nline 21\n"
    assert run("logs", "j", "--grep", "1$", "--tail", "1").out == "line 21\n"
    assert run("logs", "j", "--grep", "(").code == 2
    assert run("logs", "j", "--tail", "0").code == 2


def test_logs_follow_goes_on_through_a_retry_until_the_end(
    log: Any, run: Run, a_job: JobMaker
) -> None:
    first, second = {"logStreamName": "first"}, {"logStreamName": "second"}
    texts = {"first": ["one"], "second": ["two", "three"]}
    log.on_each(
        "DescribeJobs",
        [
            {"jobs": [a_job("j", status="RUNNABLE")]},
            {"jobs": [a_job("j", container=first)]},
            {"jobs": [a_job("j", container=second)]},
            {"jobs": [a_job("j", container={**second, "exitCode": 4}, status="FAILED")]},
        ],
    )

    def get(body: dict[str, Any]) -> dict[str, Any]:
        lines = texts[body["logStreamName"]]
        start = int(body.get("nextToken", 0))
        return {
            "events": [{"message": line} for line in lines[start:]],
            "nextForwardToken": str(len(lines)),
        }

    log.on("GetLogEvents", get)

    ended = run("logs", "-f", "j")

    assert ended.out == "one\ntwo\nthree\n"
    assert ended.code == 5
    assert "exit 4" in ended.err


def test_a_stream_that_does_not_exist_yet_is_empty(
    stub: Any, run: Run, a_job: JobMaker, refused: Any
) -> None:
    stub.with_jobs(a_job("j", container={"logStreamName": "s"}))
    stub.on(
        "GetLogEvents",
        refused(
            status=400,
            error="ResourceNotFoundException",
            body={"message": "The specified log stream does not exist."},
        ),
    )

    ended = run("logs", "j")

    assert (ended.code, ended.out) == (0, "")


def test_logs_of_attempts(log: Any, run: Run, a_job: JobMaker) -> None:
    attempts = [{"container": {"logStreamName": "first"}}]
    log.with_jobs(
        a_job("j", attempts=attempts, container={"logStreamName": "second"}),
        a_job("w", status="RUNNABLE"),
        a_job("arr", arrayProperties={"size": 5}),
    )

    run("logs", "j", "--attempt", "1")
    run("logs", "j", "--attempt", "2")

    asked = [body["logStreamName"] for body in log.bodies("GetLogEvents")]
    assert sorted(set(asked)) == ["first", "second"]
    assert run("logs", "j", "--attempt", "3").code == 3
    waiting = run("logs", "w")
    assert waiting.code == 3
    assert "RUNNABLE" in waiting.err
    assert "batchyard explain w" in waiting.err
    array = run("logs", "arr")
    assert array.code == 2
    assert "batchyard logs arr:0" in array.err


def test_cancel_leaves_what_runs_and_says_how_to_stop_it(
    stub: Any, run: Run, a_job: JobMaker
) -> None:
    stub.with_jobs(a_job("w", status="RUNNABLE"), a_job("r"), a_job("d", status="FAILED"))
    stub.on("CancelJob", {})

    ended = run("cancel", "w", "r", "d", "--reason", "no more")

    assert ended.code == 0
    assert stub.bodies("CancelJob") == [{"jobId": "w", "reason": "no more"}]
    assert "batchyard terminate r" in ended.err
    assert "d had already FAILED" in ended.err


def test_terminate_by_selection_shows_a_sample_and_wants_consent(
    stub: Any, run: Run, a_job: JobMaker
) -> None:
    stub.with_queues("default")
    stub.with_jobs(*(a_job(f"r{number}") for number in range(8)))
    stub.on("TerminateJob", {})

    looked = run("terminate", "--name", "ali*", "--dry-run")
    refused = run("terminate", "--name", "ali*")
    done = run("terminate", "--name", "ali*", "--yes")

    assert (looked.code, len(looked.out.splitlines())) == (0, 8)
    assert refused.code == 2
    assert "terminate: 8" in refused.err
    assert "and 3 more" in refused.err
    assert "--yes" in refused.err
    assert done.code == 0
    assert len(stub.bodies("TerminateJob")) == 8


@pytest.mark.parametrize("verb", ["cancel", "terminate"])
def test_ending_needs_ids_or_a_selection_and_not_both(stub: Any, run: Run, verb: str) -> None:
    assert run(verb).code == 2
    assert run(verb, "j", "--queue", "default").code == 2
    assert run(verb, "--state", "SUCCEEDED").code == 2
    assert stub.calls == []


def test_a_refused_termination_is_reported_after_the_others(
    stub: Any, run: Run, a_job: JobMaker, refused: Any
) -> None:
    stub.with_jobs(a_job("a"), a_job("b"))
    stub.on_each(
        "TerminateJob",
        [refused(status=400, error="ClientException", body={"message": "no"}), {}],
    )

    ended = run("terminate", "a", "b")

    assert ended.code == 1
    assert "1 of 2 requests failed; the first: a: no" in ended.err
    assert len(stub.bodies("TerminateJob")) == 2


def test_explain_prints_the_sentence_the_fix_and_every_verdict(stub: Any, run: Run) -> None:
    stub.on(
        "explain",
        {
            "jobId": "j",
            "status": "RUNNABLE",
            "sentence": "It asks for 64000 MiB; the machine has 15900 MiB.",
            "fix": "submit with -m 15900",
            "verdicts": [
                {
                    "computeEnvironment": "here",
                    "order": 1,
                    "verdict": "never",
                    "code": "MEMORY",
                    "detail": "64000 MiB of 15900 MiB",
                }
            ],
        },
    )

    ended = run("explain", "j")

    assert ended.code == 0
    assert ended.out.splitlines() == [
        "RUNNABLE: It asks for 64000 MiB; the machine has 15900 MiB.",
        "fix: submit with -m 15900",
        "",
        "COMPUTE ENVIRONMENT  VERDICT  WHY",
        "here                 never    64000 MiB of 15900 MiB",
    ]
    assert json.loads(run("explain", "j", "-o", "json").out)[0]["jobId"] == "j"


def test_explain_away_from_a_yard_says_that_it_needs_one(stub: Any, run: Run) -> None:
    ended = run("explain", "j")

    assert ended.code == 1
    assert "needs a Batchyard endpoint" in ended.err


def test_queues(stub: Any, run: Run) -> None:
    stub.with_queues("default", "urgent")

    assert run("queue", "ls", "-o", "ids").out == "default\nurgent\n"
    assert "here" in run("queue", "ls").out
    assert "ENABLED" in run("queue", "show", "urgent").out
    assert run("queue", "show", "urgnt").code == 3


def test_a_queue_takes_the_only_environment_and_is_awaited(stub: Any, run: Run) -> None:
    environment = {"computeEnvironmentName": "here", "computeEnvironmentArn": "arn:here"}
    stub.on("DescribeComputeEnvironments", {"computeEnvironments": [environment]})
    stub.on("CreateJobQueue", {})
    queue = {"jobQueueName": "q", "jobQueueArn": "arn:q"}
    stub.on_each(
        "DescribeJobQueues",
        [
            {"jobQueues": [{**queue, "status": "CREATING"}]},
            {"jobQueues": [{**queue, "status": "VALID"}]},
        ],
    )

    ended = run("queue", "create", "q", "--priority", "5")

    assert ended.code == 0, ended.err
    assert stub.bodies("CreateJobQueue") == [
        {
            "jobQueueName": "q",
            "priority": 5,
            "state": "ENABLED",
            "computeEnvironmentOrder": [{"order": 1, "computeEnvironment": "here"}],
        }
    ]
    assert "VALID" in ended.err
    assert run("queue", "create", "q", "--ce", "hare").code == 3


def test_an_invalid_environment_fails_with_its_reason(stub: Any, run: Run) -> None:
    stub.on("CreateComputeEnvironment", {})
    found = {"computeEnvironmentName": "c", "status": "INVALID", "statusReason": "no such subnet"}
    stub.on("DescribeComputeEnvironments", {"computeEnvironments": [found]})

    ended = run("ce", "create", "c", "--type", "SPOT", "--max-vcpus", "8")

    assert ended.code == 1
    assert "no such subnet" in ended.err


def test_environments_as_requests(stub: Any, run: Run) -> None:
    local = run("ce", "create", "desk", "--max-vcpus", "8", "--dry-run")
    spot = run(
        "ce", "create", "s", "--type", "SPOT", "--max-vcpus", "64", "-i", "m5.large",
        "--subnet", "subnet-1", "--service-role", "r", "--tag", "a=b", "--dry-run",
    )  # fmt: skip

    assert json.loads(local.out)["CreateComputeEnvironment"] == {
        "computeEnvironmentName": "desk",
        "state": "ENABLED",
        "type": "UNMANAGED",
        "unmanagedvCpus": 8,
    }
    assert json.loads(spot.out)["CreateComputeEnvironment"] == {
        "computeEnvironmentName": "s",
        "state": "ENABLED",
        "type": "MANAGED",
        "computeResources": {
            "type": "SPOT",
            "maxvCpus": 64,
            "subnets": ["subnet-1"],
            "minvCpus": 0,
            "instanceTypes": ["m5.large"],
            "instanceRole": "ecsInstanceRole",
        },
        "serviceRole": "r",
        "tags": {"a": "b"},
    }
    for wrong in (["x", "--type", "EC2"], [], ["x", "-i", "m5.large"], ["x", "--type", "MOON"]):
        assert run("ce", "create", *wrong).code == 2


def test_definitions(stub: Any, run: Run, tmp_path: Path) -> None:
    revisions = [
        {
            "jobDefinitionName": "align",
            "jobDefinitionArn": f"arn:align:{revision}",
            "revision": revision,
            "status": "ACTIVE",
            "type": "container",
            "containerProperties": {"image": "bwa:1"},
        }
        for revision in (1, 3, 2)
    ]
    stub.on("DescribeJobDefinitions", {"jobDefinitions": revisions})
    stub.on("RegisterJobDefinition", revisions[1])

    assert run("jobdef", "ls", "-o", "ids").out == "arn:align:3\narn:align:2\narn:align:1\n"
    assert json.loads(run("jobdef", "show", "align").out)["revision"] == 3
    made = run(
        "jobdef", "register", "align", "--image", "bwa:1", "-m", "2g", "-e", "A=b",
        "-p", "s=x", "--retry", "2", "--", "bwa", "Ref::s",
    )  # fmt: skip
    assert made.code == 0, made.err
    assert stub.bodies("RegisterJobDefinition") == [
        {
            "type": "container",
            "containerProperties": {
                "image": "bwa:1",
                "resourceRequirements": [
                    {"type": "VCPU", "value": "1"},
                    {"type": "MEMORY", "value": "2048"},
                ],
                "command": ["bwa", "Ref::s"],
                "environment": [{"name": "A", "value": "b"}],
            },
            "retryStrategy": {"attempts": 2},
            "parameters": {"s": "x"},
            "jobDefinitionName": "align",
        }
    ]
    for wrong in (["x"], ["--image", "i"]):
        assert run("jobdef", "register", *wrong).code == 2


def test_status_shows_executor_warnings_loudly(stub: Any, run: Run) -> None:
    stub.on(
        "status",
        {
            "version": "0.1.0",
            "yardId": "y1",
            "executor": {"name": "process", "warnings": ["no container engine answers"]},
            "capacity": [
                {"computeEnvironment": "here", "vcpus": 4, "usedVcpus": 1, "memoryMiB": 8000}
            ],
            "counts": {"RUNNING": 2, "FAILED": 0},
            "queues": [{"name": "default", "state": "ENABLED", "counts": {"RUNNING": 2}}],
            "home": "/y",
        },
    )

    ended = run("status")

    assert ended.code == 0
    assert "1/4" in ended.out
    assert "RUNNING 2" in ended.out
    assert ended.err == "WARNING: no container engine answers\n"


def test_status_says_that_the_engine_does_not_answer_and_what_to_do(stub: Any, run: Run) -> None:
    trouble = {"message": "The engine cannot be reached.", "hint": "Start it."}
    stub.on("status", {"executor": {"name": "docker", "warnings": [], "trouble": trouble}})

    ended = run("status")

    assert ended.code == 0
    assert ended.err == "WARNING: The engine cannot be reached.\nStart it.\n"


def test_status_without_a_yard_is_exit_code_3(run: Run, monkeypatch: Any, tmp_path: Path) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    monkeypatch.delenv("AWS_ENDPOINT_URL_BATCH", raising=False)

    ended = run("status", "--home", str(tmp_path))

    assert ended.code == 3
    assert "batchyard up" in ended.err


def test_completion_scripts_know_the_commands(run: Run) -> None:
    for shell in ("bash", "zsh", "fish"):
        ended = run("completion", shell)
        assert ended.code == 0
        assert "terminate" in ended.out
        assert "env-vars" in ended.out
    assert run("completion", "tcsh").code == 2

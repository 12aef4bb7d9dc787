"""The `batchyard` command as people use it: a real server, real jobs, separate processes."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from batchyard.server.response_check import VARIABLE as CHECK_RESPONSES

pytestmark = pytest.mark.clients

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


@dataclass(frozen=True, kw_only=True)
class Yard:
    home: Path

    @property
    def environ(self) -> dict[str, str]:
        clean = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("AWS_", "BATCHYARD_")) or name == CHECK_RESPONSES
        }
        return {**clean, "BATCHYARD_HOME": str(self.home)}

    def run(
        self, *arguments: str, expect: int = 0, text: str = ""
    ) -> subprocess.CompletedProcess[str]:
        ended = subprocess.run(
            [sys.executable, "-m", "batchyard", *arguments],
            env=self.environ,
            input=text,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert ended.returncode == expect, f"{arguments}: {ended.stdout}\n{ended.stderr}"
        return ended

    def submit(self, *arguments: str) -> str:
        said = self.run("submit", *arguments).stdout
        assert UUID.fullmatch(said.strip()), said
        return said.strip()


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    made = Yard(home=tmp_path_factory.mktemp("yard"))
    up = made.run("up", "--executor", "process", "--port", "0")
    try:
        assert "export AWS_ENDPOINT_URL=http://127.0.0.1:" in up.stdout
        assert "WARNING" in up.stderr
        yield made
    finally:
        made.run("down", "--terminate-jobs", "--yes")
        made.run("status", expect=3)


def test_a_job_is_followed_to_its_end(yard: Yard) -> None:
    ended = yard.run(
        "submit", "debian:stable", "-f", "-e", "WHO=you", "--", "sh", "-c", "echo $WHO"
    )

    assert ended.stdout.splitlines()[1:] == ["you"]


def test_exit_codes_say_how_the_job_ended(yard: Yard) -> None:
    failing = ["submit", "debian:stable", "--wait"]

    assert "exit 7" in yard.run(*failing, "--", "sh", "-c", "exit 7", expect=5).stderr
    yard.run(*failing, "--exit-code-from-job", "--", "sh", "-c", "exit 7", expect=7)
    yard.run(*failing, "--exit-code-from-job", "--", "true")


def test_the_same_image_is_registered_once(yard: Yard) -> None:
    first = yard.submit("busybox:1.36", "--", "true")
    second = yard.submit("busybox:1.36", "--", "false")

    jobs = json.loads(yard.run("show", first, second, "-o", "json").stdout)
    assert {job["jobDefinition"].rpartition("/")[2] for job in jobs} == {"busybox-1-36:1"}


def test_an_array_with_its_logs_and_its_dependant(yard: Yard) -> None:
    array = yard.submit(
        "debian:stable", "-n", "children", "--array", "5", "--",
        "sh", "-c", 'echo child $AWS_BATCH_JOB_ARRAY_INDEX; test $AWS_BATCH_JOB_ARRAY_INDEX != 3',
    )  # fmt: skip
    after = yard.submit("debian:stable", "-n", "after", "--after", array, "--", "true")

    waited = yard.run("wait", array, expect=5)

    assert f"batchyard ls {array} --failed" in waited.stderr
    assert yard.run("ls", array, "--failed", "-o", "ids").stdout == f"{array}:3\n"
    children = yard.run("ls", array, "-o", "ids").stdout.split()
    assert children == [f"{array}:{index}" for index in range(5)]
    assert yard.run("logs", f"{array}:4").stdout == "child 4\n"
    yard.run("logs", array, expect=2)
    yard.run("wait", after, expect=5)


def test_listing_finds_jobs_by_name_and_state(yard: Yard) -> None:
    good = yard.submit("debian:stable", "-n", "findme-good", "--", "true")
    bad = yard.submit("debian:stable", "-n", "findme-bad", "--", "false")
    yard.run("wait", good, bad, expect=5)

    assert yard.run("ls", "-n", "findme-*", "-o", "ids").stdout.split() == [bad, good]
    assert yard.run("ls", "-n", "*me-g*", "-o", "ids").stdout.split() == [good]
    assert yard.run("ls", "-n", "findme-*", "--failed", "-o", "ids").stdout.split() == [bad]
    table = yard.run("ls", "-q", "default", "-n", "findme-*").stdout.splitlines()
    assert table[0].split()[:3] == ["JOB", "ID", "NAME"]
    assert "exit 1" in table[1]


def test_logs_grep_and_tail(yard: Yard) -> None:
    job = yard.submit("debian:stable", "--", "seq", "1", "300")
    yard.run("wait", job)

    assert yard.run("logs", job).stdout == "".join(f"{n}\n" for n in range(1, 301))
    assert yard.run("logs", job, "--tail", "2").stdout == "299\n300\n"
    assert yard.run("logs", job, "--grep", "^1.0$", "--tail", "1").stdout == "190\n"


def test_a_job_too_big_is_explained_with_both_numbers_and_can_be_cancelled(yard: Yard) -> None:
    job = yard.submit("debian:stable", "-m", "999GiB", "--", "true")

    said = yard.run("explain", job).stdout

    (found,) = json.loads(yard.run("status", "-o", "json").stdout)
    assert str(999 * 1024) in said
    assert str(found["capacity"][0]["memoryMiB"]) in said
    assert "never" in said
    yard.run("wait", job, "--timeout", "0.3", expect=7)
    yard.run("cancel", job, "--reason", "too big")
    assert "too big" in yard.run("wait", job, expect=5).stderr


def test_running_jobs_are_terminated_by_selection(yard: Yard) -> None:
    job = yard.submit("debian:stable", "-n", "endless", "--", "sleep", "1000")

    yard.run("terminate", "-n", "endless", expect=2)
    yard.run("terminate", "-n", "endless", "--yes")

    assert "Terminated with batchyard terminate" in yard.run("wait", job, expect=5).stderr


def test_requests_from_standard_input(yard: Yard) -> None:
    request = {
        "jobName": "from-json",
        "jobQueue": "default",
        "jobDefinition": "from-json",
        "containerOverrides": {"command": ["echo", "hi"]},
    }
    yard.run("jobdef", "register", "from-json", "--image", "debian:stable")

    ended = yard.run("submit", "--json", "-", "-f", text=json.dumps(request))

    assert ended.stdout.splitlines()[1:] == ["hi"]


def test_queues_and_environments_are_made_and_used(yard: Yard) -> None:
    yard.run("ce", "create", "desk", "--max-vcpus", "2")
    yard.run("queue", "create", "urgent", "--ce", "desk", "--priority", "9")

    yard.run("submit", "debian:stable", "-q", "urgent", "--wait", "--", "true")

    assert yard.run("queue", "ls", "-o", "ids").stdout.split()[0] == "urgent"
    assert "desk" in yard.run("queue", "show", "urgent").stdout
    assert "VALID" in yard.run("ce", "show", "desk").stdout
    refused = yard.run("submit", "debian:stable", "-q", "urgnt", "--", "true", expect=3)
    assert "did you mean 'urgent'" in refused.stderr


def test_ctrl_c_leaves_the_job_running(yard: Yard) -> None:
    job = yard.submit("debian:stable", "--", "sh", "-c", "echo ready; sleep 1000")
    with subprocess.Popen(
        [sys.executable, "-m", "batchyard", "logs", "-f", job],
        env=yard.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as following:
        # The job's words prove that the command is past starting up and inside the wait.
        assert following.stdout is not None
        assert following.stdout.readline() == "ready\n"
        following.send_signal(signal.SIGINT)
        _, rest = following.communicate(timeout=60)

    assert following.returncode == 130
    assert "submitted jobs go on" in rest
    (found,) = json.loads(yard.run("show", job, "-o", "json").stdout)
    assert found["status"] in ("RUNNABLE", "STARTING", "RUNNING")
    yard.run("terminate", job)
    yard.run("wait", job, expect=5)


def test_wrong_keys_are_exit_code_4(yard: Yard) -> None:
    variables = json.loads(yard.run("env-vars", "--shell", "json").stdout)
    environ = {**yard.environ, **variables, "AWS_SECRET_ACCESS_KEY": "wrong"}

    ended = subprocess.run(
        [sys.executable, "-m", "batchyard", "ls"],
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert ended.returncode == 4
    assert "env-vars" in ended.stderr


def test_jobs_go_on_while_the_yard_is_down(tmp_path: Path) -> None:
    yard = Yard(home=tmp_path)
    yard.run("up", "--executor", "process", "--port", "0")
    try:
        gate = tmp_path / "gate"
        job = yard.submit(
            "debian:stable", "--", "sh", "-c", f"until test -e {gate}; do sleep 0.05; done; exit 6"
        )
        while "RUNNING" not in yard.run("show", job).stdout:
            pass
        down = yard.run("down")
        gate.touch()
        yard.run("up", "--executor", "process")

        assert "1 running jobs go on" in down.stderr
        yard.run("wait", job, "--exit-code-from-job", "--timeout", "60", expect=6)
    finally:
        yard.run("down", "--terminate-jobs", "--yes")


def test_a_taken_port_is_said_before_anything_runs(tmp_path: Path, yard: Yard) -> None:
    variables = json.loads(yard.run("env-vars", "--shell", "json").stdout)
    port = variables["AWS_ENDPOINT_URL"].rpartition(":")[2]

    ended = Yard(home=tmp_path).run("up", "--port", port, expect=1)

    assert f"port {port} cannot be used" in ended.stderr
    assert "--port" in ended.stderr.splitlines()[-1]


def test_in_the_foreground_the_yard_ends_with_the_command(tmp_path: Path) -> None:
    yard = Yard(home=tmp_path)
    with subprocess.Popen(
        [sys.executable, "-m", "batchyard", "up", "--foreground", "--executor", "process"],
        env=yard.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as up:
        assert up.stdout is not None
        while not (line := up.stdout.readline()).startswith("Try:"):
            assert line, "the command ended before the yard was up"
        yard.run("status")
        up.send_signal(signal.SIGTERM)
        up.communicate(timeout=60)

    assert up.returncode == 0
    yard.run("status", expect=3)

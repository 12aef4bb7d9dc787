"""The examples and their how-tos on a real yard, through real clients.

The how-tos are executed as they are written: their bash blocks, in order, in one shell.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from required import cannot_run

ROOT = Path(__file__).resolve().parents[2]
BATCHYARD = Path(sys.executable).with_name("batchyard")
IMAGE = "batchyard-variant-calling:1"
Env = dict[str, str]


def execute(
    command: list[str], env: Env, timeout_s: float = 240
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=timeout_s, check=False
    )


@pytest.fixture
def yard(tmp_path: Path) -> Iterator[Callable[[str], Env]]:
    """Starts a yard with the given executor; answers the environment that leads to it."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
    env = {**clean, "BATCHYARD_HOME": str(tmp_path / "yard"), "DOCKER_BUILDKIT": "0"}

    def start(executor: str) -> Env:
        up = execute([str(BATCHYARD), "up", "--port", "0", "--executor", executor], env)
        assert up.returncode == 0, up.stderr
        exports = execute([str(BATCHYARD), "env-vars"], env).stdout
        return env | dict(re.findall(r"(AWS_\w+)=(\S+)", exports.replace("'", "")))

    yield start
    execute([str(BATCHYARD), "down"], env)


@pytest.fixture
def image() -> str:
    answers = shutil.which("docker") and execute(["docker", "info"], dict(os.environ))
    if not answers or answers.returncode != 0:
        cannot_run("no Docker Engine answers: scripts/engines/docker-up.sh starts it")
    built = execute(["scripts/images/build.sh"], dict(os.environ))
    if built.returncode != 0:
        cannot_run(f"the image cannot be built: {built.stderr}")
    return IMAGE


def run_demo(env: Env, output: Path, *more: str) -> subprocess.CompletedProcess[str]:
    script = ROOT / "examples" / "variant-calling" / "run_demo.py"
    return execute([sys.executable, str(script), "--output", str(output), *more], env)


def test_the_pipeline_runs_as_processes(yard: Callable[[str], Env], tmp_path: Path) -> None:
    done = run_demo(yard("process"), tmp_path / "results")
    assert done.returncode == 0, done.stderr
    assert "5/5  SUCCEEDED 5" in done.stdout
    report = (tmp_path / "results" / "report.html").read_text()
    assert "<b>10</b> variant sites" in report


@pytest.mark.engine
def test_the_pipeline_runs_as_containers(
    yard: Callable[[str], Env], image: str, tmp_path: Path
) -> None:
    done = run_demo(yard("docker"), tmp_path / "results", "--image", image)
    assert done.returncode == 0, done.stderr
    assert "<b>10</b> variant sites" in (tmp_path / "results" / "report.html").read_text()


def test_a_failing_child_ends_the_demo_with_its_log(
    yard: Callable[[str], Env], tmp_path: Path
) -> None:
    broken = tmp_path / "broken-python"
    broken.write_text('#!/bin/sh\necho "no genome for child $AWS_BATCH_JOB_ARRAY_INDEX"\nexit 3\n')
    broken.chmod(0o755)
    done = run_demo(yard("process"), tmp_path / "results", "--python", str(broken))
    assert done.returncode == 1
    assert "FAILED, exit code 3" in done.stderr
    for index in range(4):
        assert f"| no genome for child {index}" in done.stderr
    assert not (tmp_path / "results" / "report.html").exists()


def test_a_yard_that_does_not_answer_is_said(tmp_path: Path) -> None:
    env = {**os.environ, "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y"}
    # Port 1 is reserved and refuses; botocore need not insist.
    env |= {"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_MAX_ATTEMPTS": "1"}
    done = run_demo(env, tmp_path)
    assert done.returncode == 1
    assert "Is the yard up" in done.stderr


# --- the how-tos --------------------------------------------------------------------------------


@pytest.fixture(params=["BATCHYARD_AWS_CLI_V1", "BATCHYARD_AWS_CLI_V2"])
def aws_cli(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A folder for the front of PATH that holds this AWS CLI and nothing else."""
    path = os.environ.get(request.param, "")
    if not path or not Path(path).is_file():
        cannot_run(f"{request.param} names no AWS CLI ({path or 'unset'}): make test installs both")
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "aws").write_text(f'#!/bin/sh\nexec {path} "$@"\n')
    (folder / "aws").chmod(0o755)
    return folder


def how_to(name: str, kinds: set[str]) -> str:
    text = (ROOT / "docs" / "how-to" / name).read_text()
    blocks = re.findall(r"^```(bash[^\n]*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    # The yard is up already, with the executor of the test: `up` says so and goes on.
    return "set -euo pipefail\n" + "\n".join(body for kind, body in blocks if kind in kinds)


def follow(script: str, env: Env, aws_cli: Path) -> str:
    done = execute(["bash", "-c", script], env | {"PATH": f"{aws_cli}:{env['PATH']}"})
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_how_to_variant_calling_as_processes(yard: Callable[[str], Env], aws_cli: Path) -> None:
    out = follow(how_to("variant-calling.md", {"bash"}), yard("process"), aws_cli)
    assert "called 9 variants" in out
    assert out.rstrip().endswith("demo-output/by-hand/report.html")


@pytest.mark.engine
@pytest.mark.usefixtures("image")
def test_how_to_variant_calling_as_containers(yard: Callable[[str], Env], aws_cli: Path) -> None:
    script = how_to("variant-calling.md", {"bash", "bash container"})
    assert "called 9 variants" in follow(script, yard("docker"), aws_cli)


@pytest.mark.engine
@pytest.mark.usefixtures("image")
def test_how_to_fetch_and_run(yard: Callable[[str], Env], aws_cli: Path) -> None:
    out = follow(how_to("fetch-and-run.md", {"bash"}), yard("docker"), aws_cli)
    assert "SUCCEEDED" in out
    assert "Greeting from the environment: hello from submit-job" in out
    assert out.rstrip().endswith("Bye")

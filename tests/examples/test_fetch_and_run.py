"""examples/fetch-and-run/fetch_and_run.sh by itself: what it runs, and how it refuses."""

import os
import subprocess
import zipfile
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "fetch-and-run"


def fetch_and_run(
    arguments: list[str], env: dict[str, str], temporary: Path
) -> subprocess.CompletedProcess[str]:
    clean = {"PATH": os.environ["PATH"], "TMPDIR": str(temporary)}
    return subprocess.run(
        [str(EXAMPLE / "fetch_and_run.sh"), *arguments],
        env={**clean, **env},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def script(folder: Path, name: str, body: str) -> Path:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{body}\n")
    return path


def test_script_gets_the_arguments_after_the_label_and_its_code_is_the_jobs(tmp_path: Path) -> None:
    path = script(tmp_path, "job.sh", 'echo "$# $1 $2"; exit 7')
    env = {"BATCH_FILE_TYPE": "script", "BATCH_FILE_URL": f"file://{path}"}
    done = fetch_and_run(["label", "one", "two words"], env, tmp_path)
    assert (done.returncode, done.stdout) == (7, "2 one two words\n")


def test_zip_runs_the_named_script_among_its_files(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "job.zip", "w") as archive:
        archive.writestr("main.sh", '#!/bin/sh\ncat data.txt; echo "$1"\n')
        archive.writestr("data.txt", "from the zip\n")
    env = {"BATCH_FILE_TYPE": "zip", "BATCH_FILE_URL": f"file://{tmp_path}/job.zip"}
    done = fetch_and_run(["main.sh", "argument"], env, tmp_path)
    assert (done.returncode, done.stdout) == (0, "from the zip\nargument\n")


def test_s3_goes_through_the_aws_cli(tmp_path: Path) -> None:
    fake = tmp_path / "bin"
    fake.mkdir()
    aws = script(fake, "aws", 'echo "#!/bin/sh"; echo "echo asked for: $*"')
    aws.chmod(0o755)
    env = {
        "PATH": f"{fake}:{os.environ['PATH']}",
        "BATCH_FILE_TYPE": "script",
        "BATCH_FILE_S3_URL": "s3://bucket/job.sh",
    }
    done = fetch_and_run(["label"], env, tmp_path)
    assert (done.returncode, done.stdout) == (0, "asked for: s3 cp s3://bucket/job.sh -\n")


@pytest.mark.parametrize(
    ("env", "arguments", "words"),
    [
        ({}, [], "BATCH_FILE_TYPE is not set"),
        ({"BATCH_FILE_TYPE": "tar"}, [], "must be script or zip"),
        ({"BATCH_FILE_TYPE": "script"}, [], "neither BATCH_FILE_S3_URL nor"),
        (
            {"BATCH_FILE_TYPE": "script", "BATCH_FILE_S3_URL": "https://x/y"},
            [],
            "must begin with s3://",
        ),
        ({"BATCH_FILE_TYPE": "script", "BATCH_FILE_URL": "/x"}, [], "must begin with file:///"),
        ({"BATCH_FILE_TYPE": "zip", "BATCH_FILE_URL": "file:///x"}, [], "first argument names"),
    ],
)
def test_a_wrong_call_prints_usage_and_ends_with_2(
    tmp_path: Path, env: dict[str, str], arguments: list[str], words: str
) -> None:
    done = fetch_and_run(arguments, env, tmp_path)
    assert done.returncode == 2
    assert words in done.stdout
    assert "BATCH_FILE_TYPE    script | zip" in done.stdout
    assert done.stderr == ""


def test_a_file_that_cannot_be_fetched_ends_with_1_and_leaves_nothing(tmp_path: Path) -> None:
    env = {"BATCH_FILE_TYPE": "script", "BATCH_FILE_URL": "file:///nowhere/job.sh"}
    done = fetch_and_run(["label"], env, tmp_path)
    assert done.returncode == 1
    assert "fetch_and_run.sh - cannot read /nowhere/job.sh" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_script_that_is_not_in_the_zip_ends_with_1(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "job.zip", "w") as archive:
        archive.writestr("main.sh", "#!/bin/sh\n")
    env = {"BATCH_FILE_TYPE": "zip", "BATCH_FILE_URL": f"file://{tmp_path}/job.zip"}
    done = fetch_and_run(["other.sh"], env, tmp_path)
    assert done.returncode == 1
    assert "other.sh is not in file://" in done.stderr

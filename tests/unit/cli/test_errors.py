import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from batchyard.cli.app import bring_behind

Run = Callable[..., Any]


@pytest.mark.parametrize(
    ("status", "error", "message", "code"),
    [
        (400, "ClientException", "JobQueue x not found.", 3),
        (400, "ClientException", "x does not exist", 3),
        (400, "ClientException", "Job name should match valid pattern", 1),
        (404, "ResourceNotFoundException", "none", 3),
        (403, "AccessDeniedException", "User is not authorized", 4),
        (403, "SignatureDoesNotMatch", "no", 4),
        (400, "UnrecognizedClientException", "The security token is invalid", 4),
        (500, "ServerException", "store unavailable", 1),
    ],
)
def test_errors_of_the_endpoint_have_exit_codes(
    stub: Any, run: Run, refused: Any, status: int, error: str, message: str, code: int
) -> None:
    stub.on("DescribeJobs", refused(status=status, error=error, body={"message": message}))

    ended = run("show", "j")

    assert ended.code == code
    assert message in ended.err
    assert ended.out == ""


def test_an_error_about_keys_names_the_key_and_where_it_came_from(
    stub: Any, run: Run, refused: Any
) -> None:
    answer = refused(status=403, error="UnrecognizedClientException", body={"message": "who?"})
    stub.on("DescribeJobs", answer)

    ended = run("show", "j")

    assert "AKSTUBSTUBSTUBSTUB00 from AWS_ACCESS_KEY_ID" in ended.err
    assert 'eval "$(batchyard env-vars)"' in ended.err


def test_a_hint_of_the_server_is_passed_on(stub: Any, run: Run, refused: Any) -> None:
    answer = refused(
        status=400, error="ClientException:http://x", body={"Message": "bad", "hint": "do better"}
    )
    stub.on("explain", answer)

    ended = run("explain", "j")

    assert "error: bad\n  try: do better\n" in ended.err


def test_throttling_is_waited_out(stub: Any, run: Run, refused: Any) -> None:
    slow = refused(status=429, error="TooManyRequestsException", body={"message": "slow down"})
    stub.on_each("DescribeJobs", [slow, {"jobs": []}])

    assert run("show", "j").code == 3
    assert len(stub.bodies("DescribeJobs")) == 2


def test_an_answer_that_is_no_json_is_quoted(stub: Any, run: Run, refused: Any) -> None:
    stub.on("DescribeJobs", refused(status=200, body=b"<html>hello"))

    ended = run("show", "j")

    assert ended.code == 1
    assert "<html>hello" in ended.err


def test_debug_shows_the_exchange_and_the_request_id(stub: Any, run: Run) -> None:
    stub.with_jobs()

    ended = run("--debug", "show", "j")

    assert "/v1/describejobs -> 200" in ended.err
    assert "req-1234" in ended.err
    assert "stub/secret" not in ended.err


def test_an_endpoint_that_is_not_there(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "A")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{taken.getsockname()[1]}"
        ended = run("ls", "--endpoint", endpoint)

    assert ended.code == 1
    assert f"cannot reach {endpoint}: Connection refused" in ended.err
    assert "--endpoint" in ended.err


@pytest.mark.parametrize("url", ["localhost:80", "ftp://x", "http://", "http://h:port", "nonsense"])
def test_what_is_no_address_is_usage(run: Run, url: str) -> None:
    ended = run("ls", f"--endpoint={url}")

    assert ended.code == 2
    assert "http://127.0.0.1:7460" in ended.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["sumbit"], 'Did you mean "submit"?'),
        (["queue", "lss"], "batchyard queue --help"),
        (["ls", "--filed"], "--failed"),
        (["show", "--output", "xml", "j"], "xml"),
        (["completion"], "completion --help"),
    ],
)
def test_a_mistyped_command_line_is_exit_code_2(run: Run, arguments: list[str], said: str) -> None:
    ended = run(*arguments)

    assert ended.code == 2
    assert said in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.parametrize(
    ("typed", "run_as"),
    [
        (["--home", "h", "queue", "ls", "-o", "ids"], ["queue", "ls", "--home", "h", "-o", "ids"]),
        (["--debug", "ls", "x"], ["ls", "--debug", "x"]),
        (["--endpoint=u", "-o", "json", "ls"], ["ls", "--endpoint=u", "-o", "json"]),
        (["--debug", "submit", "i", "--", "ls"], ["submit", "--debug", "i", "--", "ls"]),
        (["--help"], ["--help"]),
        ([], []),
        (["--home"], ["--home"]),
    ],
)
def test_options_may_stand_before_the_command(typed: list[str], run_as: list[str]) -> None:
    assert bring_behind(typed) == run_as


def test_ctrl_c_is_130(stub: Any, run: Run) -> None:
    def interrupt(_body: dict[str, Any]) -> dict[str, Any]:
        os.kill(os.getpid(), signal.SIGINT)
        return {"jobs": []}

    stub.on("DescribeJobs", interrupt)

    ended = run("show", "j")

    assert ended.code == 130
    assert "submitted jobs go on" in ended.err


def test_a_closed_pipe_ends_quietly(stub: Any, a_job: Any) -> None:
    stub.with_queues("default")
    stub.with_jobs(*(a_job(f"job-{number}" + "x" * 100) for number in range(2000)))
    listing = subprocess.Popen(
        [sys.executable, "-m", "batchyard", "ls", "--limit", "0", "-o", "json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert listing.stdout is not None
    assert listing.stderr is not None
    with listing, listing.stdout, listing.stderr:
        assert listing.stdout.readline() == b"[\n"
        listing.stdout.close()
        assert listing.wait(timeout=60) == 0
        assert listing.stderr.read() == b""


def test_hot_commands_import_nothing_heavy(stub: Any) -> None:
    stub.with_queues("default")
    stub.with_jobs()
    program = (
        "import sys; from batchyard.cli.app import run_command_line; "
        "code = run_command_line(['ls']); "
        "heavy = {'rich', 'botocore', 'msgspec', 'asyncio', 'sqlalchemy', 'structlog'}; "
        "print(code, sorted(heavy & set(sys.modules)))"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=60)

    assert done.stdout == b"0 []\n", done.stderr


def test_version_imports_no_framework() -> None:
    program = (
        "import sys; sys.argv = ['batchyard', '--version']; "
        "from batchyard.__main__ import main; code = main(); "
        "print(code, 'cyclopts' in sys.modules)"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=60)

    version, _, rest = done.stdout.decode().partition("\n")
    assert version.startswith("batchyard 0.")
    assert rest == "0 False\n"

import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from batchyard.cli.connection import find_connection
from batchyard.cli.faults import CommandFault, DeadlinePassed, Denied
from batchyard.cli.supervision import start_server, starting, stop_server
from batchyard.cli.waiting import Pace
from batchyard.cli.yard import live_server, process_start_time, read_server, yard_home

Run = Callable[..., Any]

# A server that keeps the contract of server.json and answers `status`; it counts no jobs.
SERVER = """
import json, os, pathlib, signal, sys
from http.server import BaseHTTPRequestHandler, HTTPServer
home = pathlib.Path(sys.argv[1])
class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        body = json.dumps({
            "version": "0", "yardId": "y", "home": str(home), "counts": {"RUNNING": 3},
            "executor": {"name": "process", "warnings": ["jobs run on this machine itself"]},
            "capacity": [{"computeEnvironment": "here", "vcpus": 4, "memoryMiB": 8000}],
            "queues": [{"name": "default", "state": "ENABLED", "counts": {}}]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args):
        pass
server = HTTPServer(("127.0.0.1", 0), Handler)
fields = pathlib.Path("/proc/self/stat").read_text().rpartition(")")[2].split()
(home / "credentials.json").write_text(
    json.dumps({"access_key_id": "AK", "secret_access_key": "it's secret"}))
record = {"pid": os.getpid(), "start_time": int(fields[19]), "region": "eu-west-2",
    "endpoint": f"http://127.0.0.1:{server.server_address[1]}", "account": "1", "version": "0"}
(home / "server.tmp").write_text(json.dumps(record))
os.rename(home / "server.tmp", home / "server.json")
def stop(*_):
    os.unlink(home / "server.json")
    os._exit(0)
signal.signal(signal.SIGTERM, stop)
server.serve_forever()
"""


def write_server(home: Path, **members: object) -> None:
    home.mkdir(exist_ok=True)
    own = {"pid": os.getpid(), "start_time": process_start_time(os.getpid())}
    record = {**own, "endpoint": "http://127.0.0.1:9", "region": "eu-west-2", **members}
    (home / "server.json").write_text(json.dumps(record))
    (home / "credentials.json").write_text('{"access_key_id":"YARD","secret_access_key":"s"}')


def start(home: Path, program: str) -> Any:
    with starting(home):
        return start_server(
            home,
            [sys.executable, "-c", program, str(home)],
            foreground=False,
            deadline_s=30.0,
            slow=lambda _waited_s: None,
            pace=Pace(),
        )


@pytest.fixture
def clear_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("AWS_", "BATCHYARD_", "XDG_")):
            monkeypatch.delenv(name)


@pytest.fixture
def yard(tmp_path: Path, clear_environment: None) -> Iterator[Path]:
    started = start(tmp_path, SERVER)
    try:
        yield tmp_path
    finally:
        started.process.terminate()
        started.process.wait(timeout=30)


def test_the_home_is_the_option_then_the_variable_then_xdg(tmp_path: Path) -> None:
    environ = {"BATCHYARD_HOME": "/b", "XDG_DATA_HOME": "/x"}

    assert yard_home(tmp_path, environ) == tmp_path
    assert yard_home(None, environ) == Path("/b")
    assert yard_home(None, {"XDG_DATA_HOME": "/x"}) == Path("/x/batchyard")
    assert yard_home(None, {}) == Path.home() / ".local/share/batchyard"


def test_a_pid_is_believed_only_with_its_start_time(tmp_path: Path) -> None:
    write_server(tmp_path)
    assert live_server(tmp_path) is not None
    write_server(tmp_path, start_time=1)
    assert live_server(tmp_path) is None
    assert read_server(tmp_path) is not None


def test_the_start_time_of_a_zombie_is_none() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE)
    assert child.stdout is not None
    with child.stdout:
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert process_start_time(child.pid) is None
    child.wait()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"pid": "x"}', "{"])
def test_a_broken_record_says_what_to_do(tmp_path: Path, text: str) -> None:
    (tmp_path / "server.json").write_text(text)

    with pytest.raises(CommandFault, match=r"server\.json") as caught:
        read_server(tmp_path)
    assert caught.value.hint


def test_without_a_name_the_yard_of_this_machine_with_its_own_keys(tmp_path: Path) -> None:
    write_server(tmp_path)
    environ = {"AWS_ACCESS_KEY_ID": "REAL", "AWS_SECRET_ACCESS_KEY": "account"}

    found = find_connection(endpoint=None, region=None, home=tmp_path, environ=environ)

    assert (found.endpoint, found.region, found.source) == (
        "http://127.0.0.1:9",
        "eu-west-2",
        "yard",
    )
    assert found.credentials.access_key_id == "YARD"


def test_a_named_endpoint_wins_and_takes_the_keys_of_the_environment(tmp_path: Path) -> None:
    write_server(tmp_path)
    environ = {
        "AWS_ENDPOINT_URL": "http://a/",
        "AWS_ENDPOINT_URL_BATCH": "http://b/",
        "AWS_ACCESS_KEY_ID": "K",
        "AWS_SECRET_ACCESS_KEY": "S",
        "AWS_SESSION_TOKEN": "T",
        "AWS_REGION": "ap-south-1",
        "BATCHYARD_HOME": str(tmp_path),
    }

    found = find_connection(endpoint=None, region=None, home=None, environ=environ)
    named = find_connection(endpoint="http://c", region="r", home=None, environ=environ)

    assert (found.endpoint, found.region, found.source) == (
        "http://b",
        "ap-south-1",
        "AWS_ENDPOINT_URL_BATCH",
    )
    assert found.credentials.session_token == "T"
    assert (named.endpoint, named.region) == ("http://c", "r")


def test_a_home_on_the_command_line_is_nearer_than_a_variable(tmp_path: Path) -> None:
    write_server(tmp_path)

    found = find_connection(
        endpoint=None, region=None, home=tmp_path, environ={"AWS_ENDPOINT_URL": "http://a"}
    )

    assert found.source == "yard"


def test_the_yards_keys_serve_its_own_address_only(tmp_path: Path) -> None:
    write_server(tmp_path)
    environ = {"BATCHYARD_HOME": str(tmp_path)}

    own = find_connection(endpoint="http://127.0.0.1:9", region=None, home=None, environ=environ)

    assert own.credentials.access_key_id == "YARD"
    with pytest.raises(Denied, match="no credentials") as caught:
        find_connection(endpoint="http://elsewhere", region=None, home=None, environ=environ)
    assert caught.value.exit_code == 4


def test_on_aws_itself_logs_have_their_own_host() -> None:
    keys = {"AWS_ACCESS_KEY_ID": "K", "AWS_SECRET_ACCESS_KEY": "S"}

    found = find_connection(
        endpoint="https://batch.eu-west-2.amazonaws.com", region=None, home=None, environ=keys
    )

    assert found.logs_endpoint == "https://logs.eu-west-2.amazonaws.com"


def test_a_yard_that_was_killed_is_told_from_one_that_never_was(tmp_path: Path) -> None:
    with pytest.raises(CommandFault, match="no yard is running"):
        find_connection(endpoint=None, region=None, home=tmp_path, environ={})
    write_server(tmp_path, start_time=1)
    with pytest.raises(CommandFault, match="without a clean stop") as caught:
        find_connection(endpoint=None, region=None, home=tmp_path, environ={})
    assert "takes back the jobs" in caught.value.hint


def test_a_server_is_started_detached_and_stopped_by_its_record(tmp_path: Path) -> None:
    started = start(tmp_path, SERVER)

    assert os.getsid(started.record.pid) == started.record.pid
    assert stat.S_IMODE((tmp_path / "server.log").stat().st_mode) == 0o600
    stop_server(started.record, deadline_s=30.0)
    assert started.process.wait(timeout=30) == 0
    assert live_server(tmp_path) is None
    stop_server(started.record, deadline_s=30.0)  # a second stop finds nothing to do


def test_a_server_that_dies_at_once_shows_the_end_of_its_log(tmp_path: Path) -> None:
    with pytest.raises(CommandFault, match="exit code 3") as caught:
        start(tmp_path, "import sys; print('the disk is on fire'); sys.exit(3)")

    assert "| the disk is on fire" in caught.value.message
    assert "--foreground" in caught.value.hint


def test_a_taken_port_has_a_hint_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(CommandFault) as caught:
        start(tmp_path, "raise OSError('[Errno 98] Address already in use')")

    assert "--port" in caught.value.hint


def test_a_server_that_never_answers_is_stopped_and_reaped(tmp_path: Path) -> None:
    said = tmp_path / "pid"
    program = (
        "import os, signal, sys; home = sys.argv[1]; "
        "open(home + '/new', 'w').write(str(os.getpid())); "
        "os.rename(home + '/new', home + '/pid'); signal.pause()"
    )

    with pytest.raises(DeadlinePassed), starting(tmp_path):
        start_server(
            tmp_path,
            [sys.executable, "-c", program, str(tmp_path)],
            foreground=False,
            deadline_s=60.0,
            slow=lambda _waited_s: None,
            # The deadline passes exactly when the server has come up without answering.
            pace=Pace(now_s=lambda: 1000.0 if said.exists() else 0.0),
        )

    assert process_start_time(int(said.read_text())) is None


def test_a_stranger_with_the_old_pid_is_never_signalled(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as stranger:
        write_server(tmp_path, pid=stranger.pid, start_time=1)
        record = read_server(tmp_path)
        assert record is not None

        stop_server(record, deadline_s=5.0)

        assert stranger.poll() is None
        stranger.communicate(b"\n", timeout=30)
        assert stranger.returncode == 0


def test_up_on_a_running_yard_says_so_and_prints_three_lines(yard: Path, run: Run) -> None:
    ended = run("up", "--home", str(yard))

    assert ended.code == 0
    assert "already up" in ended.err
    assert "WARNING: jobs run on this machine itself" in ended.err
    exports = [line.strip() for line in ended.out.splitlines() if "export" in line]
    record = read_server(yard)
    assert record is not None
    assert exports == [
        f"export AWS_ENDPOINT_URL={record.endpoint}",
        "export AWS_ACCESS_KEY_ID=AK AWS_SECRET_ACCESS_KEY='it'\"'\"'s secret'",
        "export AWS_DEFAULT_REGION=eu-west-2 AWS_REGION=eu-west-2",
    ]
    assert 'eval "$(batchyard env-vars)"' in ended.out


def test_env_vars_are_what_a_shell_reads(
    yard: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "stale")
    script = run("env-vars", "--home", str(yard)).out

    said = subprocess.run(
        ["sh", "-c", f'{script}\necho "$AWS_SECRET_ACCESS_KEY|$AWS_SESSION_TOKEN|$AWS_REGION"'],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )

    assert said.stdout == "it's secret||eu-west-2\n"
    as_json = json.loads(run("env-vars", "--home", str(yard), "--shell", "json").out)
    assert as_json["AWS_ACCESS_KEY_ID"] == "AK"
    assert "set -gx AWS_REGION" in run("env-vars", "--home", str(yard), "--shell", "fish").out


def test_down_says_how_many_jobs_go_on(yard: Path, run: Run) -> None:
    ended = run("down", "--home", str(yard))
    again = run("down", "--home", str(yard))

    assert ended.code == 0
    assert "is down" in ended.err
    assert "3 running jobs go on" in ended.err
    assert again.code == 0
    assert "nothing to stop" in again.err


def test_an_old_address_in_the_environment_is_recognised(
    yard: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AK")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    monkeypatch.setenv("BATCHYARD_HOME", str(yard))

    ended = run("ls")

    record = read_server(yard)
    assert record is not None
    assert ended.code == 1
    assert f"the yard of this machine answers at {record.endpoint}" in ended.err


def test_up_in_a_place_that_cannot_be_written(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    ended = run("up", "--home", str(tmp_path / "file"))

    assert ended.code == 1
    assert "BATCHYARD_HOME" in ended.err

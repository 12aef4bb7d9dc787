"""A yard in its own process that a test kills, starts again, and looks into afterwards."""

import contextlib
import hashlib
import http.client
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypeVar

import boto3
from botocore.config import Config

T = TypeVar("T")
Engine = Literal["process", "docker"]

DEADLINE_S = 90.0
FAILPOINT = "BATCHYARD_FAILPOINT"
DOCKER_SOCKET = os.environ.get("BATCHYARD_DOCKER_SOCKET", "/var/run/docker.sock")
SETTINGS = """\
[host]
vcpus = 400
memory_mib = 40000
"""


def until(probe: Callable[[], T], what: str, *, deadline_s: float = DEADLINE_S) -> T:
    """Ask until the answer is truthy; another process gives no event to wait for."""
    end = time.monotonic() + deadline_s
    while not (answer := probe()):
        assert time.monotonic() < end, f"still waiting after {deadline_s} s: {what}"
        time.sleep(0.05)
    return answer


class KillableYard:
    """`start`, `await_death` or `kill`, `start` again, ..., `stop`. The home stays."""

    def __init__(self, home: Path, engine: Engine, *, socket: str = DOCKER_SOCKET) -> None:
        self.home = home
        self.engine = engine
        self.socket = socket
        self.starts = 0
        self._server: subprocess.Popen[bytes] | None = None
        home.mkdir()
        (home / "batchyard.toml").write_text(f'engine_socket = "{socket}"\n{SETTINGS}')

    @property
    def log(self) -> Path:
        return self.home / f"server-{self.starts}.log"

    def start(self, failpoint: str = "") -> bool:
        """Start the server; False when it died before it answered."""
        assert self._server is None, "one server at a time"
        environment = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
        environment[FAILPOINT] = failpoint
        command = [sys.executable, "-m", "batchyard.server", "--home", str(self.home)]
        self.starts += 1
        with self.log.open("wb") as log:
            self._server = subprocess.Popen(
                [*command, "--port", "0", "--executor", self.engine],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
            )
        return until(self._answers_or_died, "the server's start") == "answers"

    def _answers_or_died(self) -> Literal["answers", "died"] | None:
        assert self._server is not None, "start() comes first"
        if self._server.poll() is not None:
            return "died"
        try:
            record = json.loads((self.home / "server.json").read_bytes())
        except FileNotFoundError:
            return None
        return "answers" if record["pid"] == self._server.pid else None

    def alive(self) -> bool:
        return self._server is not None and self._server.poll() is None

    def await_death(self, failpoint: str) -> None:
        """The server must fall at its failpoint, and only by it."""
        server, self._server = self._server, None
        assert server is not None, "start() comes first"
        try:
            status = server.wait(DEADLINE_S)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
            raise AssertionError(f"{failpoint} was not reached\n{self.tail()}") from None
        assert status == -signal.SIGKILL, f"{failpoint}: ended with {status}\n{self.tail()}"

    def await_refusal(self) -> None:
        """The server would not start, and said so in order."""
        server, self._server = self._server, None
        assert server is not None, "start() comes first"
        assert server.wait(DEADLINE_S) == 1, self.tail()
        assert "Traceback" not in self.tail(), self.tail()

    def pid(self) -> int:
        assert self._server is not None, "start() comes first"
        return self._server.pid

    def kill(self) -> None:
        server, self._server = self._server, None
        assert server is not None, "start() comes first"
        server.kill()
        server.wait()

    def stop(self) -> None:
        """An orderly stop; running jobs would go on."""
        server, self._server = self._server, None
        assert server is not None, "start() comes first"
        server.terminate()
        status = server.wait(DEADLINE_S)
        assert status == 0, f"the orderly stop ended with {status}\n{self.tail()}"

    def abandon(self, mark: str) -> None:
        """At the end of a test, however it went: no server, process or container stays."""
        if self._server is not None:
            self.kill()
        for process in self.processes(mark):
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(process.partition(" ")[0]), signal.SIGKILL)
        if self.engine == "docker":
            for name in self.containers():
                engine(self.socket, "DELETE", f"/containers/{name}?force=1&v=1")

    def tail(self) -> str:
        return f"the server's last words:\n{self.log.read_text(errors='replace')[-3000:]}"

    def client(self, service: str) -> Any:
        """A client that tries once: what it was not answered it does not count."""
        record = json.loads((self.home / "server.json").read_bytes())
        key = json.loads((self.home / "credentials.json").read_bytes())
        return boto3.client(
            service,
            endpoint_url=record["endpoint"],
            region_name=record["region"],
            aws_access_key_id=key["access_key_id"],
            aws_secret_access_key=key["secret_access_key"],
            config=Config(retries={"total_max_attempts": 1}, connect_timeout=10, read_timeout=60),
        )

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Ask the database behind the server's back."""
        connection = sqlite3.connect(f"file:{self.home / 'yard.db'}?mode=ro", uri=True)
        try:
            return connection.execute(query).fetchall()
        finally:
            connection.close()

    # --- what is left in the world --------------------------------------------------------------

    def yard_id(self) -> str:
        return str(self.rows("SELECT value FROM meta WHERE key = 'yard_id'")[0][0])

    def containers(self) -> list[str]:
        """Ids of containers with this yard's label."""
        label = {"label": [f"batchyard.yard={self.yard_id()}"]}
        query = urllib.parse.urlencode({"all": "1", "filters": json.dumps(label)})
        return [one["Id"] for one in engine(self.socket, "GET", f"/containers/json?{query}")]

    def attempt_folders(self) -> list[str]:
        folder = self.home / "attempts"
        return sorted(os.listdir(folder)) if folder.exists() else []

    def processes(self, *marks: str) -> list[str]:
        """Processes but the server that name the home or a mark, or are the yard's shims."""
        digest = hashlib.sha256(str(self.home / "attempts").encode()).hexdigest()[:12]
        wanted = [str(self.home).encode(), f"batchyard-{digest}".encode()]
        wanted += [mark.encode() for mark in marks]
        own = {os.getpid(), self._server.pid if self._server else 0}
        found = []
        for pid in filter(str.isdecimal, os.listdir("/proc")):
            if int(pid) in own:
                continue
            try:
                command = Path(f"/proc/{pid}/cmdline").read_bytes()
                environment = Path(f"/proc/{pid}/environ").read_bytes()
            except OSError:
                continue  # it has just ended
            if any(mark in command or mark in environment for mark in wanted):
                found.append(f"{pid} {command.replace(bytes(1), b' ').decode(errors='replace')}")
        return found

    def control_groups(self) -> list[str]:
        digest = hashlib.sha256(str(self.home / "attempts").encode()).hexdigest()[:12]
        return [
            path
            for path, folders, _ in os.walk("/sys/fs/cgroup")
            if os.path.basename(path) == f"batchyard-{digest}" and folders
        ]


def engine(socket_path: str, method: str, path: str) -> Any:
    """The engine's API without our own code."""
    connection = http.client.HTTPConnection("engine", timeout=60)
    connection.sock = socket.socket(socket.AF_UNIX)
    try:
        connection.sock.settimeout(60)
        connection.sock.connect(socket_path)
        connection.request(method, f"/v1.41{path}")
        answer = connection.getresponse().read()
        return json.loads(answer) if answer.strip() else None
    finally:
        connection.close()

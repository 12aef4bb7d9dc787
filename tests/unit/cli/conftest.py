"""A stub of the Batch API that checks every signature with botocore, and a way to run commands."""

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from batchyard.cli.app import run_command_line

KEY, SECRET, REGION = "AKSTUBSTUBSTUBSTUB00", "stub/secret+key", "eu-west-2"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A canned answer: an error when `status` is not 200."""

    body: Any = None
    status: int = 200
    error: str = ""


Script = Callable[[dict[str, Any]], Any]


@dataclass(kw_only=True)
class StubApi:
    """Answers operations by name with whatever was scripted; anything else is 404."""

    endpoint: str = ""
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    scripts: dict[str, Script] = field(default_factory=dict)
    bad_signatures: list[str] = field(default_factory=list)

    def on(self, operation: str, answer: Any) -> None:
        self.scripts[operation.lower()] = answer if callable(answer) else lambda _body: answer

    def on_each(self, operation: str, answers: list[Any]) -> None:
        """One answer per call; the last one stays."""
        left = list(answers)
        self.on(operation, lambda _body: left.pop(0) if len(left) > 1 else left[0])

    def bodies(self, operation: str) -> list[dict[str, Any]]:
        return [body for name, body in self.calls if name == operation.lower()]

    def reply(self, name: str, body: dict[str, Any]) -> Answer:
        self.calls.append((name, body))
        script = self.scripts.get(name)
        if script is None:
            return Answer(
                status=404,
                error="UnknownOperationException",
                body={"message": f"stub does not know {name}"},
            )
        found = script(body)
        return found if isinstance(found, Answer) else Answer(body=found)

    def with_jobs(self, *jobs: dict[str, Any]) -> None:
        """Serve DescribeJobs and ListJobs from these jobs, as AWS would."""
        by_id = {job["jobId"]: job for job in jobs}
        self.on("DescribeJobs", lambda b: {"jobs": [by_id[i] for i in b["jobs"] if i in by_id]})
        self.on(
            "ListJobs",
            lambda b: {
                "jobSummaryList": [
                    job
                    for job in sorted(jobs, key=lambda job: -job["createdAt"])
                    if ("filters" in b or job["status"] == b.get("jobStatus", "RUNNING"))
                    and job["jobId"].startswith(b.get("arrayJobId", ""))
                    and (":" in job["jobId"]) == ("arrayJobId" in b)
                ]
            },
        )

    def with_queues(self, *names: str) -> None:
        self.on(
            "DescribeJobQueues",
            {
                "jobQueues": [
                    {
                        "jobQueueName": name,
                        "jobQueueArn": f"arn:aws:batch:{REGION}:1:job-queue/{name}",
                        "state": "ENABLED",
                        "status": "VALID",
                        "priority": 1,
                        "computeEnvironmentOrder": [{"order": 1, "computeEnvironment": "here"}],
                    }
                    for name in names
                ]
            },
        )


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: "_Server"

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        stub = self.server.stub
        target = self.headers.get("X-Amz-Target", "")
        name = target.rpartition(".")[2] if target else self.path.rpartition("/")[2]
        if not self._is_signed(raw):
            stub.bad_signatures.append(name)
        answer = stub.reply(name.lower(), json.loads(raw))
        payload = (
            answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
        )
        self.send_response(answer.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("x-amzn-requestid", "req-1234")
        if answer.error:
            self.send_header("x-amzn-errortype", answer.error)
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def _is_signed(self, raw: bytes) -> bool:
        """Sign the request again with botocore and compare."""
        authorization = self.headers.get("Authorization", "")
        scope = authorization.partition("Credential=")[2].partition(",")[0].split("/")
        names = authorization.partition("SignedHeaders=")[2].partition(",")[0].split(";")
        request = AWSRequest(
            method="POST",
            url=f"http://{self.headers['Host']}{self.path}",
            data=raw,
            headers={name: self.headers[name] for name in names if name != "host"},
        )
        request.context["timestamp"] = self.headers["X-Amz-Date"]
        signer = SigV4Auth(Credentials(KEY, SECRET), scope[3], scope[2])
        canonical = signer.canonical_request(request)
        signature = signer.signature(signer.string_to_sign(request, canonical), request)
        return authorization.endswith(f"Signature={signature}")

    def log_message(self, format: str, *args: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    block_on_close = True

    def __init__(self, stub: StubApi) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.stub = stub


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[StubApi]:
    for name in ("AWS_ENDPOINT_URL_BATCH", "AWS_SESSION_TOKEN", "AWS_REGION", "BATCHYARD_QUEUE"):
        monkeypatch.delenv(name, raising=False)
    made = StubApi()
    server = _Server(made)
    made.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", made.endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    monkeypatch.setenv("BATCHYARD_HOME", str(tmp_path / "no-yard"))
    try:
        yield made
    finally:
        server.shutdown()
        thread.join(timeout=10)
        server.server_close()
    assert made.bad_signatures == []


@dataclass(frozen=True, kw_only=True)
class Ended:
    code: int
    out: str
    err: str


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    def run_one(*arguments: str) -> Ended:
        capsys.readouterr()
        code = run_command_line(list(arguments))
        said = capsys.readouterr()
        return Ended(code=code, out=said.out, err=said.err)

    return run_one


@pytest.fixture
def a_job() -> Callable[..., dict[str, Any]]:
    def make(
        job_id: str = "11111111-2222-3333-4444-555555555555", **members: Any
    ) -> dict[str, Any]:
        return {
            "jobId": job_id,
            "jobArn": f"arn:aws:batch:{REGION}:1:job/{job_id}",
            "jobName": "align",
            "jobQueue": f"arn:aws:batch:{REGION}:1:job-queue/default",
            "jobDefinition": f"arn:aws:batch:{REGION}:1:job-definition/align:3",
            "status": "RUNNING",
            "createdAt": 1_700_000_000_000,
            "container": {},
            **members,
        }

    return make


@pytest.fixture
def refused() -> type[Answer]:
    """The canned answer type, to script errors."""
    return Answer

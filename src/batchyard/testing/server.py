"""A real yard for tests: a server process of its own, in a folder of its own.

    with live_yard(tmp_path, executor="mock") as yard:
        yard.boto3("batch").submit_job(...)
        subprocess.run(["aws", "batch", "describe-job-queues"], env=yard.env())

The server is the one people use, started the way `batchyard up` starts it. It lets its jobs go on
when it stops; `live_yard` ends them, so that a test leaves nothing behind.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from batchyard.kernel.faults import BatchyardError
from batchyard.kernel.states import STATUSES, TERMINAL
from batchyard.server.home import ClientKey, ServerRecord

T = TypeVar("T")

_START_S = 60.0
_STOP_S = 60.0
_LOOK_S = 0.02
_LINES_SHOWN = 20
_OPEN = tuple(status for status in STATUSES if status not in TERMINAL)


class LiveYard:
    """A server that answers. Its clients are closed with it."""

    def __init__(self, home: Path, record: ServerRecord, credentials: ClientKey) -> None:
        self.home = home
        self.endpoint = record.endpoint
        self.region = record.region
        self.account = record.account
        self.pid = record.pid
        self.credentials = credentials
        self._clients: dict[str, Any] = {}

    @property
    def address(self) -> tuple[str, int]:
        """Host and port, for a socket."""
        host, _, port = self.endpoint.removeprefix("http://").partition(":")
        return host, int(port)

    def env(self) -> dict[str, str]:
        """This process's environment, pointed at the yard and at nothing else of AWS."""
        clean = {n: v for n, v in os.environ.items() if not n.startswith(("AWS_", "BATCHYARD_"))}
        return {
            **clean,
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.credentials.access_key_id,
            "AWS_SECRET_ACCESS_KEY": self.credentials.secret_access_key,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_REGION": self.region,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
            "BATCHYARD_HOME": str(self.home),
        }

    def boto3(self, service: str) -> Any:
        """An ordinary boto3 client of this yard; the same one each time."""
        if service not in self._clients:
            import boto3

            self._clients[service] = boto3.client(
                service,
                endpoint_url=self.endpoint,
                region_name=self.region,
                aws_access_key_id=self.credentials.access_key_id,
                aws_secret_access_key=self.credentials.secret_access_key,
            )
        return self._clients[service]

    def describe(self, job_id: str) -> dict[str, Any]:
        """JobDetail of a job that must be there."""
        (job,) = self.boto3("batch").describe_jobs(jobs=[job_id])["jobs"]
        found: dict[str, Any] = job
        return found

    def wait(self, job_id: str, *statuses: str, timeout_s: float = 60.0) -> dict[str, Any]:
        """JobDetail once the job has one of the statuses; by default, once it has ended.

        Raises:
            TimeoutError: it has another one still, or ended otherwise.
        """
        wanted = statuses or tuple(TERMINAL)

        def look() -> dict[str, Any] | None:
            job = self.describe(job_id)
            if job["status"] in wanted:
                return job
            if job["status"] in TERMINAL:
                raise TimeoutError(f"{job_id} ended {job['status']}: {job.get('statusReason')}")
            return None

        return until(look, what=f"{job_id} {' or '.join(wanted)}", timeout_s=timeout_s)

    def log_lines(self, job: Mapping[str, Any]) -> list[str]:
        """What a described job has written so far."""
        page = self.boto3("logs").get_log_events(
            logGroupName="/aws/batch/job",
            logStreamName=job["container"]["logStreamName"],
            startFromHead=True,
        )
        return [event["message"] for event in page["events"]]

    def end_jobs(self, timeout_s: float = 60.0) -> None:
        """Terminate every job of every queue, and wait until none is left."""

        def look() -> bool | None:
            found = self._open_jobs()
            for job_id in found:
                self.boto3("batch").terminate_job(jobId=job_id, reason="the test has ended")
            return None if found else True

        until(look, what="no job is left", timeout_s=timeout_s)

    def _open_jobs(self) -> list[str]:
        batch = self.boto3("batch")
        queues = batch.get_paginator("describe_job_queues").paginate()
        pages = (
            page
            for queue in queues.build_full_result()["jobQueues"]
            for status in _OPEN
            for page in batch.get_paginator("list_jobs").paginate(
                jobQueue=queue["jobQueueName"], jobStatus=status
            )
        )
        return [job["jobId"] for page in pages for job in page["jobSummaryList"]]

    def close(self) -> None:
        for client in self._clients.values():
            client.close()
        self._clients.clear()


def until(look: Callable[[], T | None], *, what: str, timeout_s: float = 60.0) -> T:
    """What `look` gives as soon as it is not None.

    Raises:
        TimeoutError: it was None all the time.
    """
    deadline = time.monotonic() + timeout_s
    while (found := look()) is None:
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {timeout_s:g} s in vain: {what}")
        time.sleep(_LOOK_S)
    return found


@contextmanager
def live_yard(
    home: Path,
    *,
    executor: str = "process",
    settings: str = "",
    environ: Mapping[str, str] | None = None,
) -> Iterator[LiveYard]:
    """Start a yard in an empty folder; its jobs and itself are ended with this context.

    Args:
        settings: Contents of batchyard.toml.
        environ: Added to the environment of the server, for failpoints and the like.

    Raises:
        BatchyardError: it did not start; holds the end of its log.
    """
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    (home / "batchyard.toml").write_text(settings, encoding="utf-8")
    with serving(home, executor=executor, environ=environ) as yard:
        try:
            yield yard
        finally:
            yard.end_jobs()


@contextmanager
def serving(
    home: Path, *, executor: str, environ: Mapping[str, str] | None = None
) -> Iterator[LiveYard]:
    """Serve a home, old or new; its jobs outlive this context, as they outlive a server."""
    command = [sys.executable, "-m", "batchyard.server", "--home", str(home)]
    command += ["--executor", executor, "--port", str(_port(home))]
    with (home / "server.log").open("ab") as log:
        server = subprocess.Popen(
            command,
            env={**os.environ, **(environ or {})},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            # A signal to the test's terminal is not one to the server.
            start_new_session=True,
        )
    try:
        yard = _answering(home, server)
        try:
            yield yard
        finally:
            yard.close()
    finally:
        server.send_signal(signal.SIGTERM)
        try:
            server.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
            raise


def _answering(home: Path, server: subprocess.Popen[bytes]) -> LiveYard:
    import msgspec

    def look() -> ServerRecord | None:
        if server.poll() is not None:
            lines = (home / "server.log").read_text(errors="replace").splitlines()
            raise BatchyardError(
                f"the yard in {home} ended with {server.returncode}",
                hint="\n".join(lines[-_LINES_SHOWN:]),
            )
        try:
            record = msgspec.json.decode((home / "server.json").read_bytes(), type=ServerRecord)
        except FileNotFoundError:
            return None
        # A server that was killed left its record behind.
        return record if record.pid == server.pid else None

    record = until(look, what=f"a yard in {home}", timeout_s=_START_S)
    key = ClientKey(**json.loads((home / "credentials.json").read_text()))
    return LiveYard(home, record, key)


def _port(home: Path) -> int:
    """The port the home had before, which its running jobs know; else 0, any free one."""
    try:
        return int((home / "port").read_text(encoding="ascii"))
    except FileNotFoundError:
        return 0

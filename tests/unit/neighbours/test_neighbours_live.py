"""An unmodified boto3, with only a job's environment, against a listening gateway."""

import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore.session
import pytest
import uvicorn
from botocore.credentials import ContainerProvider
from botocore.exceptions import ClientError, CredentialRetrievalError
from botocore.utils import ContainerMetadataFetcher

from batchyard.logs.port import LogLine
from batchyard.logs.store import FileLogStore, epoch_ms
from batchyard.neighbours.credentials import (
    CREDENTIALS_PATH,
    JobCredentials,
    credentials_handler,
)
from batchyard.neighbours.logs import log_handlers
from batchyard.neighbours.sts import sts_handlers
from batchyard.wire.gateway import Gateway
from batchyard.wire.sigv4 import Credential

ACCOUNT = "123456789012"
GROUP = "/aws/batch/job"


class JobKeys:
    """The gateway's view of job credentials, as the server composes it."""

    def __init__(self, jobs: JobCredentials) -> None:
        self._jobs = jobs

    def secret_for(self, access_key_id: str, session_token: str | None) -> Credential | None:
        found = self._jobs.lookup(access_key_id, session_token)
        if found is None:
            return None
        return Credential(
            secret=found.secret,
            session_token=found.session_token,
            principal_arn=found.principal_arn,
            account=found.account,
            expires_ms=found.expires_ms,
        )


@pytest.fixture
def jobs() -> JobCredentials:
    return JobCredentials(yard_secret=b"k" * 32, account=ACCOUNT, clock=epoch_ms)


@pytest.fixture
def store(tmp_path: Path) -> FileLogStore:
    return FileLogStore(tmp_path / "logs")


@pytest.fixture
def endpoint(jobs: JobCredentials, store: FileLogStore) -> Iterator[str]:
    gateway = Gateway(
        handlers={**log_handlers(store), **sts_handlers()},
        extensions={},
        plain={CREDENTIALS_PATH: credentials_handler(jobs)},
        keys=JobKeys(jobs),
        region="us-east-1",
        clock=epoch_ms,
    )
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(gateway, lifespan="off", log_config=None, access_log=False)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        # The socket listens already: a client that comes too early waits in its queue.
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(timeout=30)
        listening.close()
    assert not thread.is_alive()


def provider(endpoint: str, token: str) -> ContainerProvider:
    return ContainerProvider(
        environ={
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": endpoint + CREDENTIALS_PATH,
            "AWS_CONTAINER_AUTHORIZATION_TOKEN": token,
        },
        fetcher=ContainerMetadataFetcher(sleep=lambda _: None),
    )


@pytest.fixture
def client(jobs: JobCredentials, endpoint: str) -> Iterator[Any]:
    """`client(service)` of a session whose only credentials are the attempt's token."""
    credentials = provider(endpoint, jobs.token_for("attempt-1", "align")).load()
    session = botocore.session.get_session()
    session._credentials = credentials
    made = []

    def make(service: str) -> Any:
        made.append(session.create_client(service, region_name="us-east-1", endpoint_url=endpoint))
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_a_job_knows_who_it_is(client: Any) -> None:
    identity = client("sts").get_caller_identity()
    assert identity["Account"] == ACCOUNT
    assert identity["Arn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/align/attempt-1"
    assert identity["UserId"].endswith(":attempt-1")


def test_a_foreign_token_gets_no_credentials(endpoint: str) -> None:
    with pytest.raises(CredentialRetrievalError, match="not valid for this yard"):
        provider(endpoint, "forged").load()


def test_boto_reads_logs(client: Any, store: FileLogStore) -> None:
    logs = client("logs")
    for stream in ("s/default/1", "s/default/2"):
        store.append(
            GROUP,
            stream,
            [LogLine(timestamp_ms=n, message=f"☃ {n}", position=n + 1) for n in range(60)],
        )
    found = logs.get_log_events(logGroupName=GROUP, logStreamName="s/default/1", limit=2)
    assert [event["message"] for event in found["events"]] == ["☃ 58", "☃ 59"]
    pages = logs.get_paginator("filter_log_events").paginate(
        logGroupName=GROUP, interleaved=True, PaginationConfig={"PageSize": 50}
    )
    times_ms = [event["timestamp"] for page in pages for event in page["events"]]
    assert times_ms == sorted(list(range(60)) * 2)
    streams = logs.get_paginator("describe_log_streams").paginate(
        logGroupName=GROUP, PaginationConfig={"PageSize": 1}
    )
    assert [s["logStreamName"] for page in streams for s in page["logStreams"]] == [
        "s/default/1",
        "s/default/2",
    ]
    groups = logs.get_paginator("describe_log_groups").paginate()
    assert [g["logGroupName"] for page in groups for g in page["logGroups"]] == [GROUP]


def test_boto_meets_the_exceptions_of_the_service(client: Any, store: FileLogStore) -> None:
    logs = client("logs")
    with pytest.raises(logs.exceptions.ResourceNotFoundException, match="log group does not exist"):
        logs.get_log_events(logGroupName=GROUP, logStreamName="s")
    store.create(GROUP, "s")
    with pytest.raises(logs.exceptions.InvalidParameterException, match="nextToken is invalid"):
        logs.get_log_events(logGroupName=GROUP, logStreamName="s", nextToken="f/1")
    with pytest.raises(ClientError, match="InvalidParameterException"):
        logs.filter_log_events(logGroupName=GROUP, filterPattern="[a, b]")

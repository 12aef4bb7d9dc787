"""A served yard with an environment `ce`, a queue `q` and a job definition `d`."""

from collections.abc import Iterator

import pytest

from batchyard.wire.model import Models
from unit.api.served_yard import ServedYard


@pytest.fixture(scope="session")
def models() -> Models:
    return Models()


@pytest.fixture
def empty_yard(models: Models) -> Iterator[ServedYard]:
    yard = ServedYard(models)
    yield yard
    yard.close()


@pytest.fixture
def yard(empty_yard: ServedYard) -> ServedYard:
    empty_yard.call("CreateComputeEnvironment", computeEnvironmentName="ce", type="UNMANAGED")
    empty_yard.call(
        "CreateJobQueue",
        jobQueueName="q",
        priority=1,
        computeEnvironmentOrder=[{"order": 1, "computeEnvironment": "ce"}],
    )
    empty_yard.call(
        "RegisterJobDefinition",
        jobDefinitionName="d",
        type="container",
        containerProperties={"image": "busybox", "vcpus": 1, "memory": 128, "command": ["true"]},
    )
    return empty_yard

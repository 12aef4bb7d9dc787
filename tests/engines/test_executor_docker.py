"""The exercise suite on a real Docker Engine and on a real Podman."""

import uuid

import pytest

from batchyard.executors.docker import DockerExecutor
from conformance.ports.executor_exercise import CommandExercise, ExecutorYard

pytestmark = pytest.mark.engine


def container_yard(socket: str) -> ExecutorYard:
    yard_id = str(uuid.uuid4())
    return ExecutorYard(
        make=lambda sink: DockerExecutor(yard_id=yard_id, logs=sink, socket=socket),
        image="batchyard-test:1",
    )


class TestDocker(CommandExercise):
    @pytest.fixture
    def yard(self, docker_socket: str) -> ExecutorYard:
        return container_yard(docker_socket)


class TestPodman(CommandExercise):
    @pytest.fixture
    def yard(self, podman_socket: str) -> ExecutorYard:
        return container_yard(podman_socket)

"""Fixtures that find the engines.

With BATCHYARD_REQUIRE_ENGINES=1 (CI) an engine that does not answer is a failure.
"""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from batchyard.executors.docker.sockets import peer_pid
from engines.own_daemon import MKIMAGE, OwnDaemon, own_daemon
from required import cannot_run

IMAGE = "batchyard-test:1"


@pytest.fixture(scope="session")
def docker_socket() -> str:
    return _ready("docker", os.environ.get("BATCHYARD_DOCKER_SOCKET", "/var/run/docker.sock"))


@pytest.fixture(scope="session")
def podman_socket() -> str:
    return _ready("podman", os.environ.get("BATCHYARD_PODMAN_SOCKET", "/run/podman/podman.sock"))


@pytest.fixture
def daemon(docker_socket: str) -> Iterator[OwnDaemon]:
    with own_daemon() as own:
        yield own


def _ready(engine: str, socket: str) -> str:
    try:
        peer_pid(socket)
    except OSError as error:
        told = f"{engine} does not answer on {socket} ({error}): run scripts/engines/{engine}-up.sh"
        cannot_run(told)
    subprocess.run([sys.executable, MKIMAGE, "--socket", socket], check=True, timeout=120)
    return socket

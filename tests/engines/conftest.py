"""Fixtures that find the engines.

With BATCHYARD_REQUIRE_ENGINES=1 (CI) an engine that does not answer is a failure.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from batchyard.executors.docker.sockets import peer_pid

MKIMAGE = Path(__file__).parents[2] / "scripts" / "engines" / "mkimage.py"
IMAGE = "batchyard-test:1"


@pytest.fixture(scope="session")
def docker_socket() -> str:
    return _ready("docker", os.environ.get("BATCHYARD_DOCKER_SOCKET", "/var/run/docker.sock"))


@pytest.fixture(scope="session")
def podman_socket() -> str:
    return _ready("podman", os.environ.get("BATCHYARD_PODMAN_SOCKET", "/run/podman/podman.sock"))


def _ready(engine: str, socket: str) -> str:
    try:
        peer_pid(socket)
    except OSError as error:
        told = f"{engine} does not answer on {socket} ({error}): run scripts/engines/{engine}-up.sh"
        if os.environ.get("BATCHYARD_REQUIRE_ENGINES") == "1":
            pytest.fail(told)
        pytest.skip(told)
    subprocess.run([sys.executable, MKIMAGE, "--socket", socket], check=True, timeout=120)
    return socket

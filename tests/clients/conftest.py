"""The yard the clients talk to, and the clients: unmodified, as scripts/setup/clients.sh has them.

With BATCHYARD_REQUIRE_ENGINES=1 (CI) a client that is missing is a failure.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from batchyard.testing.server import LiveYard, live_yard
from clients.real_clients import AwsCli, Node
from required import cannot_run

ROOT = Path(__file__).parents[2]
INSTALLED = ROOT / ".cache" / "clients"


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveYard]:
    """One yard for all; every test uses names of its own. Its jobs are processes."""
    with live_yard(tmp_path_factory.mktemp("live"), executor="process") as yard:
        yield yard


@pytest.fixture(scope="session")
def aws_cli_1(live: LiveYard) -> AwsCli:
    """From PyPI. Finds the yard by AWS_ENDPOINT_URL alone."""
    program = os.environ.get("BATCHYARD_AWS_CLI_V1", str(INSTALLED / "awscli-v1/bin/aws"))
    _need(program, "bash scripts/setup/clients.sh")
    return AwsCli(live, program, name="one")


@pytest.fixture(scope="session")
def aws_cli_2(live: LiveYard) -> AwsCli:
    """Debian's 2.9, which is older than AWS_ENDPOINT_URL and needs the option."""
    program = os.environ.get("BATCHYARD_AWS_CLI_V2", "/usr/bin/aws")
    _need(program, "bash scripts/setup/packages.sh")
    return AwsCli(live, program, name="two", options=("--endpoint-url", live.endpoint))


@pytest.fixture(scope="module", params=["aws_cli_1", "aws_cli_2"])
def aws(request: pytest.FixtureRequest) -> AwsCli:
    cli: AwsCli = request.getfixturevalue(request.param)
    return cli


@pytest.fixture(scope="session")
def node(live: LiveYard) -> Node:
    modules = os.environ.get("BATCHYARD_NODE_MODULES", str(INSTALLED / "node/node_modules"))
    _need(shutil.which("node") or "node", "bash scripts/setup/packages.sh")
    _need(f"{modules}/@aws-sdk/client-batch", "bash scripts/setup/clients.sh")
    return Node(live, modules)


def _need(path: str, remedy: str) -> None:
    if Path(path).exists():
        return
    cannot_run(f"{path} is missing: {remedy}")

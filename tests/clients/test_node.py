"""The AWS SDK for JavaScript against a live yard."""

import re
from pathlib import Path
from typing import Any

import pytest

from clients.real_clients import Node

pytestmark = pytest.mark.clients

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@pytest.fixture(scope="module")
def seen(node: Node) -> dict[str, Any]:
    """What the script saw on its way; see lifecycle.cjs."""
    found: dict[str, Any] = node(Path(__file__).with_name("lifecycle.cjs"))
    return found


def test_jobs_run_and_end(seen: dict[str, Any]) -> None:
    assert seen["revision"] == 1
    assert seen["after"].pop("milliseconds") >= 0
    assert seen["after"] == {
        "status": "FAILED",
        "exitCode": 9,
        "reason": "Essential container in task exited",
    }
    assert seen["summary"]["SUCCEEDED"] == 5
    assert seen["log"] == ["salut 4"]
    assert seen["stopped"] == ["cancelled by node", "terminated by node"]


def test_pages(seen: dict[str, Any]) -> None:
    assert seen["children"] == {"sizes": [2, 2, 1], "items": [0, 1, 2, 3, 4]}


def test_things_are_tagged_and_removed(seen: dict[str, Any]) -> None:
    assert seen["tags"] == {"odd key/:": "ü"}
    assert seen["definitions"] == ["INACTIVE"]
    assert "default" in seen["queues"]
    assert "from-node" not in seen["queues"]
    assert "this-machine" in seen["environments"]
    assert "from-node" not in seen["environments"]


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("unknownQueue", "^JobQueue nowhere not found"),
        ("missingMember", "jobQueue is required"),
        ("unsupported", "yet: ListSchedulingPolicies$"),
        ("attached", "can not run Jobs with capability EC2$"),
    ],
)
def test_refusals_are_of_the_modelled_class(seen: dict[str, Any], case: str, message: str) -> None:
    told = seen["refusals"][case]

    assert re.search(message, told.pop("message"))
    assert UUID.fullmatch(told.pop("requestId"))
    assert told == {
        "name": "ClientException",
        "isClientException": True,
        "isServiceException": True,
        "fault": "client",
        "status": 400,
    }


def test_other_refusals_keep_their_names(seen: dict[str, Any]) -> None:
    stranger, stream = seen["refusals"]["stranger"], seen["refusals"]["noStream"]

    assert (stranger["name"], stranger["status"]) == ("UnrecognizedClientException", 403)
    assert stranger["isServiceException"]
    assert (stream["name"], stream["status"]) == ("ResourceNotFoundException", 400)

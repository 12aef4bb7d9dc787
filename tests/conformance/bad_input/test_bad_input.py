"""Bad requests to a live yard: each gets the right modelled error, and nothing changes."""

import json
import re
import socket
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest

from conformance.bad_input import bad_definitions, bad_jobs, bad_places, bad_wire
from conformance.bad_input.furnished_yard import REALM, Furnished, furnished, store_digest
from conformance.bad_input.refused_request import UUID, Answer, Bad, send

CASES: list[Bad] = [
    *bad_wire.CASES,
    *bad_jobs.CASES,
    *bad_definitions.CASES,
    *bad_places.CASES,
]

HEAD = b"POST /v1/submitjob HTTP/1.1\r\nHost: a\r\n"
GARBAGE = {
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "no version": b"POST /v1/submitjob\r\n\r\n",
    "no method": b" /v1/submitjob HTTP/1.1\r\nHost: a\r\n\r\n",
    "a length that is none": HEAD + b"Content-Length: ten\r\n\r\n",
    "a negative length": HEAD + b"Content-Length: -1\r\n\r\n",
    "two lengths": HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "a length and chunks": HEAD
    + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a chunk of no size": HEAD + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n",
    "a header without a colon": HEAD + b"Content-Length\r\n\r\n",
    "a zero byte in a header": HEAD + b"X-Amz-Date: \x00\r\n\r\n",
}
REFUSED = (b"HTTP/1.1 400 ", b"HTTP/1.1 403 ")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Furnished]:
    home = tmp_path_factory.mktemp("yard")
    with furnished(home) as made:
        before = made.digest()
        yield made
    # Stopped, so that whatever it may have held back is on disk now.
    assert store_digest(home) == before


def test_the_digest_sees_a_change(tmp_path: Path) -> None:
    with furnished(tmp_path) as made:
        before = made.digest()
        made.yard.boto3("batch").tag_resource(
            resourceArn=f"{REALM}:job-queue/open", tags={"changed": "yes"}
        )
        after = made.digest()

    assert {table for table in after if after[table] != before[table]} >= {"queues"}


def test_there_are_enough_of_them_and_no_two_are_the_same() -> None:
    assert len(CASES) >= 150
    keys = [(c.service, c.method, c.path, c.body, c.name) for c in CASES]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("bad", CASES, ids=[case.name for case in CASES])
def test_refused_and_nothing_changes(world: Furnished, bad: Bad) -> None:
    before = world.digest()

    answer = send(world.yard, world.filled(bad))

    code, message = read_xml(answer) if bad.xml else read_json(answer)
    assert (answer.status, code) == (bad.status, bad.code), message
    assert re.search(bad.told, message), message
    assert "Traceback" not in message
    assert UUID.fullmatch(answer.headers["x-amzn-requestid"])
    assert world.digest() == before


def read_json(answer: Answer) -> tuple[str, str]:
    document = json.loads(answer.body)
    code = answer.headers["x-amzn-errortype"]
    assert document.get("__type", code) == code
    return code, document["message"]


def read_xml(answer: Answer) -> tuple[str, str]:
    root = ET.fromstring(answer.body)
    found = {element.tag.rpartition("}")[2]: element.text or "" for element in root.iter()}
    request_id = found.get("RequestId") or found["RequestID"]
    assert request_id == answer.headers["x-amzn-requestid"]
    return found["Code"], found["Message"]


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE)
def test_what_is_not_http_is_refused_before_it_is_a_request(
    world: Furnished, garbage: bytes
) -> None:
    before = world.digest()

    with socket.create_connection(world.yard.address, timeout=30) as connection:
        connection.sendall(garbage)
        connection.shutdown(socket.SHUT_WR)
        said = b"".join(iter(lambda: connection.recv(65536), b""))

    assert said == b"" or said.startswith(REFUSED), said
    assert world.digest() == before
    assert world.yard.boto3("batch").describe_jobs(jobs=[world.ids["done"]])["jobs"]


def test_a_client_that_leaves_in_the_middle_changes_nothing(world: Furnished) -> None:
    before = world.digest()

    with socket.create_connection(world.yard.address, timeout=30) as connection:
        connection.sendall(HEAD + b"Content-Length: 100\r\n\r\n{")

    assert world.yard.boto3("batch").describe_jobs(jobs=[world.ids["done"]])["jobs"]
    assert world.digest() == before

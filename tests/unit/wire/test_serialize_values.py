"""Encoders on shapes with timestamps, blobs, renamed members and recursion."""

import json
from datetime import UTC, datetime
from typing import Any

import botocore.model
import pytest

from batchyard.kernel.faults import InvariantBroken
from batchyard.wire.check import response_problems
from batchyard.wire.model import Models, OperationModel
from batchyard.wire.serialize import compile_json, compile_query

SHAPES: dict[str, Any] = {
    "Output": {
        "type": "structure",
        "required": ["Name"],
        "members": {
            "Name": {"shape": "Text"},
            "At": {"shape": "Time", "locationName": "at"},
            "Times": {"shape": "Times"},
            "ByName": {"shape": "TimeMap"},
            "Inner": {"shape": "Output"},
            "Flat": {"shape": "Flat"},
            "Map": {"shape": "TextMap"},
            "FlatMap": {"shape": "FlatMap"},
            "Bytes": {"shape": "Bytes"},
            "Yes": {"shape": "Bool"},
        },
    },
    "Text": {"type": "string"},
    "Bool": {"type": "boolean"},
    "Bytes": {"type": "blob"},
    "Time": {"type": "timestamp"},
    "Times": {"type": "list", "member": {"shape": "Time"}},
    "TimeMap": {"type": "map", "key": {"shape": "Text"}, "value": {"shape": "Time"}},
    "TextMap": {"type": "map", "key": {"shape": "Text"}, "value": {"shape": "Text"}},
    "Flat": {"type": "list", "flattened": True, "member": {"shape": "Text"}},
    "FlatMap": {
        "type": "map",
        "flattened": True,
        "key": {"shape": "Text"},
        "value": {"shape": "Text"},
    },
}
SHAPE = botocore.model.ShapeResolver(SHAPES).get_shape_by_name("Output")
OPERATION = OperationModel(
    service="test", name="Do", method="POST", uri="/", input_shape=None, output_shape=SHAPE
)
MOMENT = datetime(1970, 1, 1, 0, 0, 10, 500_000, tzinfo=UTC)


def test_timestamps_are_epoch_seconds_in_json_at_every_depth() -> None:
    encode = compile_json(OPERATION)
    output = {
        "At": MOMENT,
        "Times": [10, 10.0],
        "ByName": {"a": 1.5},
        "Inner": {"At": 3, "Unknown": [1]},
        "Name": None,
    }
    assert json.loads(encode(output, "id")) == {
        "at": 10.5,
        "Times": [10, 10],
        "ByName": {"a": 1.5},
        "Inner": {"at": 3, "Unknown": [1]},
    }


def test_the_word_null_in_a_text_is_no_null() -> None:
    models = Models()
    encode = compile_json(models.service("batch").operations["SubmitJob"])
    output = {"jobName": "null", "jobId": None, "deep": [{"x": float("nan"), "y": "null"}, None]}
    assert json.loads(encode(output, "id")) == {"jobName": "null", "deep": [{"y": "null"}]}


def test_xml_of_every_kind_of_member() -> None:
    encode = compile_query(OPERATION, namespace="https://x.test/?a&b")
    output = {
        "Name": "a<b>&\x00\r",
        "At": MOMENT,
        "Times": [0],
        "Inner": {"Name": ""},
        "Flat": ["x", "y"],
        "Map": {"k": "v"},
        "FlatMap": {"k": "v"},
        "Bytes": b"hi",
        "Yes": True,
    }
    assert encode(output, "an-id").decode() == (
        '<DoResponse xmlns="https://x.test/?a&amp;b">'
        "<Name>a&lt;b&gt;&amp;\ufffd&#xD;</Name>"
        "<at>1970-01-01T00:00:10.500Z</at>"
        "<Times><member>1970-01-01T00:00:00.000Z</member></Times>"
        "<Inner><Name></Name></Inner>"
        "<Flat>x</Flat><Flat>y</Flat>"
        "<Map><entry><key>k</key><value>v</value></entry></Map>"
        "<FlatMap><key>k</key><value>v</value></FlatMap>"
        "<Bytes>aGk=</Bytes><Yes>true</Yes>"
        "<ResponseMetadata><RequestId>an-id</RequestId></ResponseMetadata></DoResponse>"
    )


@pytest.mark.parametrize(
    ("output", "problems"),
    [
        ({"Name": "x"}, []),
        ({}, [".Name: required by Output, absent"]),
        ({"Name": None}, [".Name: required by Output, absent"]),
        ({"Name": 1}, [".Name: expected string, got 1"]),
        ({"Name": "x", "Yes": 1}, [".Yes: expected boolean, got 1"]),
        ({"Name": "x", "Times": "x"}, [".Times: expected a list, got 'x'"]),
        ({"Name": "x", "Times": [True]}, [".Times[0]: expected timestamp, got True"]),
        ({"Name": "x", "Map": []}, [".Map: expected a map, got []"]),
        ({"Name": "x", "Map": {"a": 1}}, [".Map.a: expected string, got 1"]),
        ({"Name": "x", "Inner": {}}, [".Inner.Name: required by Output, absent"]),
        ({"Name": "x", "Inner": 1}, [".Inner: expected an object, got 1"]),
        ({"Name": "x", "nAme": 1}, [".nAme: not a member of Output"]),
    ],
)
def test_response_problems(output: dict[str, Any], problems: list[str]) -> None:
    assert response_problems(SHAPE, output) == problems


def test_the_late_members_and_new_enum_strings_of_aws_are_no_problem() -> None:
    shape = Models().service("batch").operations["DescribeJobs"].output_shape
    job = {"jobName": "n", "jobId": "i", "jobQueue": "q", "status": "WAITING", "jobDefinition": "d"}
    assert response_problems(shape, {"jobs": [job]}, allow_unknown=True) == []
    (problem,) = response_problems(shape, {"jobs": [job]})
    assert "'WAITING' is not one of SUBMITTED" in problem
    assert response_problems(None, {}) == []
    assert response_problems(None, {"a": 1}) == ["the operation has no output, got {'a': 1}"]


def test_a_service_whose_protocol_is_not_spoken_is_refused() -> None:
    with pytest.raises(InvariantBroken, match="codedeploy"):
        Models().service("codedeploy")

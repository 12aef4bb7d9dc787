"""Coercions of single values, and the query protocol's lists, maps and timestamps."""

from typing import Any
from urllib.parse import urlencode

import botocore.model
import pytest

from batchyard.wire import parse
from batchyard.wire.model import OperationModel


def operation(members: dict[str, Any], **shapes: Any) -> OperationModel:
    resolver = botocore.model.ShapeResolver(
        {"Input": {"type": "structure", "members": members}, **shapes}
    )
    return OperationModel(
        service="test",
        name="Do",
        method="POST",
        uri="/{Label}",
        input_shape=resolver.get_shape_by_name("Input"),
        output_shape=None,
    )


def of_type(kind: str) -> OperationModel:
    return operation({"V": {"shape": "V"}}, V={"type": kind})


def json_value(kind: str, text: str) -> Any:
    request = parse.RawRequest(body=b'{"V":' + text.encode() + b"}")
    return parse.compile_json(of_type(kind))(request).get("V")


def query_value(kind: str, text: str) -> Any:
    request = parse.RawRequest(body=urlencode({"V": text}).encode())
    return parse.compile_query(of_type(kind))(request).get("V")


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("integer", "3.0", 3),
        ("integer", "-2147483648", -(2**31)),
        ("long", "9223372036854775807", 2**63 - 1),
        ("long", "null", None),
        ("double", "1", 1.0),
        ("double", '"Infinity"', float("inf")),
        ("float", "1e3", 1000.0),
        ("blob", '"aGk="', b"hi"),
        ("boolean", "false", False),
        ("timestamp", "1.5", 1.5),
        ("timestamp", '"1970-01-01T00:00:10Z"', 10.0),
        ("timestamp", '"1970-01-01T00:00:10"', 10.0),
        ("timestamp", '"12"', 12.0),
    ],
)
def test_json_values_are_read(kind: str, text: str, value: object) -> None:
    found = json_value(kind, text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("kind", "text", "complaint"),
    [
        ("long", "9223372036854775808", "V must be a whole number from -9223372036854775808"),
        ("long", "1e300", "V must be a whole number from"),
        ("double", '"1"', "V must be a number, got '1'"),
        ("double", "true", "V must be a number, got True"),
        ("blob", '"no!"', "V must be a base64 string"),
        ("blob", "1", "V must be a base64 string"),
        ("timestamp", "true", "V must be a timestamp"),
        ("timestamp", '"soon"', "V must be a timestamp"),
        ("timestamp", '"nan"', "V must be a timestamp"),
        ("timestamp", "[]", "V must be a timestamp"),
    ],
)
def test_json_values_are_refused(kind: str, text: str, complaint: str) -> None:
    with pytest.raises(parse.WrongType, match=complaint) as caught:
        json_value(kind, text)
    assert caught.value.field == "V"


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("integer", "-7", -7),
        ("boolean", "true", True),
        ("double", "1.5", 1.5),
        ("string", "a b+c&d", "a b+c&d"),
        ("blob", "aGk=", b"hi"),
        ("timestamp", "1970-01-01T00:00:10Z", 10.0),
    ],
)
def test_query_values_are_read(kind: str, text: str, value: object) -> None:
    assert query_value(kind, text) == value


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("integer", "1_000"),
        ("integer", "\u0663\u00b2"),
        ("integer", "9" * 5000),
        ("integer", str(2**31)),
        ("boolean", "True"),
        ("double", "one"),
        ("timestamp", "soon"),
    ],
)
def test_query_values_are_refused(kind: str, text: str) -> None:
    with pytest.raises(parse.WrongType, match=r"^V must be"):
        query_value(kind, text)


def test_query_lists_and_maps_plain_and_flattened() -> None:
    model = operation(
        {
            "Names": {"shape": "Names"},
            "Flat": {"shape": "Flat"},
            "Map": {"shape": "Map"},
            "FlatMap": {"shape": "FlatMap"},
            "Nothing": {"shape": "Names"},
            "Absent": {"shape": "Names"},
        },
        Text={"type": "string"},
        Names={"type": "list", "member": {"shape": "Text", "locationName": "Item"}},
        Flat={"type": "list", "flattened": True, "member": {"shape": "Text"}},
        Map={"type": "map", "key": {"shape": "Text"}, "value": {"shape": "Text"}},
        FlatMap={
            "type": "map",
            "flattened": True,
            "key": {"shape": "Text", "locationName": "N"},
            "value": {"shape": "Text", "locationName": "V"},
        },
    )
    fields = {
        "Names.Item.1": "a",
        "Names.Item.2": "b",
        "Flat.1": "c",
        "Map.entry.1.key": "k",
        "Map.entry.1.value": "v",
        "FlatMap.1.N": "n",
        "FlatMap.1.V": "w",
        "Nothing": "",
    }
    found = parse.compile_query(model)(parse.RawRequest(body=urlencode(fields).encode()))
    assert found == {
        "Names": ["a", "b"],
        "Flat": ["c"],
        "Map": {"k": "v"},
        "FlatMap": {"n": "w"},
        "Nothing": [],
    }


def test_located_members_come_from_the_path_and_the_query_only() -> None:
    model = operation(
        {
            "Label": {"shape": "Text", "location": "uri", "locationName": "Label"},
            "Count": {"shape": "Int", "location": "querystring", "locationName": "count"},
            "Inside": {"shape": "Text"},
        },
        Text={"type": "string"},
        Int={"type": "integer"},
    )
    parser = parse.compile_rest_json(model)
    body = b'{"Label": "forged", "Count": 9, "Inside": "x"}'
    request = parse.RawRequest(body=body, query=[("count", "2")], uri={"Label": "real"})
    assert parser(request) == {"Label": "real", "Count": 2, "Inside": "x"}
    assert parser(parse.RawRequest(body=body)) == {"Inside": "x"}
    with pytest.raises(parse.WrongType, match="Count must be a whole number, got 'two'"):
        parser(parse.RawRequest(body=b"", query=[("count", "two")]))

"""Requests to parameters: the wire dict that the model's input shape describes.

One parser per operation is compiled from its shape, once, into closures. Members that the model
does not know are kept untouched (architecture rule 9); JSON null means absent. Constraints
(required, length, pattern) are not checked here. Headers and payload members of rest-json are
not served: no operation of the services spoken here has any.
"""

import math
import re
from base64 import b64decode
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec

from batchyard.kernel.faults import InvalidRequest
from batchyard.wire.model import OperationModel

MAX_DEPTH: Final = 64
_INTEGER_BITS: Final = {"integer": 31, "long": 63}
_DIGITS: Final = re.compile(r"[+-]?\d{1,20}")

Parser = Callable[[Any], Any]


class RawRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a parser reads. `query` is decoded; `uri` holds the decoded labels of the path."""

    body: bytes
    query: Sequence[tuple[str, str]] = ()
    uri: Mapping[str, str] = {}


RequestParser = Callable[[RawRequest], dict[str, Any]]


class MalformedBody(InvalidRequest):
    """The body is not a JSON object at all."""


class WrongType(InvalidRequest):
    """A member is not of the type its shape asks for; `field` is its path."""


class Mismatch(Exception):
    """Raised inside a compiled parser; callers up the tree add their step to `steps`."""

    def __init__(self, expected: str, got: object) -> None:
        super().__init__(expected)
        self.expected = expected
        self.got = got
        self.steps: list[str] = []

    def path(self) -> str:
        return "".join(reversed(self.steps)).removeprefix(".")


def compile_rest_json(operation: OperationModel) -> RequestParser:
    """A parser of a rest-json request: path labels, query string and JSON body together."""
    shape = operation.input_shape
    located: dict[str, Any] = {}
    if shape is not None:
        located = {n: m for n, m in shape.members.items() if "location" in m.serialization}
    body_parser = _compile(shape, {}, skip=frozenset(located)) if shape is not None else None
    located_parsers = [
        (name, member.serialization["location"], member.serialization.get("name", name), member)
        for name, member in located.items()
    ]

    def parse(request: RawRequest) -> dict[str, Any]:
        document = decode_object(request.body)
        try:
            params: dict[str, Any] = body_parser(document) if body_parser else document
        except Mismatch as wrong:
            raise _wrong_type(wrong) from None
        for name, location, wire_name, member in located_parsers:
            params.pop(name, None)
            try:
                found = _located(request, location, wire_name, member)
            except Mismatch as wrong:
                wrong.steps.append(f".{name}")
                raise _wrong_type(wrong) from None
            if found is not None:
                params[name] = found
        return params

    return parse


def compile_json(operation: OperationModel) -> RequestParser:
    """A parser of an awsJson 1.x request: everything is in the JSON body."""
    shape = operation.input_shape
    parser = _compile(shape, {}) if shape is not None else None

    def parse(request: RawRequest) -> dict[str, Any]:
        document = decode_object(request.body)
        try:
            params: dict[str, Any] = parser(document) if parser else document
        except Mismatch as wrong:
            raise _wrong_type(wrong) from None
        return params

    return parse


def compile_query(operation: OperationModel) -> RequestParser:
    """A parser of an AWS query request: dotted names in a form body, or in the query of a GET."""
    shape = operation.input_shape

    def parse(request: RawRequest) -> dict[str, Any]:
        fields = form_fields(request.body) if request.body else dict(request.query)
        if shape is None:
            return {}
        try:
            found = _query_structure(shape, "", fields)
        except Mismatch as wrong:
            raise _wrong_type(wrong) from None
        return found if found is not None else {}

    return parse


def form_fields(body: bytes) -> dict[str, str]:
    """The fields of a URL-encoded form; the last of equal names wins.

    Raises:
        InvalidRequest: too many fields.
    """
    try:
        return dict(parse_qsl(body.decode("utf-8", "replace"), True, max_num_fields=5000))
    except ValueError as error:
        raise InvalidRequest(
            f"The form body cannot be read: {error}.", hint="Send fewer fields."
        ) from None


def parse_timestamp(value: object) -> float:
    """Epoch seconds from a number, an ISO-8601 string, or a number in a string."""
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError):
            pass
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if math.isfinite(number):
            return number
    raise Mismatch("a timestamp", value)


def decode_object(body: bytes) -> dict[str, Any]:
    """The JSON object in the body; nothing counts as an empty object.

    Raises:
        MalformedBody: anything else.
    """
    if not body:
        return {}
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        document = None
    if type(document) is not dict:
        # AWS: this exact text, whatever is wrong with the JSON.
        raise MalformedBody(
            "An error occurred during JSON parsing",
            hint="The body must be one JSON object in UTF-8.",
        )
    return document


def _wrong_type(wrong: Mismatch) -> WrongType:
    shown = repr(wrong.got)
    shown = shown if len(shown) <= 80 else f"{shown[:77]}..."
    path = wrong.path()
    at = f"{path} must be" if path else "The request must be"
    return WrongType(f"{at} {wrong.expected}, got {shown}.", field=path)


def _compile(shape: Any, memo: dict[str, Parser], skip: frozenset[str] = frozenset()) -> Parser:
    kind: str = shape.type_name
    if kind == "structure":
        return _structure(shape, memo, skip)
    if kind == "list":
        return _list(_compile(shape.member, memo))
    if kind == "map":
        return _map(_compile(shape.value, memo))
    return _SCALARS[kind]


def _structure(shape: Any, memo: dict[str, Parser], skip: frozenset[str]) -> Parser:
    if shape.name in memo:
        return memo[shape.name]
    members: dict[str, Parser] = {}

    def parse(value: Any) -> dict[str, Any]:
        if type(value) is not dict:
            raise Mismatch("an object", value)
        found: dict[str, Any] = {}
        name = ""
        try:
            for name, item in value.items():
                if item is not None:
                    parser = members.get(name)
                    found[name] = parser(item) if parser is not None else _unknown(item)
        except Mismatch as wrong:
            wrong.steps.append(f".{name}")
            raise
        return found

    memo[shape.name] = parse
    for name, member in shape.members.items():
        if name not in skip:
            members[name] = _compile(member, memo)
    return parse


def _list(item_parser: Parser) -> Parser:
    def parse(value: Any) -> list[Any]:
        if type(value) is not list:
            raise Mismatch("a list", value)
        found: list[Any] = []
        try:
            for item in value:
                found.append(item_parser(item))
        except Mismatch as wrong:
            wrong.steps.append(f"[{len(found)}]")
            raise
        return found

    return parse


def _map(value_parser: Parser) -> Parser:
    def parse(value: Any) -> dict[str, Any]:
        if type(value) is not dict:
            raise Mismatch("a map", value)
        found: dict[str, Any] = {}
        key = ""
        try:
            for key, item in value.items():
                if item is not None:
                    found[key] = value_parser(item)
        except Mismatch as wrong:
            wrong.steps.append(f".{key}")
            raise
        return found

    return parse


def _unknown(value: Any) -> Any:
    # CHOSEN: unknown members are stored as they are, so their depth is bounded here, once
    # (ADR 4).
    level: list[Any] = [value]
    depth = 0
    while level:
        level = [
            child
            for item in level
            if type(item) in (dict, list)
            for child in (item.values() if type(item) is dict else item)
        ]
        depth += 1
        if depth > MAX_DEPTH:
            raise Mismatch(f"nested at most {MAX_DEPTH} levels deep", "a deeper value")
    return value


def _string(value: Any) -> str:
    if type(value) is not str:
        raise Mismatch("a string", value)
    return value


def _boolean(value: Any) -> bool:
    if type(value) is not bool:
        raise Mismatch("true or false", value)
    return value


def _whole(kind: str) -> Parser:
    limit = 1 << _INTEGER_BITS[kind]

    def parse(value: Any) -> int:
        if type(value) is float and value.is_integer():
            value = int(value)
        if type(value) is not int:
            raise Mismatch("a whole number", value)
        if not -limit <= value < limit:
            raise Mismatch(f"a whole number from {-limit} to {limit - 1}", value)
        return value

    return parse


def _number(value: Any) -> float:
    if value in ("NaN", "Infinity", "-Infinity"):
        return float(value)
    if type(value) not in (int, float):
        raise Mismatch("a number", value)
    try:
        return float(value)
    except OverflowError:
        raise Mismatch("a number of double precision", "a larger one") from None


def _blob(value: Any) -> bytes:
    if type(value) is not str:
        raise Mismatch("a base64 string", value)
    try:
        return b64decode(value, validate=True)
    except ValueError:
        raise Mismatch("a base64 string", value) from None


_SCALARS: Final[Mapping[str, Parser]] = {
    "string": _string,
    "character": _string,
    "boolean": _boolean,
    "integer": _whole("integer"),
    "long": _whole("long"),
    "float": _number,
    "double": _number,
    "blob": _blob,
    "timestamp": parse_timestamp,
}


def _from_text(shape: Any, text: str) -> Any:
    kind: str = shape.type_name
    if kind == "boolean":
        if text not in ("true", "false"):
            raise Mismatch("true or false", text)
        return text == "true"
    if kind in _INTEGER_BITS:
        if _DIGITS.fullmatch(text) is None:
            raise Mismatch("a whole number", text)
        return _SCALARS[kind](int(text))
    if kind in ("float", "double"):
        try:
            return float(text)
        except ValueError:
            raise Mismatch("a number", text) from None
    if kind in ("structure", "list", "map"):
        raise Mismatch(f"a {kind}", text)
    return _SCALARS[kind](text)


def _located(request: RawRequest, location: str, wire_name: str, member: Any) -> Any:
    if location == "uri":
        label = request.uri.get(wire_name)
        return None if label is None else _from_text(member, label)
    if location != "querystring":
        raise Mismatch("in the body, the path or the query string", location)
    values = [value for name, value in request.query if name == wire_name]
    if not values:
        return None
    if member.type_name == "list":
        return [_from_text(member.member, value) for value in values]
    return _from_text(member, values[-1])


def _query_structure(shape: Any, prefix: str, fields: Mapping[str, str]) -> dict[str, Any] | None:
    found: dict[str, Any] = {}
    for name, member in shape.members.items():
        wire_name = member.serialization.get("name", name)
        try:
            value = _query_value(member, f"{prefix}{wire_name}", fields)
        except Mismatch as wrong:
            wrong.steps.append(f".{name}")
            raise
        if value is not None:
            found[name] = value
    return found or None


def _query_value(shape: Any, name: str, fields: Mapping[str, str]) -> Any:
    if shape.type_name == "structure":
        return _query_structure(shape, f"{name}.", fields)
    if shape.type_name == "list":
        return _query_list(shape, name, fields)
    if shape.type_name == "map":
        return _query_map(shape, name, fields)
    text = fields.get(name)
    return None if text is None else _from_text(shape, text)


def _query_list(shape: Any, name: str, fields: Mapping[str, str]) -> list[Any] | None:
    flat = shape.serialization.get("flattened", False)
    prefix = name if flat else f"{name}.{shape.member.serialization.get('name', 'member')}"
    found: list[Any] = []
    while True:
        try:
            item = _query_value(shape.member, f"{prefix}.{len(found) + 1}", fields)
        except Mismatch as wrong:
            wrong.steps.append(f"[{len(found)}]")
            raise
        if item is None:
            # AWS: an empty list is sent as the bare name with an empty value.
            return found if found or fields.get(name) == "" else None
        found.append(item)


def _query_map(shape: Any, name: str, fields: Mapping[str, str]) -> dict[str, Any] | None:
    prefix = name if shape.serialization.get("flattened", False) else f"{name}.entry"
    key_name = shape.key.serialization.get("name", "key")
    value_name = shape.value.serialization.get("name", "value")
    found: dict[str, Any] = {}
    index = 1
    while (key := fields.get(f"{prefix}.{index}.{key_name}")) is not None:
        found[key] = _query_value(shape.value, f"{prefix}.{index}.{value_name}", fields)
        index += 1
    return found or None

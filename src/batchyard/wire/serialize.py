"""Answers to bytes, by the model's output shape. Absent values are omitted, never null.

JSON members that the model does not know are kept; XML answers hold modelled members only.
"""

import math
from base64 import b64encode
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from xml.sax.saxutils import escape

import msgspec

from batchyard.wire.model import OperationModel

Encoder = Callable[[dict[str, Any], str], bytes]
"""(output, request id) -> body"""

_Convert = Callable[[Any], Any]


def compile_json(operation: OperationModel) -> Encoder:
    """An encoder for rest-json and awsJson bodies.

    Most shapes need no conversion: the output is encoded as it is, and walked only when the
    bytes show that a null slipped in.
    """
    convert = None if operation.output_shape is None else _converter(operation.output_shape, {})
    encode = msgspec.json.Encoder(decimal_format="number").encode

    def serialize(output: dict[str, Any], request_id: str) -> bytes:
        body = encode(output if convert is None else convert(output))
        if b"null" in body:
            body = encode(prune(output if convert is None else convert(output)))
        return body

    return serialize


def compile_query(operation: OperationModel, *, namespace: str) -> Encoder:
    """An encoder for the XML answers of query services."""
    shape = operation.output_shape
    wrapper = (shape.serialization.get("resultWrapper") if shape is not None else None) or ""
    root = f"{operation.name}Response"

    def serialize(output: dict[str, Any], request_id: str) -> bytes:
        parts = [f'<{root} xmlns="{escape(namespace)}">']
        if shape is not None:
            parts.append(f"<{wrapper}>" if wrapper else "")
            _xml_structure(shape, output, parts)
            parts.append(f"</{wrapper}>" if wrapper else "")
        parts.append(f"<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata>")
        parts.append(f"</{root}>")
        return "".join(parts).encode()

    return serialize


def prune(value: Any) -> Any:
    """The value without members that are None or not a number, at every depth."""
    if isinstance(value, dict):
        return {key: prune(item) for key, item in value.items() if not _absent(item)}
    if isinstance(value, list | tuple):
        return [prune(item) for item in value if not _absent(item)]
    return value


def xml_text(value: str) -> str:
    """Escaped, with the characters XML 1.0 cannot carry replaced by U+FFFD."""
    if not value.isprintable():
        value = "".join(c if c >= " " or c in "\t\n\r" else "\ufffd" for c in value)
    return escape(value, {"\r": "&#xD;"})


def _absent(value: Any) -> bool:
    # msgspec writes NaN and the infinities as null; JSON has no word for them.
    return value is None or (isinstance(value, float) and not math.isfinite(value))


def _converter(shape: Any, memo: dict[str, _Convert | None]) -> _Convert | None:
    """What turns handler values into JSON values, or None when they are already."""
    kind: str = shape.type_name
    if kind == "timestamp":
        return _epoch
    if kind == "list":
        member = _converter(shape.member, memo)
        return None if member is None else lambda items: [member(item) for item in items]
    if kind == "map":
        value = _converter(shape.value, memo)
        return None if value is None else lambda m: {k: value(v) for k, v in m.items()}
    if kind == "structure":
        return _structure_converter(shape, memo)
    return None


def _structure_converter(shape: Any, memo: dict[str, _Convert | None]) -> _Convert | None:
    if shape.name in memo:
        return memo[shape.name]
    members: dict[str, tuple[str, _Convert | None]] = {}

    def convert(value: dict[str, Any]) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for name, item in value.items():
            if item is not None:
                wire_name, change = members.get(name, (name, None))
                out[wire_name] = item if change is None else change(item)
        return out

    # ORDER: noted before the members are compiled, because a shape may contain itself.
    memo[shape.name] = convert
    for name, member in shape.members.items():
        wire_name = member.serialization.get("name", name)
        change = _converter(member, memo)
        if wire_name != name or change is not None:
            members[name] = (wire_name, change)
    if not members:
        memo[shape.name] = None
    return memo[shape.name]


def _epoch(value: Any) -> float:
    seconds = value.timestamp() if isinstance(value, datetime) else float(value)
    return int(seconds) if seconds.is_integer() else seconds


def _xml_structure(shape: Any, value: dict[str, Any], parts: list[str]) -> None:
    for name, member in shape.members.items():
        item = value.get(name)
        if item is not None:
            _xml_value(member, member.serialization.get("name", name), item, parts)


def _xml_value(shape: Any, name: str, value: Any, parts: list[str]) -> None:
    kind: str = shape.type_name
    if kind == "list" and shape.serialization.get("flattened"):
        for item in value:
            _xml_value(shape.member, name, item, parts)
        return
    if kind == "map":
        _xml_map(shape, name, value, parts)
        return
    parts.append(f"<{name}>")
    if kind == "structure":
        _xml_structure(shape, value, parts)
    elif kind == "list":
        item_name = shape.member.serialization.get("name", "member")
        for item in value:
            _xml_value(shape.member, item_name, item, parts)
    else:
        parts.append(_xml_scalar(kind, value))
    parts.append(f"</{name}>")


def _xml_map(shape: Any, name: str, value: dict[str, Any], parts: list[str]) -> None:
    flat = shape.serialization.get("flattened")
    entry = name if flat else "entry"
    parts.append("" if flat else f"<{name}>")
    for key, item in value.items():
        parts.append(f"<{entry}>")
        _xml_value(shape.key, shape.key.serialization.get("name", "key"), key, parts)
        _xml_value(shape.value, shape.value.serialization.get("name", "value"), item, parts)
        parts.append(f"</{entry}>")
    parts.append("" if flat else f"</{name}>")


def _xml_scalar(kind: str, value: Any) -> str:
    if kind == "boolean":
        return "true" if value else "false"
    if kind == "timestamp":
        moment = value if isinstance(value, datetime) else datetime.fromtimestamp(value, UTC)
        return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if kind == "blob":
        return b64encode(value).decode()
    return xml_text(str(value))

"""Does an answer have the shape the model promises? Used by tests on every response they see."""

from collections.abc import Mapping
from typing import Any, Final

from batchyard.kernel.faults import InvariantBroken

# AWS: these members are "required" in the model and yet absent in real answers until they exist.
_LATE_MEMBERS: Final = frozenset({("JobDetail", "startedAt")})

_SCALARS: Final[Mapping[str, tuple[type, ...]]] = {
    "string": (str,),
    "character": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "long": (int,),
    "float": (int, float),
    "double": (int, float),
    "blob": (bytes,),
    "timestamp": (int, float),
}


def response_problems(shape: Any, output: object, *, allow_unknown: bool = False) -> list[str]:
    """Every way in which `output` departs from the botocore shape; empty when it conforms.

    Args:
        shape: The operation's output shape; None accepts only an empty answer.
        output: The handler's wire dict.
        allow_unknown: Members the model lacks are fine (the caller stored unknown fields).
    """
    problems: list[str] = []
    if shape is None:
        if output:
            problems.append(f"the operation has no output, got {output!r}")
        return problems
    _check(shape, output, "", allow_unknown, problems)
    return problems


def _check(shape: Any, value: object, path: str, allow_unknown: bool, out: list[str]) -> None:
    kind: str = shape.type_name
    if kind == "structure":
        _check_structure(shape, value, path, allow_unknown, out)
    elif kind == "list":
        if not isinstance(value, list | tuple):
            out.append(f"{path}: expected a list, got {value!r}")
            return
        for index, item in enumerate(value):
            _check(shape.member, item, f"{path}[{index}]", allow_unknown, out)
    elif kind == "map":
        if not isinstance(value, dict):
            out.append(f"{path}: expected a map, got {value!r}")
            return
        for key, item in value.items():
            _check(shape.key, key, f"{path} (key)", allow_unknown, out)
            _check(shape.value, item, f"{path}.{key}", allow_unknown, out)
    elif kind not in _SCALARS:
        raise InvariantBroken(f"the model has a shape of type {kind} at {path}")
    elif not isinstance(value, _SCALARS[kind]) or (isinstance(value, bool) and kind != "boolean"):
        out.append(f"{path}: expected {kind}, got {value!r}")
    elif kind == "string" and shape.enum and value not in shape.enum and not allow_unknown:
        out.append(f"{path}: {value!r} is not one of {', '.join(shape.enum)}")


def _check_structure(
    shape: Any, value: object, path: str, allow_unknown: bool, out: list[str]
) -> None:
    if not isinstance(value, dict):
        out.append(f"{path}: expected an object, got {value!r}")
        return
    for name in shape.required_members:
        if value.get(name) is None and (shape.name, name) not in _LATE_MEMBERS:
            out.append(f"{path}.{name}: required by {shape.name}, absent")
    for name, item in value.items():
        member = shape.members.get(name)
        if member is None:
            if not allow_unknown:
                out.append(f"{path}.{name}: not a member of {shape.name}")
        elif item is not None:
            _check(member, item, f"{path}.{name}", allow_unknown, out)

"""Constraints of the model on parsed parameters: required, length, range, pattern.

Every problem of a request is reported at once. Enum strings are not checked: clients are newer
than models (AWS Batch grows enum values between releases), and handlers refuse what they cannot
honour. Types were checked by the parser.
"""

import re
from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec

from batchyard.kernel.faults import InvalidRequest

_UNSUPPORTED_PATTERN: Final = re.compile(r"\\p\{|&&|\[\[|--|~~|\|\|")
"""Java's regex features that Python lacks or reads differently; such patterns are not checked."""


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """`path` is the wire path; `value` is shown to the caller; `rule` is AWS's sentence."""

    path: str
    rule: str
    value: str = ""
    missing: bool = False

    def batch_sentence(self) -> str:
        if self.missing:
            return f"{self.path} is required."
        return f"Value '{self.value}' at '{self.path}' failed to satisfy constraint: {self.rule}."

    def coral_sentence(self) -> str:
        shown = "null" if self.missing else f"'{self.value}'"
        value = "Value" if self.missing else f"Value {shown}"
        return f"{value} at '{self.path}' failed to satisfy constraint: {self.rule}"


class ConstraintsBroken(InvalidRequest):
    """One or more members break the model's constraints; `problems` holds all of them."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        sentences = " ".join(problem.batch_sentence() for problem in problems)
        super().__init__(sentences, field=problems[0].path)
        self.problems = problems


Check = Callable[[Any, str, list[Problem]], None]
Validator = Callable[[dict[str, Any]], None]


def compile_validator(shape: Any) -> Validator:
    """A function that raises `ConstraintsBroken` with all the problems of the parameters."""
    check = None if shape is None else _compile(shape, {})
    if check is None:
        return lambda params: None

    def validate(params: dict[str, Any]) -> None:
        problems: list[Problem] = []
        check(params, "", problems)
        if problems:
            raise ConstraintsBroken(tuple(problems))

    return validate


def _compile(shape: Any, memo: dict[str, Check | None]) -> Check | None:
    kind: str = shape.type_name
    if kind == "structure":
        return _structure(shape, memo)
    limits = _limits(shape)
    if kind in ("list", "map"):
        nested = _compile(shape.member if kind == "list" else shape.value, memo)
        key_check = _compile(shape.key, memo) if kind == "map" else None
        if nested is None and key_check is None:
            return limits
        return _list(nested, limits) if kind == "list" else _map(key_check, nested, limits)
    return limits


def _structure(shape: Any, memo: dict[str, Check | None]) -> Check | None:
    if shape.name in memo:
        return memo[shape.name]
    required: tuple[str, ...] = tuple(shape.required_members)
    members: dict[str, Check] = {}

    def check(value: Any, path: str, problems: list[Problem]) -> None:
        for name in required:
            if name not in value:
                problems.append(
                    Problem(path=_join(path, name), rule="Member must not be null", missing=True)
                )
        for name, member_check in members.items():
            item = value.get(name)
            if item is not None:
                member_check(item, _join(path, name), problems)

    # ORDER: noted before the members are compiled, because a shape may contain itself.
    memo[shape.name] = check
    for name, member in shape.members.items():
        member_check = _compile(member, memo)
        if member_check is not None:
            members[name] = member_check
    if not required and not members:
        memo[shape.name] = None
    return memo[shape.name]


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _list(nested: Check | None, limits: Check | None) -> Check:
    def check(value: Any, path: str, problems: list[Problem]) -> None:
        if limits is not None:
            limits(value, path, problems)
        if nested is not None:
            for index, item in enumerate(value):
                nested(item, f"{path}[{index}]", problems)

    return check


def _map(key_check: Check | None, nested: Check | None, limits: Check | None) -> Check:
    def check(value: Any, path: str, problems: list[Problem]) -> None:
        if limits is not None:
            limits(value, path, problems)
        for key, item in value.items():
            if key_check is not None:
                key_check(key, f"{path}.{key[:40]} (key)", problems)
            if nested is not None:
                nested(item, f"{path}.{key[:40]}", problems)

    return check


def _limits(shape: Any) -> Check | None:
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    pattern = _pattern(shape.metadata.get("pattern"))
    kind: str = shape.type_name
    if low is None and high is None and pattern is None:
        return None
    if kind in ("string", "blob", "list", "map"):
        noun = "length "
    elif kind in ("integer", "long", "float", "double"):
        noun = "value "
    else:
        return None
    sized = noun == "length "

    def check(value: Any, path: str, problems: list[Problem]) -> None:
        measure = len(value) if sized else value
        if low is not None and measure < low:
            problems.append(_problem(path, f"{noun}greater than or equal to {low}", value))
        elif high is not None and measure > high:
            problems.append(_problem(path, f"{noun}less than or equal to {high}", value))
        if pattern is not None and pattern.fullmatch(value) is None:
            rule = f"Member must satisfy regular expression pattern: {pattern.pattern}"
            problems.append(Problem(path=path, rule=rule, value=_shown(value)))

    return check


def _problem(path: str, rule: str, value: object) -> Problem:
    return Problem(path=path, rule=f"Member must have {rule}", value=_shown(value))


def _shown(value: object) -> str:
    text = str(value) if not isinstance(value, list | dict) else f"{len(value)} items"
    return text if len(text) <= 80 else f"{text[:77]}..."


def _pattern(source: str | None) -> re.Pattern[str] | None:
    if source is None or _UNSUPPORTED_PATTERN.search(source):
        return None
    try:
        return re.compile(source)
    except re.error:
        return None


def coral_message(problems: Iterable[Problem]) -> str:
    """AWS: the wording of validation errors in services other than Batch."""
    sentences = [problem.coral_sentence() for problem in problems]
    plural = "s" if len(sentences) > 1 else ""
    return f"{len(sentences)} validation error{plural} detected: {'; '.join(sentences)}"

"""Typed reading of wire documents: JSON objects whose members may be absent, null or wrong.

A `Document` knows its path, so that every complaint names the member at fault. Which members an
operation has, and what they mean, is decided by the callers.
"""

from collections.abc import Iterator

import msgspec

from batchyard.kernel.faults import InvalidRequest

Members = dict[str, object]


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """One JSON object of a request. A null member counts as absent, as SDKs never send one."""

    members: Members
    path: str = ""

    def at(self, member: str) -> str:
        """Wire path of a member, such as `containerProperties.image`."""
        return f"{self.path}.{member}" if self.path else member

    def has(self, member: str) -> bool:
        return self.members.get(member) is not None

    def text(self, member: str) -> str | None:
        value = self.members.get(member)
        if value is None or isinstance(value, str):
            return value
        raise self.wrong(member, "a string")

    def required(self, member: str) -> str:
        value = self.text(member)
        if not value:
            raise InvalidRequest(f"{self.at(member)} must be specified.", field=self.at(member))
        return value

    def integer(self, member: str, low: int, high: int | None = None) -> int | None:
        """An integer between `low` and `high`, both allowed."""
        value = self.members.get(member)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.wrong(member, "an integer")
        if value < low or (high is not None and value > high):
            bounds = f"at least {low}" if high is None else f"between {low} and {high}"
            raise InvalidRequest(
                f"{self.at(member)} must be {bounds}, but is {value}.", field=self.at(member)
            )
        return value

    def flag(self, member: str) -> bool | None:
        value = self.members.get(member)
        if value is None or isinstance(value, bool):
            return value
        raise self.wrong(member, "true or false")

    def choice(self, member: str, allowed: tuple[str, ...]) -> str | None:
        value = self.text(member)
        if value is None or value in allowed:
            return value
        raise InvalidRequest(
            f"{self.at(member)} must be {' or '.join(allowed)}, but is '{value}'.",
            field=self.at(member),
        )

    def section(self, member: str) -> "Document | None":
        value = self.members.get(member)
        if value is None:
            return None
        if isinstance(value, dict):
            return Document(members=value, path=self.at(member))
        raise self.wrong(member, "an object")

    def inner(self, member: str) -> "Document":
        """The section; an empty one when it is absent."""
        return self.section(member) or Document(members={}, path=self.at(member))

    def sections(self, member: str) -> "list[Document]":
        """The objects of a list; empty when the list is absent."""
        out = []
        for i, value in enumerate(self._list(member)):
            path = f"{self.at(member)}[{i}]"
            if not isinstance(value, dict):
                raise InvalidRequest(f"{path} must be an object.", field=path)
            out.append(Document(members=value, path=path))
        return out

    def texts(self, member: str) -> list[str]:
        """The strings of a list; empty when the list is absent."""
        out = []
        for i, value in enumerate(self._list(member)):
            if not isinstance(value, str):
                path = f"{self.at(member)}[{i}]"
                raise InvalidRequest(f"{path} must be a string.", field=path)
            out.append(value)
        return out

    def text_map(self, member: str) -> dict[str, str]:
        """A map of strings; empty when absent."""
        inner = self.section(member)
        return {} if inner is None else dict(_texts(inner))

    def unknown(self, known: frozenset[str]) -> Members:
        """Members that this version has no name for; they are kept and returned untouched."""
        return {k: v for k, v in self.members.items() if k not in known and v is not None}

    def wrong(self, member: str, wanted: str) -> InvalidRequest:
        path = self.at(member)
        return InvalidRequest(f"{path} must be {wanted}.", field=path)

    def _list(self, member: str) -> list[object]:
        value = self.members.get(member)
        if value is None:
            return []
        if isinstance(value, list | tuple):
            return list(value)
        raise self.wrong(member, "a list")


def _texts(doc: Document) -> Iterator[tuple[str, str]]:
    for key in doc.members:
        value = doc.text(key)
        if value is not None:
            yield key, value


def wire_bytes(members: Members) -> int:
    """Length of a document as compact JSON, the measure of AWS's size quotas."""
    return len(msgspec.json.encode(members))

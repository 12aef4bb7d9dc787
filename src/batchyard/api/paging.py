"""maxResults and nextToken: pages, and opaque tokens that belong to one query."""

import base64
import binascii
import hashlib
import re
from typing import Final, Protocol, TypeVar

import msgspec

from batchyard.api.port import Params
from batchyard.kernel import limits
from batchyard.kernel.document import Document
from batchyard.kernel.faults import InvalidRequest

MAX_RESULTS: Final = 100
_NOT_QUERY: Final = frozenset({"maxResults", "nextToken"})


class _Token(msgspec.Struct, frozen=True, array_like=True):
    query: str
    position: str


def page_size(doc: Document, most: int = MAX_RESULTS) -> int:
    """CHOSEN: more than the most is the most, as AWS "returns up to" it (ADR 11)."""
    asked = doc.integer("maxResults", 1)
    return most if asked is None else min(asked, most)


def token(operation: str, params: Params, position: str) -> str:
    """Where the next page of this query begins."""
    packed = msgspec.json.encode(_Token(_digest(operation, params), position))
    return base64.urlsafe_b64encode(packed).decode()


def position(operation: str, params: Params, shape: re.Pattern[str]) -> str | None:
    """What `token` was given; None on the first page.

    Raises:
        InvalidRequest: the token is damaged or belongs to another query.
    """
    given = Document(members=params).text("nextToken")
    if not given:
        return None
    try:
        found = msgspec.json.decode(base64.urlsafe_b64decode(given), type=_Token)
    except (ValueError, binascii.Error, msgspec.DecodeError):
        raise _invalid() from None
    # A token is not signed: what it says is checked before anybody relies on it.
    if found.query != _digest(operation, params) or shape.fullmatch(found.position) is None:
        raise _invalid()
    return found.position


def check_alone(doc: Document, member: str) -> None:
    """AWS: names and maxResults exclude each other; at most 100 names."""
    said = member[0].upper() + member[1:]
    if doc.texts(member) and doc.has("maxResults"):
        raise InvalidRequest(f"{said} and MaxResults cannot both be set", field="maxResults")
    if len(doc.texts(member)) > MAX_RESULTS:
        raise InvalidRequest(
            f"{said} can have at most {MAX_RESULTS} entries, but has {len(doc.texts(member))}.",
            field=member,
        )


class Named(Protocol):
    @property
    def name(self) -> str: ...


N = TypeVar("N", bound=Named)


def by_name(
    found: list[N], names: list[str], *, operation: str, params: Params
) -> tuple[list[N], str | None]:
    """The named resources in the order asked, unknown ones left out; without names, a page of all.

    Returns:
        The page, and the token of the next one if there is one.
    """
    if names:
        known = {resource.name: resource for resource in found}
        return [known[name] for name in dict.fromkeys(names) if name in known], None
    after = position(operation, params, limits.NAME) or ""
    rest = sorted((r for r in found if r.name > after), key=lambda r: r.name)
    size = page_size(Document(members=params))
    page = rest[:size]
    more = len(rest) > size
    return page, token(operation, params, page[-1].name) if more else None


def _digest(operation: str, params: Params) -> str:
    query = sorted((k, v) for k, v in params.items() if k not in _NOT_QUERY and v)
    packed = msgspec.json.encode([operation, query], order="deterministic")
    return hashlib.blake2s(packed, digest_size=6).hexdigest()


def _invalid() -> InvalidRequest:
    return InvalidRequest(
        "nextToken is not valid for this request.",
        field="nextToken",
        hint="Repeat the request that gave the token, with all its other members unchanged.",
    )

"""CloudWatch Logs filter patterns for unstructured text; nothing else of that language.

Supported: terms (all must occur), "quoted phrases", ?terms (any may occur), -terms (none may).
"""

import re
from collections.abc import Callable
from typing import Final

from batchyard.kernel.faults import InvalidRequest

Match = Callable[[str], bool]

_TERM: Final = re.compile(r'\s*([?-]?)(?:"((?:[^"\\]|\\.)*)"|([^\s"]+))(?=\s|$)', re.DOTALL)
_PLAIN: Final = re.compile(r"\w+")


def compile_pattern(pattern: str) -> Match:
    """Turn a filter pattern into a predicate on messages.

    Raises:
        InvalidRequest: the pattern is malformed, or of a kind that Batchyard does not serve.
    """
    text = pattern.strip()
    _refuse_structured(text)
    required: list[str] = []
    optional: list[str] = []
    excluded: list[str] = []
    at = 0
    while at < len(text):
        found = _TERM.match(text, at)
        if found is None:
            raise InvalidRequest(
                f"Invalid filter pattern: cannot read {text[at:]!r}",
                field="filterPattern",
                hint='Close every double quote, and put a space after it: "disk full" -retry.',
            )
        sign, quoted, bare = found.groups()
        if quoted is None and not _PLAIN.fullmatch(bare):
            # AWS: terms with other characters must be quoted.
            raise InvalidRequest(
                f"Invalid character(s) in term '{bare}'",
                field="filterPattern",
                hint=f'Put the term in double quotes: {sign}"{bare}".',
            )
        term = bare if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
        {"": required, "?": optional, "-": excluded}[sign].append(term)
        at = found.end()
    if required or excluded:
        # AWS: `?` terms are ignored beside terms of another kind.
        optional = []

    def matches(message: str) -> bool:
        return (
            all(term in message for term in required)
            and not any(term in message for term in excluded)
            and (not optional or any(term in message for term in optional))
        )

    return matches


def _refuse_structured(text: str) -> None:
    for opening, closing, kind in (
        ("{", "}", "JSON patterns"),
        ("[", "]", "space-delimited patterns"),
        ("%", "%", "regular expressions"),
    ):
        if len(text) > 1 and text.startswith(opening) and text.endswith(closing):
            raise InvalidRequest(
                f"Invalid filter pattern: {kind} ({opening}...{closing}) are not supported",
                field="filterPattern",
                hint='Use terms: ERROR "disk full" ?WARN -retry; or filter the output yourself.',
            )
    if text.startswith(("{", "[")):
        raise InvalidRequest(
            f"Invalid filter pattern: {text!r} opens {text[0]!r} and never closes it",
            field="filterPattern",
            hint=f'To find the character itself, put the term in double quotes: "{text[0]}".',
        )

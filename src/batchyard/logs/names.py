"""File names for groups and streams: reversible, and never longer than a file system allows.

Every byte outside `[A-Za-z0-9_.-]` is percent-escaped. A name that would grow too long keeps its
beginning and ends in a hash; its true name then stands in the file's header (`record.Header`).
"""

import hashlib
import urllib.parse

_MAX_ESCAPED_BYTES = 200
_HASHED = "~"  # Percent-escaping never lets a plain name contain it; we escape `~` ourselves.
SUFFIX = ".log"


def escape(name: str) -> str:
    """Percent-escape `name`; the result has no slash and no leading dot."""
    quoted = urllib.parse.quote(name, safe="", errors="surrogatepass").replace(_HASHED, "%7E")
    return "%2E" + quoted[1:] if quoted.startswith(".") else quoted


def unescape(escaped: str) -> str:
    return urllib.parse.unquote(escaped, errors="surrogatepass")


def folder_name(group: str) -> str:
    return _fit(escape(group))


def file_name(stream: str) -> str:
    return _fit(escape(stream)) + SUFFIX


def name_of_file(file: str) -> str | None:
    """Name of the stream kept in `file`, or None when only its header knows."""
    stem = file[: -len(SUFFIX)]
    return None if _HASHED in stem else unescape(stem)


def may_start_with(file: str, escaped_prefix: str) -> bool:
    """False when the stream in `file` surely does not start with the prefix. Cheap."""
    stem = file[: -len(SUFFIX)]
    kept, hashed, _ = stem.partition(_HASHED)
    if hashed:
        return kept.startswith(escaped_prefix[: len(kept)])
    return stem.startswith(escaped_prefix)


def _fit(escaped: str) -> str:
    if len(escaped) <= _MAX_ESCAPED_BYTES:
        return escaped
    digest = hashlib.sha256(escaped.encode()).hexdigest()[:40]
    return f"{escaped[: _MAX_ESCAPED_BYTES - 50]}{_HASHED}{digest}"

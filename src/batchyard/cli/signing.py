"""AWS Signature Version 4 for one HTTP request, with the standard library alone. No sending here.

Source: AWS General Reference, "Signature Version 4 signing process".
"""

import hashlib
import hmac
import re
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, quote, urlsplit

ALGORITHM = "AWS4-HMAC-SHA256"


@dataclass(frozen=True, kw_only=True)
class Credentials:
    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str = field(default="", repr=False)


def sign(
    *,
    method: str,
    url: str,
    headers: dict[str, str],
    body: bytes,
    credentials: Credentials,
    region: str,
    service: str,
    amz_date: str,
) -> dict[str, str]:
    """Return `headers` plus Host, X-Amz-Date, the session token and Authorization.

    Args:
        url: Full URL; its path is sent as written and must already be percent-encoded.
        headers: Every one of them is signed.
        amz_date: `YYYYMMDDTHHMMSSZ`, UTC.
    """
    parts = urlsplit(url)
    signed = dict(headers)
    signed["Host"] = parts.netloc
    signed["X-Amz-Date"] = amz_date
    if credentials.session_token:
        signed["X-Amz-Security-Token"] = credentials.session_token

    lower = {name.lower(): " ".join(value.split()) for name, value in signed.items()}
    names = ";".join(sorted(lower))
    canonical = "\n".join(
        (
            method,
            _canonical_path(parts.path),
            _canonical_query(parts.query),
            *(f"{name}:{lower[name]}" for name in sorted(lower)),
            "",
            names,
            hashlib.sha256(body).hexdigest(),
        )
    )
    scope = f"{amz_date[:8]}/{region}/{service}/aws4_request"
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    to_sign = "\n".join((ALGORITHM, amz_date, scope, digest))

    key = f"AWS4{credentials.secret_access_key}".encode()
    for element in (amz_date[:8], region, service, "aws4_request"):
        key = hmac.new(key, element.encode(), hashlib.sha256).digest()
    signature = hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()
    signed["Authorization"] = (
        f"{ALGORITHM} Credential={credentials.access_key_id}/{scope}, "
        f"SignedHeaders={names}, Signature={signature}"
    )
    return signed


def _canonical_path(path: str) -> str:
    # AWS: outside S3 the path is normalised, then the sent (already encoded) path is encoded again.
    kept: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            del kept[-1:]
        elif segment not in ("", "."):
            kept.append(segment)
    joined = "/" + "/".join(kept)
    if kept and path.endswith("/"):
        joined += "/"
    return quote(re.sub("/+", "/", joined), safe="/-_.~")


def _canonical_query(query: str) -> str:
    pairs = [
        (quote(name, safe="-_.~"), quote(value, safe="-_.~"))
        for name, value in parse_qsl(query, keep_blank_values=True)
    ]
    return "&".join(f"{name}={value}" for name, value in sorted(pairs))

"""Temporary credentials of jobs: the container-credentials endpoint of ECS, on loopback.

Nothing is stored. An attempt gets a token (in its environment) that carries its own id and role
under an HMAC; the token buys credentials; their session token carries the principal and the expiry
under an HMAC; and the secret of an access key is an HMAC of its id. Whoever holds the yard's secret
can check everything, also after a restart. Credentials of a job outlive it until they expire.
"""

import base64
import hmac
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final, TypeVar

import msgspec

from batchyard.kernel.faults import BatchyardError
from batchyard.neighbours.port import PlainHandler

CREDENTIALS_PATH: Final = "/_batchyard/credentials"

# SDKs refresh in good time, so a job of any length always holds keys good for hours.
_WINDOW_MS: Final = 3 * 3_600_000
_LIFETIME_MS: Final = 2 * _WINDOW_MS
_DEFAULT_ROLE: Final = "batchyard-job"
_NOT_IN_SESSION_NAME: Final = re.compile(r"[^\w+=,.@-]", re.ASCII)

S = TypeVar("S", bound=msgspec.Struct)


class JobCredential(msgspec.Struct, frozen=True, kw_only=True):
    """What a lookup tells about an access key of a job."""

    secret: str
    session_token: str
    principal_arn: str
    account: str
    expires_ms: int

    def __repr__(self) -> str:
        return f"JobCredential(principal_arn={self.principal_arn!r}, secret=...)"


class TokenRefused(BatchyardError):
    """The authorization token is missing (401) or not one of this yard (403)."""

    code = "AccessDeniedException"
    http_status = 403


class _Bearer(msgspec.Struct, frozen=True, array_like=True):
    attempt_id: str
    role_arn: str | None


class _Session(msgspec.Struct, frozen=True, array_like=True):
    access_key_id: str
    principal_arn: str
    expires_ms: int


class JobCredentials:
    """Issues and recognises the credentials of jobs. `clock` gives epoch milliseconds."""

    def __init__(self, *, yard_secret: bytes, account: str, clock: Callable[[], int]) -> None:
        if len(yard_secret) < 16:
            raise ValueError("yard_secret must have at least 16 bytes")
        # One key per purpose: nothing signed for one can be presented for another.
        self._bearer_key = hmac.digest(yard_secret, b"batchyard bearer token", "sha256")
        self._session_key = hmac.digest(yard_secret, b"batchyard session token", "sha256")
        self._id_key = hmac.digest(yard_secret, b"batchyard access key id", "sha256")
        self._secret_key = hmac.digest(yard_secret, b"batchyard secret key", "sha256")
        self._account = account
        self._clock = clock

    def token_for(self, attempt_id: str, role_arn: str | None) -> str:
        """The value of AWS_CONTAINER_AUTHORIZATION_TOKEN for an attempt. Deterministic."""
        return _sign(self._bearer_key, _Bearer(attempt_id, role_arn))

    def issue(self, token: str) -> dict[str, str]:
        """Credentials in the form of the container-credentials endpoint.

        The same token gives the same credentials for three hours, good for three hours more.

        Raises:
            TokenRefused: the token was not made by `token_for` of this yard.
        """
        bearer = _verify(self._bearer_key, token, _Bearer)
        if bearer is None:
            raise TokenRefused(
                "The authorization token is not valid for this yard.",
                hint="Use the AWS_CONTAINER_AUTHORIZATION_TOKEN that Batchyard gave this job.",
            )
        role = (bearer.role_arn or _DEFAULT_ROLE).rpartition("/")[2]
        session_name = _NOT_IN_SESSION_NAME.sub("-", bearer.attempt_id)[:64]
        expires_ms = self._clock() // _WINDOW_MS * _WINDOW_MS + _LIFETIME_MS
        access_key_id = self._access_key_id(token, expires_ms)
        session = _Session(
            access_key_id,
            f"arn:aws:sts::{self._account}:assumed-role/{role}/{session_name}",
            expires_ms,
        )
        expires = datetime.fromtimestamp(expires_ms / 1000, tz=UTC)
        return {
            "AccessKeyId": access_key_id,
            "SecretAccessKey": self._secret_of(access_key_id),
            "Token": _sign(self._session_key, session),
            "Expiration": expires.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "RoleArn": bearer.role_arn or f"arn:aws:iam::{self._account}:role/{_DEFAULT_ROLE}",
        }

    def lookup(self, access_key_id: str, session_token: str | None) -> JobCredential | None:
        """The credential of a job's key, or None when this yard did not issue the pair.

        An expired one is returned all the same: the caller judges `expires_ms`.
        """
        if session_token is None:
            return None
        session = _verify(self._session_key, session_token, _Session)
        if session is None or not hmac.compare_digest(
            session.access_key_id.encode(), access_key_id.encode("utf-8", "replace")
        ):
            return None
        return JobCredential(
            secret=self._secret_of(access_key_id),
            session_token=session_token,
            principal_arn=session.principal_arn,
            account=self._account,
            expires_ms=session.expires_ms,
        )

    def _access_key_id(self, token: str, expires_ms: int) -> str:
        digest = hmac.digest(self._id_key, f"{expires_ms} {token}".encode(), "sha256")
        return "ASIA" + base64.b32encode(digest)[:16].decode()

    def _secret_of(self, access_key_id: str) -> str:
        digest = hmac.digest(self._secret_key, access_key_id.encode(), "sha256")
        return base64.b64encode(digest)[:40].decode()


def credentials_handler(credentials: JobCredentials) -> PlainHandler:
    """Serve `GET CREDENTIALS_PATH`; SDKs send the token verbatim as the Authorization header."""

    async def handle(
        method: str, headers: Mapping[str, str], query: Mapping[str, str], body: bytes
    ) -> tuple[int, Mapping[str, str], bytes]:
        if method != "GET":
            return _answer(
                405,
                {"code": "MethodNotAllowed", "message": f"Use GET, not {method}."},
                extra={"allow": "GET"},
            )
        token = headers.get("authorization", "").strip()
        if not token:
            return _answer(
                401,
                {
                    "code": "MissingAuthenticationToken",
                    "message": "Send AWS_CONTAINER_AUTHORIZATION_TOKEN as Authorization header.",
                },
            )
        try:
            return _answer(200, credentials.issue(token))
        except TokenRefused as refused:
            return _answer(
                refused.http_status,
                {"code": refused.code, "message": f"{refused.message} {refused.hint}"},
            )

    return handle


def _answer(
    status: int, document: dict[str, str], *, extra: Mapping[str, str] | None = None
) -> tuple[int, Mapping[str, str], bytes]:
    headers = {"content-type": "application/json", "cache-control": "no-store", **(extra or {})}
    return status, headers, msgspec.json.encode(document)


def _sign(key: bytes, document: msgspec.Struct) -> str:
    payload = msgspec.json.encode(document)
    return f"{_base64(payload)}.{_base64(hmac.digest(key, payload, 'sha256'))}"


def _verify(key: bytes, token: str, kind: type[S]) -> S | None:
    head, dot, tail = token.partition(".")
    try:
        payload, mac = _unbase64(head), _unbase64(tail)
    except ValueError:
        return None
    if not dot or not hmac.compare_digest(mac, hmac.digest(key, payload, "sha256")):
        return None
    return msgspec.json.decode(payload, type=kind)


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _unbase64(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)

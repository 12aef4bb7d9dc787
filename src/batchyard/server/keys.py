"""Whose signatures the gateway believes: the yard's own keys, and those of its jobs."""

from collections.abc import Iterable

from batchyard.neighbours.credentials import JobCredentials
from batchyard.store.port import AccessKey
from batchyard.wire.gateway import Credential


class Keys:
    """The gateway's KeyLookup. In memory: every request asks it."""

    def __init__(self, keys: Iterable[AccessKey], *, jobs: JobCredentials, account: str) -> None:
        self._jobs = jobs
        self._own = {
            key.access_key_id: Credential(
                secret=key.secret_access_key,
                session_token=None,
                principal_arn=key.arn,
                account=account,
                expires_ms=None,
            )
            for key in keys
        }

    def secret_for(self, access_key_id: str, session_token: str | None) -> Credential | None:
        own = self._own.get(access_key_id)
        if own is not None:
            return own
        job = self._jobs.lookup(access_key_id, session_token)
        if job is None:
            return None
        return Credential(
            secret=job.secret,
            session_token=job.session_token,
            principal_arn=job.principal_arn,
            account=job.account,
            expires_ms=job.expires_ms,
        )

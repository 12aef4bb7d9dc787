"""Whose signatures count: the owner's key, and what the yard gave its jobs."""

from batchyard.neighbours.credentials import JobCredentials
from batchyard.server.keys import Keys
from batchyard.store.port import AccessKey

OWNER = AccessKey(
    access_key_id="AKIAOWNER",
    secret_access_key="owner's secret",
    arn="arn:aws:iam::000000000000:user/owner",
    created_at_ms=1,
)
NOW_MS = 1_700_000_000_000


def jobs(secret: bytes = b"s" * 32) -> JobCredentials:
    return JobCredentials(yard_secret=secret, account="000000000000", clock=lambda: NOW_MS)


def keys(issuer: JobCredentials) -> Keys:
    return Keys([OWNER], jobs=issuer, account="000000000000")


def test_the_owner_is_known_by_the_key_alone() -> None:
    found = keys(jobs()).secret_for("AKIAOWNER", None)
    assert found is not None
    assert (found.secret, found.principal_arn) == ("owner's secret", OWNER.arn)
    assert (found.session_token, found.expires_ms) == (None, None)
    assert found.account == "000000000000"


def test_a_job_is_known_by_its_key_and_token_together() -> None:
    issuer = jobs()
    issued = issuer.issue(issuer.token_for("j.a1", "arn:aws:iam::000000000000:role/reader"))
    found = keys(issuer).secret_for(issued["AccessKeyId"], issued["Token"])
    assert found is not None
    assert found.secret == issued["SecretAccessKey"]
    assert found.session_token == issued["Token"]
    assert found.principal_arn == "arn:aws:sts::000000000000:assumed-role/reader/j.a1"
    assert found.expires_ms is not None
    assert found.expires_ms > NOW_MS


def test_nobody_else_is() -> None:
    issuer, stranger = jobs(), jobs(b"t" * 32)
    mine = issuer.issue(issuer.token_for("j.a1", None))
    theirs = stranger.issue(stranger.token_for("j.a1", None))
    known = keys(issuer)
    assert known.secret_for("AKIASTRANGER", None) is None
    assert known.secret_for("AKIASTRANGER", "token") is None
    assert known.secret_for(mine["AccessKeyId"], None) is None
    assert known.secret_for(mine["AccessKeyId"], theirs["Token"]) is None
    assert known.secret_for(theirs["AccessKeyId"], theirs["Token"]) is None
    assert known.secret_for(theirs["AccessKeyId"], mine["Token"]) is None

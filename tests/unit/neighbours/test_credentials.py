"""Job credentials: what they carry, and that nothing forged is believed."""

import asyncio
import json
import re
from collections.abc import Callable

import pytest

from batchyard.neighbours.credentials import JobCredentials, TokenRefused, credentials_handler

ACCOUNT = "123456789012"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/team/align"
HOUR_MS = 3_600_000


def make(
    *, secret: bytes = b"s" * 32, clock: Callable[[], int] = lambda: 10 * HOUR_MS
) -> JobCredentials:
    return JobCredentials(yard_secret=secret, account=ACCOUNT, clock=clock)


def test_a_token_buys_credentials_that_are_recognised() -> None:
    jobs = make()
    issued = jobs.issue(jobs.token_for("job-1:3#2", ROLE))
    assert re.fullmatch(r"ASIA[A-Z2-7]{16}", issued["AccessKeyId"])
    assert len(issued["SecretAccessKey"]) == 40
    assert issued["RoleArn"] == ROLE
    assert issued["Expiration"] == "1970-01-01T15:00:00Z"
    found = jobs.lookup(issued["AccessKeyId"], issued["Token"])
    assert found is not None
    assert found.secret == issued["SecretAccessKey"]
    assert found.session_token == issued["Token"]
    assert found.principal_arn == f"arn:aws:sts::{ACCOUNT}:assumed-role/align/job-1-3-2"
    assert (found.account, found.expires_ms) == (ACCOUNT, 15 * HOUR_MS)


@pytest.mark.parametrize(
    ("role", "name"),
    [(None, "batchyard-job"), ("align", "align"), (ROLE, "align")],
)
def test_a_role_may_be_an_arn_a_name_or_missing(role: str | None, name: str) -> None:
    jobs = make()
    issued = jobs.issue(jobs.token_for("a" * 100, role))
    found = jobs.lookup(issued["AccessKeyId"], issued["Token"])
    assert found is not None
    assert found.principal_arn == f"arn:aws:sts::{ACCOUNT}:assumed-role/{name}/{'a' * 64}"


def test_credentials_are_steady_within_a_window_and_always_last_hours() -> None:
    now_ms = 10 * HOUR_MS
    jobs = make(clock=lambda: now_ms)
    token = jobs.token_for("j", ROLE)
    first = jobs.issue(token)
    now_ms = 12 * HOUR_MS - 1
    assert jobs.issue(token) == first
    now_ms = 12 * HOUR_MS
    second = jobs.issue(token)
    assert second["AccessKeyId"] != first["AccessKeyId"]
    old = jobs.lookup(first["AccessKeyId"], first["Token"])
    assert old is not None
    assert old.expires_ms - now_ms == 3 * HOUR_MS


def test_a_restarted_yard_recognises_what_it_issued() -> None:
    issued = make().issue(make().token_for("j", ROLE))
    assert make().lookup(issued["AccessKeyId"], issued["Token"]) is not None


def test_attempts_and_roles_have_keys_of_their_own() -> None:
    jobs = make()
    tokens = [jobs.token_for(a, r) for a in ("j1", "j2") for r in (ROLE, None)]
    assert len({jobs.issue(token)["AccessKeyId"] for token in tokens}) == 4


def test_nothing_forged_is_believed() -> None:
    jobs, other = make(), make(secret=b"o" * 32)
    token = jobs.token_for("j", ROLE)
    issued = jobs.issue(token)
    payload, mac = token.split(".")
    swapped = jobs.token_for("k", ROLE).split(".")[0]
    for forged in (
        "",
        ".",
        "x",
        "é.é",
        payload,
        f"{payload}.",
        f".{mac}",
        f"{swapped}.{mac}",
        f"{payload}.{mac[:-4]}",
        token + ".x",
        other.token_for("j", ROLE),
        issued["Token"],
    ):
        with pytest.raises(TokenRefused):
            jobs.issue(forged)
    key = issued["AccessKeyId"]
    for session in (None, "", "x.y", token, other.issue(other.token_for("j", ROLE))["Token"]):
        assert jobs.lookup(key, session) is None
    assert jobs.lookup("ASIA" + "A" * 16, issued["Token"]) is None
    assert jobs.lookup("é", issued["Token"]) is None


def test_a_short_yard_secret_is_refused() -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        make(secret=b"short")


def test_a_credential_does_not_print_its_secret() -> None:
    jobs = make()
    issued = jobs.issue(jobs.token_for("j", None))
    found = jobs.lookup(issued["AccessKeyId"], issued["Token"])
    assert issued["SecretAccessKey"] not in repr(found)
    assert issued["Token"] not in repr(found)


def ask(jobs: JobCredentials, headers: dict[str, str], method: str = "GET") -> tuple[int, dict]:
    status, answered, body = asyncio.run(credentials_handler(jobs)(method, headers, {}, b""))
    assert answered["content-type"] == "application/json"
    assert answered["cache-control"] == "no-store"
    return status, json.loads(body)


def test_the_endpoint_answers_and_refuses_in_json() -> None:
    jobs = make()
    token = jobs.token_for("j", ROLE)
    assert ask(jobs, {"authorization": token}) == (200, jobs.issue(token))
    status, refusal = ask(jobs, {})
    assert (status, refusal["code"]) == (401, "MissingAuthenticationToken")
    assert "AWS_CONTAINER_AUTHORIZATION_TOKEN" in refusal["message"]
    status, refusal = ask(jobs, {"authorization": "Bearer nonsense"})
    assert (status, refusal["code"]) == (403, "AccessDeniedException")
    assert "AWS_CONTAINER_AUTHORIZATION_TOKEN" in refusal["message"]
    assert ask(jobs, {"authorization": token}, "POST")[0] == 405

"""GetCallerIdentity."""

import asyncio
import re

import msgspec
import pytest

from batchyard.neighbours.sts import sts_handlers

ACCOUNT = "123456789012"


class Context(msgspec.Struct, frozen=True, kw_only=True):
    principal_arn: str
    account: str = ACCOUNT
    region: str = "us-east-1"


@pytest.mark.parametrize(
    ("arn", "pattern"),
    [
        (f"arn:aws:iam::{ACCOUNT}:root", ACCOUNT),
        (f"arn:aws:iam::{ACCOUNT}:user/me", r"AIDA[A-Z2-7]{17}"),
        (f"arn:aws:sts::{ACCOUNT}:assumed-role/align/j-1", r"AROA[A-Z2-7]{17}:j-1"),
    ],
)
def test_who_am_i(arn: str, pattern: str) -> None:
    handler = sts_handlers()["sts", "GetCallerIdentity"]
    answer = asyncio.run(handler(Context(principal_arn=arn), {}))
    assert (answer["Account"], answer["Arn"]) == (ACCOUNT, arn)
    assert re.fullmatch(pattern, answer["UserId"])


def test_two_sessions_of_a_role_share_its_id() -> None:
    handler = sts_handlers()["sts", "GetCallerIdentity"]
    ids = {
        asyncio.run(
            handler(Context(principal_arn=f"arn:aws:sts::{ACCOUNT}:assumed-role/r/{n}"), {})
        )["UserId"].partition(":")[0]
        for n in range(2)
    }
    assert len(ids) == 1

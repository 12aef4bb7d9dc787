"""STS, as far as clients of Batch use it: who am I?"""

import base64
import hashlib
from typing import Any

from batchyard.neighbours.port import CallContext, Handler


def sts_handlers() -> dict[tuple[str, str], Handler]:
    """Handlers by (signing name, operation)."""

    async def get_caller_identity(ctx: CallContext, params: dict[str, Any]) -> dict[str, Any]:
        return {
            "UserId": user_id_of(ctx.principal_arn, account=ctx.account),
            "Account": ctx.account,
            "Arn": ctx.principal_arn,
        }

    return {("sts", "GetCallerIdentity"): get_caller_identity}


def user_id_of(principal_arn: str, *, account: str) -> str:
    """The unique id AWS would show: AIDA... of a user, AROA...:session of a role, or the account.

    CHOSEN: derived from the ARN, so that it is the same on every start of a yard (ADR 11).
    """
    resource = principal_arn.rpartition(":")[2]
    kind, _, rest = resource.partition("/")
    if kind == "assumed-role":
        role, _, session = rest.rpartition("/")
        return f"AROA{_digest(f'{account}:role/{role}')}:{session}"
    if kind == "user":
        return f"AIDA{_digest(f'{account}:{resource}')}"
    return account


def _digest(text: str) -> str:
    return base64.b32encode(hashlib.sha256(text.encode()).digest())[:17].decode()

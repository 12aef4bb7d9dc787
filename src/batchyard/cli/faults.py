"""What a command can fail with, each with the exit code scripts rely on.

    CommandFault        1   the operation failed
    ├─ UsageFault       2   the command line itself is wrong
    ├─ Missing          3   the named thing does not exist
    ├─ Denied           4   no credentials, wrong credentials, or not allowed
    ├─ JobsFailed       5   the command worked; the jobs it waited for FAILED
    ├─ DeadlinePassed   7   --timeout ran out
    └─ ApiFault         1, 3 or 4: an error answer of the endpoint

Ctrl-C ends with 130; that is no fault and lives in `app`.
"""

from typing import ClassVar

from batchyard.kernel.faults import BatchyardError


class CommandFault(BatchyardError):
    default_exit_code: ClassVar[int] = 1

    def __init__(
        self, message: str, *, hint: str = "", exit_code: int | None = None, **context: object
    ) -> None:
        super().__init__(message, hint=hint, **context)
        self.exit_code = self.default_exit_code if exit_code is None else exit_code


class UsageFault(CommandFault):
    default_exit_code = 2


class Missing(CommandFault):
    default_exit_code = 3


class Denied(CommandFault):
    default_exit_code = 4


class JobsFailed(CommandFault):
    default_exit_code = 5


class DeadlinePassed(CommandFault):
    default_exit_code = 7


class ApiFault(CommandFault):
    """An error answer of the endpoint, in its own words."""

    def __init__(
        self,
        message: str,
        *,
        error_code: str,
        http_status: int,
        request_id: str = "",
        hint: str = "",
    ) -> None:
        super().__init__(message, hint=hint, exit_code=_exit_code(error_code, http_status, message))
        self.error_code = error_code
        self.status = http_status
        self.request_id = request_id


_DENIED = frozenset(
    {
        "AccessDeniedException",
        "ExpiredTokenException",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "MissingAuthenticationTokenException",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)


def _exit_code(error_code: str, http_status: int, message: str) -> int:
    if http_status in (401, 403) or error_code in _DENIED:
        return Denied.default_exit_code
    # AWS: Batch has one ClientException for everything; only its words say "there is none".
    words = message.lower()
    if (
        http_status == 404
        or error_code == "ResourceNotFoundException"
        or "does not exist" in words
        or "not found" in words
    ):
        return Missing.default_exit_code
    return CommandFault.default_exit_code

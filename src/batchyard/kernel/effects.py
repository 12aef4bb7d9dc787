"""What must be done in the world after a commit: at least once, idempotent, in the outbox."""

import msgspec

from batchyard.kernel.commands import Command


class StartAttempt(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    job_id: str
    attempt: int


class StopAttempt(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """SIGTERM, then SIGKILL after 30 s."""

    job_id: str
    attempt: int


class RemoveAttempt(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The end is recorded: the engine may forget the attempt."""

    job_id: str
    attempt: int


class FollowUp(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A further command of the yard's own, such as the next portion of a cascade."""

    command: Command


Effect = StartAttempt | StopAttempt | RemoveAttempt | FollowUp

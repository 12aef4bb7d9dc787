"""Waiting until a queue or compute environment that was just created is VALID."""

from collections.abc import Callable

from batchyard.cli.client import Document
from batchyard.cli.faults import CommandFault, DeadlinePassed
from batchyard.cli.waiting import Pace

_DEADLINE_S = 60.0
_PAUSE_S = 0.1
_UNSETTLED = frozenset({"CREATING", "UPDATING"})


def await_valid(look: Callable[[], Document | None], *, what: str, pace: Pace) -> Document:
    """Look until the thing has left CREATING.

    Raises:
        CommandFault: it became INVALID, with the server's reason, or it vanished.
        DeadlinePassed: it is still being created after a minute.
    """
    began_s = pace.now_s()
    while True:
        found = look()
        if found is None:
            raise CommandFault(
                f"{what} vanished while it was being created", hint="create it again"
            )
        status = found.get("status")
        if status == "INVALID":
            raise CommandFault(
                f"{what} is INVALID: {found.get('statusReason') or 'no reason given'}",
                hint="correct the request and create it again",
            )
        if status not in _UNSETTLED:
            return found
        if pace.now_s() - began_s > _DEADLINE_S:
            raise DeadlinePassed(
                f"{what} is still {status} after {_DEADLINE_S:.0f} s",
                hint="look again later; the request itself was accepted",
            )
        pace.pause(_PAUSE_S)

"""What the control layer is given from outside: time, and places where a test may stop it."""

from collections.abc import Callable, Sequence
from typing import Protocol

from batchyard.kernel.events import Event, Row

Clock = Callable[[], int]
"""Epoch milliseconds (UTC)."""

Change = tuple[Event, Row | None]
"""A committed event and its row after the whole decision."""

Listener = Callable[[Sequence[Change]], None]
"""Called on the event loop after each commit, in order of commit; must not block or raise."""


class Failpoint(Protocol):
    """Called at named places. Does nothing in a yard; in a fault test it kills the process."""

    def __call__(self, name: str, /) -> None: ...


def no_failpoint(name: str, /) -> None:
    """The failpoint of a yard that nobody wants to kill."""

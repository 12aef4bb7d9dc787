"""What the nouns are given from outside: one door for writes, one for reads, ids and order."""

from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

import msgspec

from batchyard.kernel.commands import Command
from batchyard.kernel.ids import Realm
from batchyard.store.port import Reader

T = TypeVar("T")

Params = dict[str, Any]
"""Members of a request or an answer, spelled as in the service's model."""

Handler = Callable[[object, Params], Awaitable[Params]]
"""(request context, request) -> answer. The nouns do not look at the context."""

Handlers = dict[tuple[str, str], Handler]
"""By (service, operation)."""


class Bus(Protocol):
    async def execute(self, command: Command) -> object:
        """The command's reply, once its facts are on disk.

        Raises:
            BatchyardError: nothing was written.
        """


class Queries(Protocol):
    async def read(self, fn: Callable[[Reader], T]) -> T:
        """Run `fn` on a snapshot that holds every write replied to before, off the event loop."""


class Yard(msgspec.Struct, frozen=True, kw_only=True):
    """Everything an operation may reach."""

    bus: Bus
    queries: Queries
    realm: Realm
    new_id: Callable[[], str]
    """A fresh UUID in text, for a job or a compute environment."""
    next_seq: Callable[[], int]
    """Grows with every call: the order in which jobs were submitted."""


async def reply_of(yard: Yard, command: Command) -> Params:
    """Execute a command whose reply is the answer; no reply is the empty answer."""
    reply = await yard.bus.execute(command)
    return reply if isinstance(reply, dict) else {}

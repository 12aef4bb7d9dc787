"""A yard in memory for tests of the nouns: `MemoryView`, and `do` to judge a command."""

from batchyard.kernel.commands import Command
from batchyard.kernel.decide import decide
from batchyard.kernel.decision import Decision
from batchyard.kernel.document import Members
from batchyard.kernel.effects import FollowUp
from batchyard.kernel.ids import Realm
from batchyard.testing.memory_view import MemoryView

NOW_MS = 1_700_000_000_000


class World(MemoryView):
    """Every decision is folded in at once; follow-ups are judged by `settle`."""

    def __init__(self) -> None:
        super().__init__(Realm())
        self.last: Decision = Decision()
        self.now_ms = NOW_MS
        self.seq = 0

    def do(self, command: Command) -> Members:
        """Judge and fold one command; the reply."""
        self.last = decide(command, self, self.now_ms)
        self.keep(self.last)
        reply = self.last.reply
        return reply if isinstance(reply, dict) else {}

    def settle(self) -> None:
        """Judge the settling steps that the last decision asked for, and what they lead to."""
        for effect in self.last.effects:
            if isinstance(effect, FollowUp):
                self.do(effect.command)
                self.settle()

    def follow_ups(self) -> list[Command]:
        return [e.command for e in self.last.effects if isinstance(e, FollowUp)]

"""The nouns on a real store in memory, without a scheduler: a test plays the executor."""

import asyncio
from collections.abc import Callable
from itertools import count
from typing import Any

from batchyard.api import Yard, batch_handlers
from batchyard.kernel.commands import Command, PlaceAttempt, ReportEnded, ReportStarted
from batchyard.kernel.decide import decide
from batchyard.kernel.decision import Decision
from batchyard.kernel.effects import FollowUp
from batchyard.kernel.ids import Realm
from batchyard.store.port import Transaction
from batchyard.store.sqlite import SqliteStore, open_memory_store
from batchyard.wire.check import response_problems
from batchyard.wire.model import Models

ARN = "arn:aws:batch:us-east-1:000000000000:"
NOW_MS = 1_700_000_000_000


class ServedYard:
    """Calls operations as the gateway would; every answer is checked against the model."""

    def __init__(self, models: Models) -> None:
        self.now_ms = NOW_MS
        self.settling = True
        self._runner = asyncio.Runner()
        self._model = models.service("batch")
        self._store: SqliteStore = open_memory_store(clock=lambda: self.now_ms)
        ids = count(1)
        self._handlers = batch_handlers(
            Yard(
                bus=self,
                queries=self._store,
                realm=Realm(),
                new_id=lambda: f"00000000-0000-4000-8000-{next(ids):012d}",
                next_seq=count(1).__next__,
            )
        )

    def call(self, operation: str, **params: Any) -> dict[str, Any]:
        answer = self._runner.run(self._call(operation, params))
        shape = self._model.operations[operation].output_shape
        problems = response_problems(shape, answer, allow_unknown=True)
        assert problems == [], f"{operation} answered {answer}"
        return answer

    def do(self, command: Command) -> object:
        """Judge a command the way executors and loops have theirs judged."""
        return self._runner.run(self.execute(command))

    async def execute(self, command: Command) -> object:
        decision = await self._store.write(self._judge(command))
        if self.settling:
            for effect in decision.effects:
                if isinstance(effect, FollowUp):
                    await self.execute(effect.command)
        return decision.reply

    def close(self) -> None:
        self._runner.run(self._store.close())
        self._runner.close()

    def _judge(self, command: Command) -> Callable[[Transaction], Decision]:
        def judge(tx: Transaction) -> Decision:
            decision = decide(command, tx, self.now_ms)
            tx.record(decision)
            return decision

        return judge

    async def _call(self, operation: str, params: dict[str, Any]) -> dict[str, Any]:
        return await self._handlers["batch", operation](None, params)


def submit(yard: ServedYard, **members: Any) -> str:
    request = {"jobName": "j", "jobQueue": "q", "jobDefinition": "d", **members}
    return str(yard.call("SubmitJob", **request)["jobId"])


def place(yard: ServedYard, job_id: str, attempt: int = 1) -> None:
    placed = PlaceAttempt(
        job_id=job_id, attempt=attempt, compute_environment="ce", instance_id="i-1"
    )
    assert yard.do(placed) is True


def start(yard: ServedYard, job_id: str, attempt: int = 1, *notes: str) -> None:
    yard.do(ReportStarted(job_id=job_id, attempt=attempt, at_ms=NOW_MS + 10, notes=notes))


def finish(yard: ServedYard, job_id: str, code: int, attempt: int = 1) -> None:
    yard.do(
        ReportEnded(
            job_id=job_id,
            attempt=attempt,
            at_ms=NOW_MS + 20,
            started_at_ms=NOW_MS + 10,
            exit_code=code,
        )
    )

"""The one door for writes: command in, one transaction, reply out.

Rows, events and effects are on disk before `execute` returns and before any effect is dispatched.
After the commit the listeners hear of the events, in order, and the dispatcher of the effects.
"""

import asyncio
from collections.abc import Callable, Sequence

import msgspec
import structlog

from batchyard.control.port import Change, Clock, Failpoint, Listener, no_failpoint
from batchyard.kernel.commands import Command
from batchyard.kernel.decide import decide
from batchyard.kernel.decision import Decision
from batchyard.kernel.effects import Effect, StartAttempt
from batchyard.kernel.events import AttemptStarted
from batchyard.kernel.faults import BatchyardError, InvariantBroken
from batchyard.kernel.job import Job, JobSpec
from batchyard.kernel.view import View
from batchyard.store.port import Store, Transaction

log = structlog.get_logger(__name__)

# What a defect in the kernel looks like. It spoils its own command and not the others of a batch;
# what the store raises is not among them, for then all of them are undone.
_DEFECTS = (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError)


class Due(msgspec.Struct, frozen=True, kw_only=True):
    """An effect to dispatch; for a start also what it needs, read in the same transaction.

    `outbox_id` is None for one that is done again although the outbox holds it no more.
    """

    outbox_id: int | None
    effect: Effect
    start: "Start | None" = None


class Start(msgspec.Struct, frozen=True, kw_only=True):
    """What a driver's spec is made of. `array_size` is set for a child of an array."""

    job: Job
    spec: JobSpec
    array_size: int | None = None


class _Done(msgspec.Struct, frozen=True, kw_only=True):
    decision: Decision
    due: tuple[Due, ...]
    timeouts: tuple[tuple[str, int, int], ...]


Dispatch = Callable[[Sequence[Due]], None]
Deadline = Callable[[str, int, int], None]
"""`(job_id, attempt, deadline_ms)` of an attempt that has just started."""


class Bus:
    """Executes commands. One per yard; safe to call from any coroutine of the event loop."""

    def __init__(self, store: Store, *, clock: Clock, failpoint: Failpoint = no_failpoint) -> None:
        self._store = store
        self._clock = clock
        self._failpoint = failpoint
        self._listeners: list[Listener] = []
        self._dispatch: Dispatch = lambda due: None
        self._deadline: Deadline = lambda job_id, attempt, deadline_ms: None
        self._acknowledged: list[int] = []
        self._under_way: set[asyncio.Task[list[object]]] = set()

    def listen(self, listener: Listener) -> None:
        self._listeners.append(listener)

    def connect(self, *, dispatch: Dispatch, deadline: Deadline) -> None:
        """Tell where effects and attempt deadlines go."""
        self._dispatch = dispatch
        self._deadline = deadline

    async def execute(self, command: Command) -> object:
        """Judge, record, reply. The reply's facts are on disk.

        A caller that goes away does not undo the command: it is finished all the same.

        Raises:
            ClientFault: the kernel refused; nothing was written.
            StoreUnavailable: nothing was written.
        """
        outcome = (await self.execute_all((command,)))[0]
        if isinstance(outcome, BatchyardError):
            raise outcome
        return outcome

    async def execute_all(self, commands: Sequence[Command]) -> list[object]:
        """Execute commands in one transaction; each answer is a reply or the fault it met."""
        task = asyncio.ensure_future(self._run(commands))
        self._under_way.add(task)
        task.add_done_callback(self._over)
        return await asyncio.shield(task)

    def acknowledge(self, outbox_id: int) -> None:
        """An effect is done. Written along with the next transaction, or by `flush`."""
        self._acknowledged.append(outbox_id)

    async def flush(self) -> None:
        """Write acknowledgements that no transaction has taken along."""
        if self._acknowledged:
            await self.execute_all(())

    async def drain(self) -> None:
        """Wait for commands under way, then flush: for an orderly stop."""
        while self._under_way:
            await asyncio.wait(self._under_way)
        await self.flush()

    def _over(self, task: "asyncio.Task[list[object]]") -> None:
        self._under_way.discard(task)
        if not task.cancelled():
            # Whoever asked may have gone away: then nobody else takes the fault.
            task.exception()

    async def _run(self, commands: Sequence[Command]) -> list[object]:
        self._failpoint("bus.before_write")
        acknowledged, self._acknowledged = self._acknowledged, []
        try:
            outcomes = await self._store.write(
                lambda tx: self._judge_all(tx, commands, acknowledged)
            )
        except BaseException:
            # The effects are done, whatever became of this transaction.
            self._acknowledged.extend(acknowledged)
            raise
        answers: list[object] = []
        for outcome in outcomes:
            if isinstance(outcome, BatchyardError):
                answers.append(outcome)
                continue
            self._publish(outcome)
            answers.append(outcome.decision.reply)
        return answers

    def _judge_all(
        self, tx: Transaction, commands: Sequence[Command], acknowledged: Sequence[int]
    ) -> list[_Done | BatchyardError]:
        """In the writer thread. `decide` is pure, so a refused command has written nothing."""
        if acknowledged:
            tx.acknowledge(acknowledged)
        outcomes: list[_Done | BatchyardError] = []
        for command in commands:
            try:
                decision = decide(command, tx, self._clock())
            except BatchyardError as fault:
                outcomes.append(fault)
                continue
            except _DEFECTS as defect:
                log.exception("command.defect", command=repr(command))
                outcomes.append(_broken(command, defect))
                continue
            ids = tx.record(decision) if decision.events or decision.effects else ()
            due = tuple(
                _due(tx, outbox_id, effect)
                for outbox_id, effect in zip(ids, decision.effects, strict=True)
            )
            outcomes.append(_Done(decision=decision, due=due, timeouts=_timeouts(tx, decision)))
        return outcomes

    def _publish(self, done: _Done) -> None:
        decision = done.decision
        if decision.events:
            changes: list[Change] = [(e, decision.rows.get(e.key)) for e in decision.events]
            for listener in self._listeners:
                listener(changes)
        for job_id, attempt, deadline_ms in done.timeouts:
            self._deadline(job_id, attempt, deadline_ms)
        if done.due:
            self._dispatch(done.due)


def _broken(command: Command, defect: Exception) -> InvariantBroken:
    fault = InvariantBroken(
        f"{type(command).__name__} could not be judged: {type(defect).__name__}",
        hint="Nothing was changed. This is a defect of Batchyard; its log holds the details.",
    )
    fault.__cause__ = defect
    return fault


def _due(tx: Transaction, outbox_id: int, effect: Effect) -> Due:
    if not isinstance(effect, StartAttempt):
        return Due(outbox_id=outbox_id, effect=effect)
    return Due(outbox_id=outbox_id, effect=effect, start=start_of(tx, effect.job_id))


def start_of(view: View, job_id: str) -> Start | None:
    """What is needed to start a job's live attempt; None when the job is gone."""
    job = view.job(job_id)
    if job is None:
        return None
    parent = view.job(job.root_id) if job.kind == "child" else None
    size = parent.array.size if parent is not None and parent.array is not None else None
    return Start(job=job, spec=view.spec(job.root_id), array_size=size)


def _timeouts(tx: Transaction, decision: Decision) -> tuple[tuple[str, int, int], ...]:
    found = []
    for event in decision.events:
        if isinstance(event, AttemptStarted):
            job = decision.rows.get(event.key)
            if isinstance(job, Job) and job.current is not None:
                timeout_s = tx.spec(job.root_id).timeout_s
                if timeout_s is not None:
                    deadline_ms = event.at_ms + timeout_s * 1000
                    found.append((job.job_id, job.current.number, deadline_ms))
    return tuple(found)

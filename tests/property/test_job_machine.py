"""Random histories of jobs, arrays and dependencies; the laws hold after every step.

Follow-ups run at any time, in any order and more than once, as an outbox delivers them; reports may
be late, repeated or about an attempt that is over. At the end everything must come to an end.
"""

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from msgspec.structs import replace

from batchyard.kernel import commands as cmd
from batchyard.kernel import events as ev
from batchyard.kernel.evolve import evolve
from batchyard.kernel.ids import child_id
from batchyard.kernel.invariants import check
from batchyard.kernel.job import Job
from batchyard.kernel.states import TERMINAL
from batchyard.testing.world import INSTANCE, SEQUENTIAL, Need, World, n_to_n

QUEUES = ("q0", "q1")
# 70 children that fail together are kept as ranges, not as rows.
SIZES = (None, None, 2, 3, 3, 3, 4, 70)
NUMBER = st.integers(0, 9999)
"""Picks one of however many there are, by its remainder: cheaper to draw than from a list."""


class JobMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        for name in QUEUES:
            self.world.queue(name)
        self.world.definition()
        self.roots: list[tuple[str, int | None]] = []
        self.reported: list[cmd.Command] = []
        self.folded: dict[ev.Key, ev.Row | None] = {}
        self.seen = 0
        self.ended: dict[str, Job] = {}

    # --- what can happen ---------------------------------------------------------------------

    @initialize(
        jobs=st.lists(st.tuples(NUMBER, NUMBER, NUMBER, NUMBER, NUMBER), min_size=2, max_size=5)
    )
    def begin(self, jobs: list[tuple[int, int, int, int, int]]) -> None:
        for job in jobs:
            self._submit(*job)

    @rule(size=NUMBER, attempts=NUMBER, plain=NUMBER, child=NUMBER, gate=NUMBER)
    def submit(self, size: int, attempts: int, plain: int, child: int, gate: int) -> None:
        self._submit(size, attempts, plain, child, gate)

    def _submit(self, size: int, attempts: int, plain: int, child: int, gate: int) -> None:
        rows = [self.world.view.queue(name) for name in QUEUES]
        taking = [q.name for q in rows if q is not None and q.state == "ENABLED"]
        if not taking:
            return
        children = SIZES[size % len(SIZES)]
        needs: list[Need] = []
        if self.roots and plain % 2:
            needs.append(Need(job_id=self.roots[plain // 2 % len(self.roots)][0]))
        if child % 4 == 0:
            needs.extend(self._child_need(child // 4))
        if children is not None:
            same = [root for root, n in self.roots if n == children]
            needs.extend(n_to_n(same[gate // 4 % len(same)]) for _ in same[: gate % 2])
            if gate % 4 >= 2:
                needs.append(SEQUENTIAL)
        job_id = self.world.submit(
            queue=taking[attempts % len(taking)],
            array=children,
            depends_on=needs,
            attempts=1 + attempts % 3,
        )
        self.roots.append((job_id, children))

    def _child_need(self, number: int) -> list[Need]:
        arrays = [(root, n) for root, n in self.roots if n is not None]
        if not arrays:
            return []
        root, size = arrays[number % len(arrays)]
        return [Need(job_id=child_id(root, number % size))]

    @rule(numbers=st.lists(NUMBER, min_size=1, max_size=6))
    @precondition(lambda self: self.world.runnable_ids())
    def place(self, numbers: list[int]) -> None:
        for number in numbers:
            ids = self.world.runnable_ids()
            if not ids:
                return
            job_id = ids[number % len(ids)]
            row = self.world.view.job(job_id)
            self._report(
                cmd.PlaceAttempt(
                    job_id=job_id,
                    attempt=1 if row is None else row.next_attempt,
                    compute_environment="environment",
                    instance_id=INSTANCE,
                )
            )

    @rule(numbers=st.lists(st.tuples(NUMBER, NUMBER), min_size=1, max_size=6))
    @precondition(lambda self: self.world.live_ids())
    def report(self, numbers: list[tuple[int, int]]) -> None:
        for which, what in numbers:
            ids = self.world.live_ids()
            if not ids:
                return
            job_id = ids[which % len(ids)]
            current = self.world.job(job_id).current
            assert current is not None
            self._report(self._some_report(job_id, current.number, what))

    def _some_report(self, job_id: str, n: int, what: int) -> cmd.Command:
        now = self.world.now_ms
        match what % 10:
            case 0:
                return cmd.ReportStarted(job_id=job_id, attempt=n, at_ms=now)
            case 1:
                return cmd.ReportLost(job_id=job_id, attempt=n, at_ms=now)
            case 2:
                return cmd.ReportStartFailed(job_id=job_id, attempt=n, at_ms=now, reason="Cannot")
            case 3:
                return cmd.TimeOutAttempt(job_id=job_id, attempt=n)
            case case:
                code = 0 if case < 8 else 1
                return cmd.ReportEnded(
                    job_id=job_id, attempt=n, at_ms=now, started_at_ms=now, exit_code=code
                )

    @rule(number=NUMBER)
    @precondition(lambda self: self.reported)
    def repeat(self, number: int) -> None:
        """A report comes again; one about an attempt that is over changes nothing."""
        command = self.reported[number % len(self.reported)]
        over = self._is_over(command)
        self.world.do(command)
        if over:
            assert self.world.last.events == ()
            assert self.world.last.effects == ()
            assert self.world.last.reply is False

    def _is_over(self, command: cmd.Command) -> bool:
        assert not isinstance(command, cmd.SubmitJob | cmd.StopQueue)
        job_id, attempt = getattr(command, "job_id"), getattr(command, "attempt")  # noqa: B009
        row = self.world.view.job(job_id)
        if isinstance(command, cmd.PlaceAttempt):
            return row is not None and (row.current is not None or row.next_attempt > attempt)
        return row is None or row.current is None or row.current.number != attempt

    @rule(which=NUMBER, child=NUMBER, terminate=st.booleans())
    @precondition(lambda self: self.roots)
    def stop(self, which: int, child: int, terminate: bool) -> None:
        job_id, size = self.roots[which % len(self.roots)]
        if size is not None and child % 2:
            # One index past the end is a child that does not exist.
            job_id = child_id(job_id, child // 2 % (size + 1))
        (self.world.terminate if terminate else self.world.cancel)(job_id)

    @rule(numbers=st.lists(NUMBER, min_size=1, max_size=4))
    @precondition(lambda self: self.world.follow_ups)
    def follow_up(self, numbers: list[int]) -> None:
        """Any follow-up, at any time; some stay, to be delivered once more."""
        for number in numbers:
            if not self.world.follow_ups:
                return
            index = number // 4 % len(self.world.follow_ups)
            command = self.world.follow_ups[index]
            if number % 4:
                del self.world.follow_ups[index]
            self.world.do(command)

    @rule()
    @precondition(lambda self: self.world.follow_ups)
    def settle(self) -> None:
        self.world.settle()
        self._check(at_rest=True)

    @rule(name=st.sampled_from(QUEUES))
    @precondition(lambda self: len(self.roots) > 3)
    def delete_queue(self, name: str) -> None:
        queue = self.world.view.queue(name)
        if queue is None:
            self.world.queue(name)
        elif queue.status == "VALID":
            self.world.delete_queue(name)

    def _report(self, command: cmd.Command) -> None:
        self.world.do(command)
        self.reported.append(command)

    # --- what must hold ----------------------------------------------------------------------

    @invariant()
    def the_laws_hold(self) -> None:
        self._check(at_rest=not self.world.follow_ups)

    @invariant()
    def rows_are_the_fold_of_their_events(self) -> None:
        for event in self.world.events[self.seen :]:
            self.folded[event.key] = evolve(self.folded.get(event.key), event)
        self.seen = len(self.world.events)
        assert {k: r for k, r in self.folded.items() if r is not None} == self.world.view.rows

    @invariant()
    def an_ended_job_never_changes(self) -> None:
        for job_id, job in self.world.view.jobs().items():
            untagged = replace(job, tags={})
            assert self.ended.get(job_id, untagged) == untagged
            if job.status in TERMINAL:
                self.ended[job_id] = untagged

    def _check(self, *, at_rest: bool) -> None:
        breaches = check(self.world.view.jobs(), self.world.view.specs, at_rest=at_rest)
        assert not breaches, "\n".join(breaches)

    def teardown(self) -> None:
        """Nothing hangs for ever: once all that can end has ended, every job has."""
        self.world.drain()
        self._check(at_rest=True)
        assert [j for j in self.world.view.jobs().values() if j.status not in TERMINAL] == []


def test_jobs_arrays_and_dependencies_obey_their_laws_in_any_history() -> None:
    run_state_machine_as_test(
        JobMachine,
        settings=settings(
            max_examples=200,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )

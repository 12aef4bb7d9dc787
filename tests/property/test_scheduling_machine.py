"""Random histories under real passes: nothing is over-committed and the live index stays true.

Between the plan of a pass and its commit anything may happen, as it does in a yard.
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

from batchyard.kernel import commands as cmd
from batchyard.kernel.ids import child_id
from batchyard.kernel.invariants import check
from batchyard.kernel.states import LIVE, TERMINAL
from batchyard.scheduler.plan import Plan, plan
from batchyard.testing.world import SEQUENTIAL, Need
from unit.scheduler.scheduling_world import EVERYTHING, SchedulingWorld, comparable, machine

NUMBER = st.integers(0, 9999)
MACHINES = (machine("i-1", vcpus=4, memory_mib=600, gpus=2), machine("i-2", vcpus=3))
LIMIT_VCPUS = 2


class SchedulingMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.world = SchedulingWorld(*MACHINES)
        self.world.environment("open")
        self.world.environment("limited", max_vcpus=LIMIT_VCPUS)
        self.world.queue("high", priority=9, environments=["limited", "open"])
        self.world.queue("low", priority=1, environments=["open"])
        self.world.queue("equal", priority=1, environments=["open", "limited"])
        self.world.definition("small")
        self.world.definition("large", vcpus=3, memory_mib=300)
        self.world.definition("gpu", gpus=1)
        self.world.definition("giant", vcpus=64)
        self.jobs: list[tuple[str, int | None]] = []
        self.planned: Plan | None = None

    @initialize(numbers=st.lists(NUMBER, min_size=2, max_size=6))
    def begin(self, numbers: list[int]) -> None:
        for number in numbers:
            self.submit(number)

    @rule(number=NUMBER)
    def submit(self, number: int) -> None:
        queue = ("high", "low", "equal")[number % 3]
        definition = ("small", "small", "small", "large", "large", "gpu", "giant")[number // 3 % 7]
        size = (None, None, 2, 5)[number // 21 % 4]
        needs: list[Need | str] = []
        if self.jobs and number // 84 % 3 == 0:
            needs.append(self.jobs[number // 252 % len(self.jobs)][0])
        if size is not None and number // 84 % 3 == 1:
            needs.append(SEQUENTIAL)
        job_id = self.world.submit(
            queue=queue, definition=definition, array=size, depends_on=needs, attempts=2
        )
        self.jobs.append((job_id, size))

    @rule(window=st.sampled_from((1, 2, EVERYTHING)))
    @precondition(lambda self: self.planned is None)
    def plan_and_reserve(self, window: int) -> None:
        snapshot = self.world.index.snapshot(window=window)
        self.planned = plan(snapshot)
        assert plan(snapshot) == self.planned
        self.world.reserve(self.planned)

    @rule()
    @precondition(lambda self: self.planned is not None)
    def commit(self) -> None:
        assert self.planned is not None
        self.world.commit(self.planned)
        self.planned = None

    @rule(numbers=st.lists(NUMBER, min_size=1, max_size=4))
    @precondition(lambda self: self.world.live_ids())
    def end(self, numbers: list[int]) -> None:
        for number in numbers:
            ids = self.world.live_ids()
            if ids:
                job_id = ids[number // 3 % len(ids)]
                if number % 3 == 2:
                    self.world.lose(job_id)
                else:
                    self.world.end(job_id, exit_code=number % 3)

    @rule(number=NUMBER)
    @precondition(lambda self: self.jobs)
    def stop(self, number: int) -> None:
        job_id, size = self.jobs[number // 8 % len(self.jobs)]
        if size is not None and number % 4 < 2:
            job_id = child_id(job_id, number // 8 % size)
        (self.world.terminate if number % 2 else self.world.cancel)(job_id)

    @rule()
    @precondition(lambda self: self.world.follow_ups)
    def settle(self) -> None:
        self.world.settle()

    @rule(enabled=st.booleans(), name=st.sampled_from(("open", "limited")))
    def switch_environment(self, enabled: bool, name: str) -> None:
        state = "ENABLED" if enabled else "DISABLED"
        request = {"computeEnvironment": name, "state": state}
        self.world.do(cmd.UpdateComputeEnvironment(request=dict(request)))
        self.world.settle()

    # --- what must hold ----------------------------------------------------------------------

    @invariant()
    def nothing_is_over_committed(self) -> None:
        snapshot = self.world.index.snapshot(window=1)
        for use in snapshot.instances.values():
            assert min(use.free.vcpu_milli, use.free.memory_mib, use.free.gpus) >= 0, use
            assert len(use.free_gpu_ids) == use.free.gpus
        limited = snapshot.environments["limited"]
        assert limited.used_vcpu_milli <= LIMIT_VCPUS * 1000
        given: list[str] = []
        for job in self.world.view.jobs().values():
            if job.current is not None:
                given.extend(job.current.gpu_ids)
                assert len(job.current.gpu_ids) == job.shape.gpus
        assert len(given) == len(set(given))

    @invariant()
    def the_index_is_what_the_rows_say(self) -> None:
        """Compared with no reservation pending, which rows know nothing of."""
        if self.planned is None or not self.planned.placements:
            kept = self.world.index.snapshot(window=EVERYTHING)
            anew = self.world.rebuilt().snapshot(window=EVERYTHING)
            assert comparable(kept) == comparable(anew)

    @invariant()
    def heads_are_in_order(self) -> None:
        for line in self.world.index.snapshot(window=EVERYTHING).lines:
            orders = [head.order for head in line.heads]
            assert orders == sorted(set(orders))
            some = self.world.index.line(line.queue).heads(2)
            assert some == line.heads[:2]
            ahead = [self.world.index.line(line.queue).ahead_of(order) for order in orders]
            assert ahead == list(range(len(orders)))

    @invariant()
    def a_pass_is_lawful(self) -> None:
        snapshot = self.world.index.snapshot(window=EVERYTHING)
        planned = plan(snapshot)
        placed = {p.job_id for p in planned.placements}
        refused = {r.queue: r.job_id for r in planned.refusals}
        for line in snapshot.lines:
            flags = [head.job_id in placed for head in line.heads]
            # First in, first out: whoever is placed stands in front of whoever is not.
            assert flags == sorted(flags, reverse=True)
            if False in flags:
                assert refused[line.queue] == line.heads[flags.index(False)].job_id
            else:
                assert line.queue not in refused
        assert not planned.unfinished

    @invariant()
    def a_narrow_window_changes_when_and_not_what(self) -> None:
        whole = plan(self.world.index.snapshot(window=EVERYTHING))
        for window in (1, 3):
            part = plan(self.world.index.snapshot(window=window))
            assert part.placements == whole.placements[: len(part.placements)]
            if not part.unfinished:
                assert part == whole

    @invariant()
    def the_laws_hold(self) -> None:
        assert check(self.world.view.jobs(), self.world.view.specs) == []

    def teardown(self) -> None:
        """With environments that work, all but the giants get their turn."""
        for name in ("open", "limited"):
            self.switch_environment(True, name)
        if self.planned is not None:
            self.commit()
        for job in list(self.world.view.jobs().values()):
            if job.shape.vcpu_milli == 64_000:
                self.world.terminate(job.job_id)
        self.world.settle()
        while self.world.run_pass() or self.world.live_ids():
            for job_id in self.world.live_ids():
                self.world.end(job_id)
            self.world.settle()
        rows = self.world.view.jobs().values()
        assert not [row for row in rows if row.status in LIVE]
        assert not [row for row in rows if row.status not in TERMINAL]


def test_passes_never_over_commit_and_the_index_stays_true() -> None:
    run_state_machine_as_test(
        SchedulingMachine,
        settings=settings(
            max_examples=100,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )

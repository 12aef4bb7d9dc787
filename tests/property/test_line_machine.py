"""A waiting line against a plain list that is sorted anew each time."""

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from batchyard.kernel import ranges as rg
from batchyard.kernel.resources import Shape
from batchyard.scheduler.line import FRESH, RETRY, Waiting, WaitingLine

SHAPE = Shape(vcpu_milli=1000, memory_mib=128)
SEQ = st.integers(0, 200)


class LineMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.line = WaitingLine()
        self.model: dict[str, Waiting] = {}

    def _put(self, job_id: str, waiting: Waiting) -> None:
        self.line.put(job_id, waiting)
        self.model[job_id] = waiting

    @rule(seqs=st.lists(SEQ, max_size=90), retry=st.booleans())
    def put_jobs(self, seqs: list[int], retry: bool) -> None:
        """More at a time than the front keeps."""
        for seq in seqs:
            rank = RETRY if retry else FRESH
            self._put(f"j{seq}", Waiting(shape=SHAPE, seq=seq, rank=rank, attempt=2 - rank))

    @rule(seq=SEQ, children=st.frozensets(st.integers(0, 6), min_size=1))
    def put_array(self, seq: int, children: frozenset[int]) -> None:
        self._put(f"a{seq}", Waiting(shape=SHAPE, seq=1000 + seq, ready=rg.of(children)))

    @rule(seqs=st.lists(SEQ, max_size=90), kind=st.sampled_from("ja"))
    def remove(self, seqs: list[int], kind: str) -> None:
        for seq in seqs:
            self.line.remove(f"{kind}{seq}")
            self.model.pop(f"{kind}{seq}", None)

    @rule(limit=st.integers(1, 100))
    def look(self, limit: int) -> None:
        assert [(h.order, h.job_id) for h in self.line.heads(limit)] == self._expected()[:limit]

    @invariant()
    def the_first_are_the_first(self) -> None:
        assert len(self.line) == len(self.model)
        self.look(5)

    @invariant()
    def dead_entries_do_not_pile_up(self) -> None:
        assert self.line.entries <= 5 * len(self.model) + 129

    def _expected(self) -> list[tuple[tuple[int, int, int], str]]:
        out = []
        for job_id, w in self.model.items():
            if w.ready is None:
                out.append(((w.rank, w.seq, w.index), job_id))
            else:
                out += [((w.rank, w.seq, i), f"{job_id}:{i}") for i in rg.indexes(w.ready)]
        return sorted(out)

    def teardown(self) -> None:
        self.look(10_000)


def test_a_line_is_always_in_order() -> None:
    run_state_machine_as_test(
        LineMachine,
        settings=settings(
            max_examples=100,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )

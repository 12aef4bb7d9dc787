"""One pass over a snapshot made by hand: order, capacity, the first that cannot be placed."""

from typing import Any

import pytest
from msgspec.structs import replace

from batchyard.kernel.resources import Shape
from batchyard.scheduler.plan import Placement, Plan, plan
from batchyard.scheduler.snapshot import Environment, Head, InstanceUse, Line, Snapshot
from unit.scheduler.scheduling_world import machine


def shape(vcpus: float = 1, memory_mib: int = 100, gpus: int = 0) -> Shape:
    return Shape(vcpu_milli=int(vcpus * 1000), memory_mib=memory_mib, gpus=gpus)


def head(job_id: str, seq: int, *, rank: int = 1, asks: Shape | None = None) -> Head:
    return Head(job_id=job_id, attempt=1, shape=asks or shape(), order=(rank, seq, 0))


def line(
    queue: str,
    *heads: Head,
    priority: int = 1,
    environments: Any = ("ce",),
    more: bool = False,
) -> Line:
    return Line(
        queue=queue,
        priority=priority,
        compute_environments=tuple(environments),
        heads=heads,
        more=more,
    )


def environment(name: str = "ce", **members: Any) -> Environment:
    base = Environment(
        name=name,
        usable=True,
        trouble="",
        instance_ids=("i-1",),
        max_vcpu_milli=None,
        used_vcpu_milli=0,
    )
    return replace(base, **members)


def use(name: str = "i-1", *, vcpus: int = 4, memory_mib: int = 4096, gpus: int = 0) -> InstanceUse:
    instance = machine(name, vcpus=vcpus, memory_mib=memory_mib, gpus=gpus)
    return InstanceUse(instance=instance, free=instance.total, free_gpu_ids=instance.gpu_ids)


def snapshot(
    *lines: Line,
    environments: tuple[Environment, ...] = (environment(),),
    uses: tuple[InstanceUse, ...] = (use(),),
) -> Snapshot:
    return Snapshot(
        lines=lines,
        environments={e.name: e for e in environments},
        instances={u.instance.instance_id: u for u in uses},
    )


def placed(planned: Plan) -> list[str]:
    return [p.job_id for p in planned.placements]


def refused(planned: Plan) -> list[str]:
    return [r.job_id for r in planned.refusals]


def test_nothing_waits_nothing_is_planned() -> None:
    assert plan(snapshot()) == Plan(placements=(), refusals=())


def test_a_placement_says_all_a_commit_needs() -> None:
    asks = shape(2, 300, gpus=1)
    planned = plan(snapshot(line("q", head("j", 1, asks=asks)), uses=(use(gpus=2),)))
    assert planned.placements == (
        Placement(
            queue="q",
            job_id="j",
            attempt=1,
            shape=asks,
            compute_environment="ce",
            instance_id="i-1",
            gpu_ids=("i-1-gpu0",),
        ),
    )
    assert planned.refusals == ()


def test_first_in_first_out_until_nothing_fits() -> None:
    planned = plan(snapshot(line("q", *(head(f"j{n}", n) for n in range(6)))))
    assert placed(planned) == ["j0", "j1", "j2", "j3"]
    assert refused(planned) == ["j4"]


def test_a_head_that_does_not_fit_holds_back_those_behind_it() -> None:
    big = head("big", 1, asks=shape(8))
    planned = plan(snapshot(line("q", head("a", 0), big, head("b", 2))))
    assert placed(planned) == ["a"]
    assert refused(planned) == ["big"]


def test_other_queues_go_on_past_a_blocked_one() -> None:
    big = line("q", head("big", 1, asks=shape(8)), priority=9)
    planned = plan(snapshot(big, line("r", head("b", 2), priority=1)))
    assert placed(planned) == ["b"]
    assert refused(planned) == ["big"]
    assert planned.refusals[0].queue == "q"


def test_the_queue_of_higher_priority_takes_first() -> None:
    low = line("low", *(head(f"l{n}", n) for n in range(4)), priority=1)
    high = line("high", *(head(f"h{n}", n + 10) for n in range(3)), priority=2)
    for lines in ((low, high), (high, low)):
        planned = plan(snapshot(*lines))
        assert placed(planned) == ["h0", "h1", "h2", "l0"]
        assert refused(planned) == ["l1"]


def test_queues_of_one_priority_share_in_order_of_submission() -> None:
    one = line("one", head("a", 1), head("c", 3), head("e", 5))
    two = line("two", head("b", 2), head("d", 4), head("f", 6))
    for lines in ((one, two), (two, one)):
        planned = plan(snapshot(*lines))
        assert placed(planned) == ["a", "b", "c", "d"]
        assert refused(planned) == ["e", "f"]


def test_a_blocked_queue_does_not_block_its_equal() -> None:
    one = line("one", head("big", 1, asks=shape(9)), head("c", 3))
    planned = plan(snapshot(one, line("two", head("b", 2))))
    assert placed(planned) == ["b"]
    assert refused(planned) == ["big"]


def test_the_first_environment_that_can_take_the_job_does() -> None:
    names = ("off", "small", "unknown", "ce", "last")
    environments = (
        environment("off", usable=False, trouble="off is DISABLED"),
        environment("small", max_vcpu_milli=1000),
        environment("ce"),
        environment("last"),
    )
    planned = plan(
        snapshot(
            line("q", head("j", 1, asks=shape(2)), environments=names), environments=environments
        )
    )
    assert [p.compute_environment for p in planned.placements] == ["ce"]


def test_an_environment_at_its_limit_hands_over_to_the_next() -> None:
    environments = (environment("a", max_vcpu_milli=2000), environment("b"))
    heads = [head(f"j{n}", n) for n in range(5)]
    planned = plan(snapshot(line("q", *heads, environments=("a", "b")), environments=environments))
    assert [p.compute_environment for p in planned.placements] == ["a", "a", "b", "b"]


def test_what_an_environment_uses_already_counts() -> None:
    limited = environment(max_vcpu_milli=3000, used_vcpu_milli=2000)
    planned = plan(
        snapshot(line("q", *(head(f"j{n}", n) for n in range(3))), environments=(limited,))
    )
    assert placed(planned) == ["j0"]


def test_environments_on_one_machine_share_its_room() -> None:
    one = line("one", *(head(f"a{n}", n) for n in range(3)), environments=("a",))
    two = line("two", *(head(f"b{n}", n + 9) for n in range(3)), environments=("b",))
    planned = plan(snapshot(one, two, environments=(environment("a"), environment("b"))))
    assert placed(planned) == ["a0", "a1", "a2", "b0"]


@pytest.mark.parametrize(
    ("asks", "count"),
    [(shape(1, 100), 4), (shape(0.25, 2000), 2), (shape(0.25, 100, gpus=1), 2), (shape(2), 2)],
)
def test_every_resource_can_be_the_one_that_ends_it(asks: Shape, count: int) -> None:
    heads = [head(f"j{n}", n, asks=asks) for n in range(9)]
    planned = plan(snapshot(line("q", *heads), uses=(use(gpus=2),)))
    assert len(planned.placements) == count


def test_gpus_are_given_to_one_job_only() -> None:
    heads = [head(f"j{n}", n, asks=shape(1, 1, gpus=g)) for n, g in enumerate((2, 0, 1))]
    planned = plan(snapshot(line("q", *heads), uses=(use(gpus=4),)))
    assert [p.gpu_ids for p in planned.placements] == [
        ("i-1-gpu0", "i-1-gpu1"),
        (),
        ("i-1-gpu2",),
    ]


def test_the_first_instance_with_room_is_filled_first() -> None:
    both = environment(instance_ids=("i-1", "i-2", "i-unknown"))
    heads = [head(f"j{n}", n, asks=shape(3)) for n in range(3)]
    planned = plan(snapshot(line("q", *heads), environments=(both,), uses=(use("i-1"), use("i-2"))))
    assert [p.instance_id for p in planned.placements] == ["i-1", "i-2"]
    assert refused(planned) == ["j2"]


def test_every_head_that_is_not_placed_is_explained() -> None:
    planned = plan(snapshot(line("q", head("j", 1, asks=shape(16)))))
    (refusal,) = planned.refusals
    assert refusal.queue == "q"
    assert "16 vCPUs" in refusal.explanation.sentence
    assert "4 vCPUs" in refusal.explanation.sentence


def test_a_pass_ends_where_a_window_ran_out_while_there_was_room() -> None:
    high = line("high", head("h", 9), priority=2, more=True)
    low = line("low", head("l", 1), priority=1)
    planned = plan(snapshot(low, high))
    assert placed(planned) == ["h"]
    assert planned.unfinished
    equal = line("equal", head("e0", 1), head("e2", 10), priority=2)
    planned = plan(snapshot(equal, high))
    assert placed(planned) == ["e0", "h"]
    assert planned.unfinished


def test_a_window_that_was_long_enough_finishes_the_pass() -> None:
    full = line("q", *(head(f"j{n}", n) for n in range(5)), more=True)
    planned = plan(snapshot(full, line("r", head("r", 1), priority=0)))
    assert refused(planned) == ["j4", "r"]
    assert not planned.unfinished
    assert not plan(snapshot(line("q", head("j", 1)))).unfinished


def test_a_queue_without_environments_says_so() -> None:
    planned = plan(snapshot(line("q", head("j", 1), environments=())))
    assert planned.refusals[0].explanation.sentence == "Job queue q has no compute environment."


def test_a_plan_leaves_its_snapshot_as_it_was_and_comes_out_the_same_again() -> None:
    taken = snapshot(line("q", *(head(f"j{n}", n) for n in range(6))), uses=(use(gpus=1),))
    first = plan(taken)
    assert plan(taken) == first
    assert taken.instances["i-1"] == use(gpus=1)
    assert taken.environments["ce"] == environment()

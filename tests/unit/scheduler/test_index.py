"""The live index: follows events, reserves room until a commit, and reads as a snapshot."""

import pytest
from msgspec.structs import replace

from batchyard.kernel import commands as cmd
from batchyard.kernel import events as ev
from batchyard.kernel.ids import child_id
from batchyard.kernel.resources import Shape
from batchyard.scheduler.index import LiveIndex
from batchyard.scheduler.occupancy import Holding, Occupancy
from batchyard.scheduler.snapshot import Environment
from batchyard.testing.world import ENVIRONMENT, SEQUENTIAL
from unit.scheduler.scheduling_world import EVERYTHING, SchedulingWorld, comparable, machine


@pytest.fixture
def world() -> SchedulingWorld:
    world = SchedulingWorld(machine())
    world.queue()
    return world


def waiting(world: SchedulingWorld, queue: str = "q") -> list[str]:
    lines = world.index.snapshot(window=EVERYTHING).lines
    return [head.job_id for line in lines if line.queue == queue for head in line.heads]


def free(world: SchedulingWorld, instance: str = "i-1") -> Shape:
    return world.index.snapshot(window=1).instances[instance].free


def true_to_rows(world: SchedulingWorld) -> bool:
    now, anew = (comparable(i.snapshot(window=EVERYTHING)) for i in (world.index, world.rebuilt()))
    return now == anew


# --- following events -----------------------------------------------------------------------------


def test_a_job_stands_in_line_while_it_is_runnable(world: SchedulingWorld) -> None:
    first = world.submit()
    second = world.submit(depends_on=[first])
    assert waiting(world) == [first]
    world.place(first)
    assert waiting(world) == []
    world.end(first)
    world.settle()
    assert waiting(world) == [second]
    world.cancel(second)
    assert waiting(world) == []
    assert true_to_rows(world)


def test_a_live_job_holds_its_room_until_it_ends(world: SchedulingWorld) -> None:
    world.definition("d", vcpus=3, memory_mib=1000)
    job = world.submit(definition="d")
    world.place(job, instance="i-1")
    assert free(world) == Shape(vcpu_milli=1000, memory_mib=3096)
    assert world.index.environment(ENVIRONMENT).used_vcpu_milli == 3000
    world.end(job)
    assert free(world) == Shape(vcpu_milli=4000, memory_mib=4096)
    assert world.index.environment(ENVIRONMENT).used_vcpu_milli == 0


def test_a_retry_gives_its_room_back_and_stands_in_front(world: SchedulingWorld) -> None:
    job, other = world.submit(attempts=2), world.submit()
    world.execute(job, exit_code=1)
    assert waiting(world) == [job, other]
    (line,) = world.index.snapshot(window=1).lines
    assert line.heads[0].attempt == 2
    assert free(world).vcpu_milli == 4000


def test_children_stand_in_line_until_they_are_placed_or_dropped(world: SchedulingWorld) -> None:
    array = world.submit(array=5)
    after = world.submit()
    world.place(child_id(array, 0))
    world.cancel(child_id(array, 3))
    assert waiting(world) == [*(child_id(array, i) for i in (1, 2, 4)), after]
    assert true_to_rows(world)
    world.cancel(array)
    assert waiting(world) == [after]


def test_many_children_are_dropped_at_once(world: SchedulingWorld) -> None:
    array = world.submit(array=100)
    world.terminate(array)
    assert waiting(world) == []
    assert true_to_rows(world)


def test_children_of_a_sequence_join_one_by_one(world: SchedulingWorld) -> None:
    array = world.submit(array=3, depends_on=[SEQUENTIAL])
    assert waiting(world) == [child_id(array, 0)]
    world.execute(child_id(array, 0))
    assert waiting(world) == [child_id(array, 1)]


def test_a_retrying_child_stands_in_front_of_its_siblings(world: SchedulingWorld) -> None:
    array = world.submit(array=3, attempts=2)
    world.execute(child_id(array, 1), exit_code=1)
    assert waiting(world) == [child_id(array, i) for i in (1, 0, 2)]
    assert true_to_rows(world)


def test_every_queue_has_its_own_line(world: SchedulingWorld) -> None:
    world.queue("other", priority=7)
    mine, theirs = world.submit(), world.submit(queue="other")
    lines = {line.queue: line for line in world.index.snapshot(window=9).lines}
    assert [h.job_id for h in lines["q"].heads] == [mine]
    assert [h.job_id for h in lines["other"].heads] == [theirs]
    assert lines["other"].priority == 7
    assert lines["other"].compute_environments == (ENVIRONMENT,)


def test_an_empty_line_is_not_part_of_a_snapshot(world: SchedulingWorld) -> None:
    world.drain()
    assert world.index.snapshot(window=9).lines == ()
    job = world.submit()
    world.place(job)
    assert world.index.snapshot(window=9).lines == ()


def test_the_window_bounds_the_heads(world: SchedulingWorld) -> None:
    world.submit(array=10)
    for window, heads, more in ((3, 3, True), (9, 9, True), (10, 10, False), (11, 10, False)):
        (line,) = world.index.snapshot(window=window).lines
        assert (len(line.heads), line.more) == (heads, more)


def test_a_disabled_queue_still_serves_what_it_holds(world: SchedulingWorld) -> None:
    job = world.submit()
    world.do(cmd.UpdateJobQueue(request={"jobQueue": "q", "state": "DISABLED"}))
    world.settle()
    assert world.run_pass() == [job]


def test_a_queue_that_is_being_deleted_starts_nothing(world: SchedulingWorld) -> None:
    world.submit()
    world.delete_queue("q")
    assert world.index.snapshot(window=9).lines == ()
    world.settle()
    assert true_to_rows(world)


def test_a_removed_queue_and_environment_are_gone(world: SchedulingWorld) -> None:
    world.environment("extra")
    world.delete_queue("q")
    world.settle()
    assert world.index.fits(Shape(vcpu_milli=1, memory_mib=1), "q") == ()
    for request in ({"state": "DISABLED"}, None):
        if request is not None:
            update: dict[str, object] = {"computeEnvironment": "extra", **request}
            world.do(cmd.UpdateComputeEnvironment(request=update))
        else:
            world.do(cmd.DeleteComputeEnvironment(compute_environment="extra"))
        world.settle()
    assert list(world.index.snapshot(window=1).environments) == [ENVIRONMENT]
    world.index.apply(ev.QueueRemoved(name="unknown"), None)
    world.index.apply(ev.ComputeEnvironmentRemoved(name="unknown"), None)


def test_a_line_whose_queue_is_unknown_is_not_served(world: SchedulingWorld) -> None:
    job = world.submit()
    index = LiveIndex()
    index.load(world.job(job))
    assert len(index.line("q")) == 1
    assert index.snapshot(window=9).lines == ()


# --- within one decision --------------------------------------------------------------------------


def test_an_event_that_its_own_decision_has_overtaken_leaves_no_trace(
    world: SchedulingWorld,
) -> None:
    """Rows come as they are after the whole decision: nothing may be queued that has ended."""
    job, array = world.submit(), world.submit(array=3)
    ready = ev.ChildrenReady(job_id=array, ranges=((0, 3),), at_ms=1)
    runnable = ev.JobRunnable(job_id=job, at_ms=1)
    world.place(job)
    placed = next(e for e in world.events if isinstance(e, ev.AttemptPlaced))
    live = world.job(job)
    world.end(job)
    world.cancel(array)
    index = LiveIndex()
    index.apply(runnable, world.job(job))
    index.apply(runnable, live)
    index.apply(ready, world.job(array))
    index.apply(ready, world.job(job))
    index.apply(placed, world.job(job))
    index.apply(runnable, None)
    assert len(index.line("q")) == 0
    assert index.occupancy.used_by(ENVIRONMENT) == 0


# --- reserving ------------------------------------------------------------------------------------


def test_what_is_reserved_is_neither_in_line_nor_free(world: SchedulingWorld) -> None:
    job, array = world.submit(), world.submit(array=2)
    planned = world.plan()
    assert len(planned.placements) == 3
    world.reserve(planned)
    assert waiting(world) == []
    assert free(world).vcpu_milli == 1000
    assert world.plan().placements == ()
    assert world.commit(planned) == [job, child_id(array, 0), child_id(array, 1)]
    assert free(world).vcpu_milli == 1000
    assert true_to_rows(world)


def test_a_reserved_job_that_was_cancelled_gives_its_room_back(world: SchedulingWorld) -> None:
    job, array = world.submit(), world.submit(array=2)
    planned = world.plan()
    world.reserve(planned)
    world.cancel(job)
    world.cancel(child_id(array, 1))
    assert world.commit(planned) == [child_id(array, 0)]
    assert free(world).vcpu_milli == 3000
    assert waiting(world) == []
    assert true_to_rows(world)


def test_a_reservation_that_could_not_be_committed_goes_back_to_its_place(
    world: SchedulingWorld,
) -> None:
    array = world.submit(array=3, attempts=2)
    world.execute(child_id(array, 1), exit_code=1)
    job = world.submit()
    order = waiting(world)
    assert order == [*(child_id(array, i) for i in (1, 0, 2)), job]
    planned = world.plan()
    world.reserve(planned)
    world.do(
        cmd.UpdateComputeEnvironment(
            request={"computeEnvironment": ENVIRONMENT, "state": "DISABLED"}
        )
    )
    assert world.commit(planned) == []
    assert waiting(world) == order
    assert free(world).vcpu_milli == 4000
    assert true_to_rows(world)


def test_a_released_job_that_is_gone_frees_its_room_alone(world: SchedulingWorld) -> None:
    world.submit()
    planned = world.plan()
    world.reserve(planned)
    world.index.release(planned.placements[0], None)
    assert waiting(world) == []
    assert free(world).vcpu_milli == 4000


def test_a_released_job_that_is_live_after_all_keeps_its_room(world: SchedulingWorld) -> None:
    """The commit was on disk though its answer was an error."""
    job = world.submit()
    planned = world.plan()
    world.reserve(planned)
    world.commit(planned)
    world.index.release(planned.placements[0], world.job(job))
    assert free(world).vcpu_milli == 3000
    assert waiting(world) == []
    assert true_to_rows(world)


def test_a_reservation_of_what_is_not_in_line_still_holds_room(world: SchedulingWorld) -> None:
    job, array = world.submit(), world.submit(array=2)
    planned = world.plan()
    world.terminate(job)
    world.terminate(array)
    world.reserve(planned)
    assert free(world).vcpu_milli == 1000
    assert world.commit(planned) == []
    assert free(world).vcpu_milli == 4000


# --- reading --------------------------------------------------------------------------------------


def test_an_environment_says_why_it_is_not_usable(world: SchedulingWorld) -> None:
    assert world.index.environment(ENVIRONMENT) == Environment(
        name=ENVIRONMENT,
        usable=True,
        trouble="",
        instance_ids=("i-1",),
        max_vcpu_milli=None,
        used_vcpu_milli=0,
    )
    disable: dict[str, object] = {"computeEnvironment": ENVIRONMENT, "state": "DISABLED"}
    world.do(cmd.UpdateComputeEnvironment(request=disable))
    environment = world.index.environment(ENVIRONMENT)
    assert (environment.usable, environment.trouble) == (False, "environment is DISABLED")


@pytest.mark.parametrize(
    ("status", "trouble"),
    [
        ("VALID", ""),
        ("UPDATING", ""),
        ("CREATING", "environment is CREATING: because"),
        ("INVALID", "environment is INVALID: because"),
        ("DELETING", "environment is DELETING: because"),
    ],
)
def test_an_environment_serves_while_it_is_valid_or_updating(
    world: SchedulingWorld, status: str, trouble: str
) -> None:
    row = world.view.compute_environment(ENVIRONMENT)
    assert row is not None
    changed = replace(row, status=status, status_reason="because")
    world.index.apply(ev.ComputeEnvironmentSaved(compute_environment=changed), changed)
    environment = world.index.environment(ENVIRONMENT)
    assert (environment.usable, environment.trouble) == (not trouble, trouble)


def test_max_vcpus_of_a_managed_environment_is_its_limit(world: SchedulingWorld) -> None:
    world.queue("limited", environments=[world.environment("managed", max_vcpus=2)])
    assert world.index.environment("managed").max_vcpu_milli == 2000
    world.submit(queue="limited", array=5)
    assert len(world.run_pass()) == 2
    (refusal,) = world.plan().refusals
    assert "0 of maxvCpus 2 are free" in refusal.explanation.sentence


def test_a_shape_is_judged_against_every_environment_in_order(world: SchedulingWorld) -> None:
    world.queue("both", environments=[world.environment("b", max_vcpus=1), ENVIRONMENT])
    fits = world.index.fits(Shape(vcpu_milli=2000, memory_mib=1), "both")
    assert [(f.compute_environment, f.verdict) for f in fits] == [
        ("b", "never"),
        (ENVIRONMENT, "fits"),
    ]
    assert world.index.fits(Shape(vcpu_milli=1, memory_mib=1), "unknown") == ()
    world.index.apply(ev.ComputeEnvironmentRemoved(name="b"), None)
    fits = world.index.fits(Shape(vcpu_milli=2000, memory_mib=1), "both")
    assert [f.compute_environment for f in fits] == [ENVIRONMENT]


def test_a_machine_that_shrank_owes_room_and_takes_nothing(world: SchedulingWorld) -> None:
    job = world.submit()
    world.place(job, instance="i-1")
    world.index.add_instance(machine(vcpus=0))
    assert free(world).vcpu_milli == -1000
    world.submit()
    assert world.plan().placements == ()


def test_jobs_of_one_shape_share_it(world: SchedulingWorld) -> None:
    first, second = world.submit(), world.submit()
    line = world.index.line("q")
    one, two = line.get(first), line.get(second)
    assert one is not None
    assert two is not None
    assert one.shape is two.shape


# --- occupancy ------------------------------------------------------------------------------------


def holding(**members: object) -> Holding:
    defaults = {
        "instance_id": "i-1",
        "compute_environment": "ce",
        "shape": Shape(vcpu_milli=1500, memory_mib=300, gpus=1),
        "gpu_ids": ("i-1-gpu1",),
    }
    return Holding(**(defaults | members))  # type: ignore[arg-type]


def test_holding_and_releasing_twice_is_holding_and_releasing_once() -> None:
    occupancy = Occupancy()
    occupancy.add_instance(machine(gpus=2))
    occupancy.hold("a", holding())
    occupancy.hold("a", holding(instance_id="i-2"))
    use = occupancy.uses()["i-1"]
    assert use.free == Shape(vcpu_milli=2500, memory_mib=3796, gpus=1)
    assert use.free_gpu_ids == ("i-1-gpu0",)
    assert (occupancy.used_by("ce"), occupancy.memory_used_by("ce")) == (1500, 300)
    occupancy.release("a")
    occupancy.release("a")
    assert occupancy.uses()["i-1"].free == machine(gpus=2).total
    assert occupancy.uses()["i-1"].free_gpu_ids == ("i-1-gpu0", "i-1-gpu1")
    assert (occupancy.used_by("ce"), occupancy.memory_used_by("ce")) == (0, 0)


def test_room_is_counted_by_environment_and_instance() -> None:
    occupancy = Occupancy()
    for name in ("i-1", "i-2"):
        occupancy.add_instance(machine(name, gpus=2))
    occupancy.hold("a", holding())
    occupancy.hold("b", holding(compute_environment="other", gpu_ids=("i-1-gpu0",)))
    occupancy.hold("c", holding(instance_id="i-2", gpu_ids=("i-2-gpu0",)))
    assert occupancy.instance_ids() == ("i-1", "i-2")
    assert occupancy.used_by("ce") == 3000
    assert occupancy.memory_used_by("ce") == 600
    assert occupancy.used_by("other") == 1500
    assert occupancy.used_by("unknown") == occupancy.memory_used_by("unknown") == 0
    uses = occupancy.uses()
    assert uses["i-1"].free == Shape(vcpu_milli=1000, memory_mib=3496, gpus=0)
    assert uses["i-2"].free == Shape(vcpu_milli=2500, memory_mib=3796, gpus=1)
    occupancy.release("a")
    assert occupancy.uses()["i-1"].free_gpu_ids == ("i-1-gpu1",)

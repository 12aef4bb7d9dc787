"""What jobs can do, as the user guide tells it: 3.1 arrays, 3.2 dependencies, 3.4 retries, 3.5
timeouts and tags. One test per rule that the kernel decides, named after its section.
"""

import pytest

from batchyard.kernel import events as ev
from batchyard.kernel.faults import ClientFault
from batchyard.kernel.ids import attempt_id, child_id
from batchyard.kernel.states import STATUSES
from batchyard.testing.world import SEQUENTIAL, Need, World, n_to_n


@pytest.fixture
def world() -> World:
    world = World()
    world.queue()
    return world


# --- 3.1 ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [2, 10_000])
def test_3_1_sizes_from_2_to_10000_are_taken(world: World, size: int) -> None:
    array = world.submit(array=size)
    assert world.tally(array) == {"RUNNABLE": size}


@pytest.mark.parametrize("size", [-1, 0, 1, 10_001])
def test_3_1_other_sizes_are_refused(world: World, size: int) -> None:
    with pytest.raises(ClientFault):
        world.submit(array=size)


def test_3_1_children_are_numbered_from_0_and_have_the_name_of_the_parent(world: World) -> None:
    array = world.submit(array=2)
    world.drain()
    names = {world.job(child_id(array, i)).name for i in (0, 1)}
    assert names == {world.job(array).name}
    assert f"{array}:0" == child_id(array, 0)


def test_3_1_a_parent_is_never_runnable_starting_or_running(world: World) -> None:
    array = world.submit(array=3, depends_on=[world.submit()], attempts=2)
    seen = set()
    world.settle()
    while world.status(array) not in ("SUCCEEDED", "FAILED"):
        for job_id in world.runnable_ids():
            world.place(job_id)
            seen.add(world.status(array))
        for job_id in world.live_ids():
            world.start(job_id)
            seen.add(world.status(array))
            world.end(job_id, exit_code=len(world.job(job_id).attempts) == 0)
            seen.add(world.status(array))
        world.settle()
    states = {
        event.job.status
        for event in world.events
        if isinstance(event, ev.JobSubmitted) and event.job.job_id == array
    }
    assert seen | states <= {"SUBMITTED", "PENDING", "SUCCEEDED", "FAILED"}
    assert "PENDING" in seen


def test_3_1_parent_becomes_pending_when_a_child_becomes_runnable(world: World) -> None:
    array = world.submit(array=2)
    submitted, ready = world.last.events
    assert isinstance(submitted, ev.JobSubmitted)
    assert submitted.job.status == "SUBMITTED"
    assert isinstance(ready, ev.ChildrenReady)
    assert world.status(array) == "PENDING"


def test_3_1_parent_failed_only_after_all_children_are_terminal(world: World) -> None:
    array = world.submit(array=3)
    world.execute(child_id(array, 1), exit_code=1)
    world.execute(child_id(array, 0))
    assert world.status(array) == "PENDING"
    world.execute(child_id(array, 2))
    assert world.status(array) == "FAILED"


@pytest.mark.parametrize("how", ["exit", "cancel", "terminate"])
def test_3_1_any_failed_child_fails_the_parent_and_siblings_go_on(world: World, how: str) -> None:
    array = world.submit(array=3)
    child = child_id(array, 1)
    if how == "exit":
        world.execute(child, exit_code=1)
    else:
        getattr(world, how)(child)
    assert world.tally(array) == {"RUNNABLE": 2, "FAILED": 1}
    world.drain()
    assert world.tally(array) == {"SUCCEEDED": 2, "FAILED": 1}
    assert world.status(array) == "FAILED"


def test_3_1_the_status_summary_lists_all_seven_states(world: World) -> None:
    array = world.job(world.submit(array=2)).array
    assert array is not None
    assert tuple(array.tally()) == STATUSES


def test_3_1_a_parent_has_no_attempt_of_its_own(world: World) -> None:
    array = world.submit(array=2)
    assert not world.place(array)
    world.drain()
    assert world.job(array).attempts == ()
    assert world.job(array).started_at_ms is None


def test_3_1_retries_and_time_outs_apply_to_each_child(world: World) -> None:
    array = world.submit(array=2, attempts=2)
    one, two = child_id(array, 0), child_id(array, 1)
    world.execute(one, exit_code=1)
    world.place(two)
    world.start(two)
    world.time_out(two)
    world.end(two, exit_code=137)
    assert (world.status(one), world.status(two)) == ("RUNNABLE", "FAILED")
    world.execute(one)
    assert world.tally(array) == {"SUCCEEDED": 1, "FAILED": 1}


# --- 3.2 ------------------------------------------------------------------------------------------


def test_3_2_up_to_20_dependencies(world: World) -> None:
    upstream = [world.submit() for _ in range(21)]
    world.submit(depends_on=upstream[:20])
    with pytest.raises(ClientFault, match="Job cannot have more than 20 dependencies"):
        world.submit(depends_on=upstream)


def test_3_2_plain_waits_until_the_other_has_succeeded(world: World) -> None:
    first = world.submit(attempts=2)
    job = world.submit(depends_on=[first])
    world.execute(first, exit_code=1)
    world.settle()
    assert world.status(job) == "PENDING"
    world.execute(first)
    world.settle()
    assert world.status(job) == "RUNNABLE"


def test_3_2_plain_on_an_array_waits_for_the_whole(world: World) -> None:
    array = world.submit(array=2)
    job = world.submit(depends_on=[array])
    world.execute(child_id(array, 0))
    world.settle()
    assert world.status(job) == "PENDING"
    world.drain()
    assert world.status(job) == "SUCCEEDED"


def test_3_2_sequential_has_no_job_id_and_each_child_waits_for_the_one_before(
    world: World,
) -> None:
    array = world.submit(array=3, depends_on=[SEQUENTIAL])
    order = []
    while world.runnable_ids():
        (job_id,) = world.runnable_ids()
        order.append(job_id)
        world.execute(job_id)
    assert order == [child_id(array, i) for i in range(3)]
    with pytest.raises(ClientFault):
        world.submit(array=2, depends_on=[Need(job_id=array, type="SEQUENTIAL")])


def test_3_2_n_to_n_lets_each_child_wait_for_its_partner(world: World) -> None:
    first = world.submit(array=3)
    second = world.submit(array=3, depends_on=[n_to_n(first)])
    world.execute(child_id(first, 1))
    world.settle()
    assert [world.status(child_id(second, i)) for i in range(3)] == [
        "PENDING",
        "RUNNABLE",
        "PENDING",
    ]


def test_3_2_n_to_n_of_different_sizes_is_refused(world: World) -> None:
    with pytest.raises(ClientFault):
        world.submit(array=2, depends_on=[n_to_n(world.submit(array=3))])


def test_3_2_dependencies_may_cross_queues(world: World) -> None:
    world.queue("other")
    job = world.submit(queue="other", depends_on=[world.submit()])
    world.drain()
    assert world.status(job) == "SUCCEEDED"


def test_3_2_a_failed_dependency_fails_the_waiting_job_and_so_on(world: World) -> None:
    chain = [world.submit()]
    for _ in range(4):
        chain.append(world.submit(depends_on=[chain[-1]]))
    world.execute(chain[0], exit_code=1)
    world.settle()
    assert {world.status(job) for job in chain} == {"FAILED"}
    assert {world.job(job).status_reason for job in chain[1:]} == {"Dependent Job failed"}


def test_3_2_what_has_succeeded_is_met_and_what_has_failed_fails_at_once(world: World) -> None:
    good, bad = world.submit(), world.submit()
    world.execute(good)
    world.execute(bad, exit_code=1)
    assert world.status(world.submit(depends_on=[good])) == "RUNNABLE"
    assert world.status(world.submit(depends_on=[bad])) == "FAILED"


def test_3_2_an_unknown_job_is_refused(world: World) -> None:
    with pytest.raises(ClientFault):
        world.submit(depends_on=["00000000-0000-0000-0000-000000000000"])


# --- 3.4 ------------------------------------------------------------------------------------------


def tries(world: World, job_id: str, *, most: int = 20, exit_code: int = 1) -> int:
    """How often a job that always fails is tried."""
    for n in range(most):
        if world.status(job_id) != "RUNNABLE":
            return n
        world.execute(job_id, exit_code=exit_code)
    return most


@pytest.mark.parametrize(("attempts", "count"), [(None, 1), (1, 1), (3, 3), (10, 10)])
def test_3_4_attempts_are_total_tries_and_1_by_default(
    world: World, attempts: int | None, count: int
) -> None:
    assert tries(world, world.submit(attempts=attempts)) == count


@pytest.mark.parametrize("attempts", [0, 11])
def test_3_4_attempts_are_1_to_10(world: World, attempts: int) -> None:
    with pytest.raises(ClientFault):
        world.submit(attempts=attempts)


def test_3_4_no_match_means_retry(world: World) -> None:
    rules = [{"action": "EXIT", "onExitCode": "2"}]
    assert tries(world, world.submit(attempts=4, evaluate_on_exit=rules)) == 4
    assert tries(world, world.submit(attempts=4, evaluate_on_exit=rules), exit_code=2) == 1


def test_3_4_rules_are_tried_in_order_and_the_first_match_decides(world: World) -> None:
    rules = [
        {"action": "RETRY", "onExitCode": "1"},
        {"action": "EXIT", "onExitCode": "1*"},
    ]
    job = world.submit(attempts=5, evaluate_on_exit=rules)
    world.execute(job, exit_code=1)
    assert world.status(job) == "RUNNABLE"
    world.execute(job, exit_code=12)
    assert world.status(job) == "FAILED"


def test_3_4_the_rules_of_nextflow_retry_a_lost_host_and_nothing_else(world: World) -> None:
    rules = [
        {"action": "RETRY", "onStatusReason": "Host EC2*"},
        {"action": "EXIT", "onReason": "*"},
    ]
    job = world.submit(attempts=5, evaluate_on_exit=rules)
    world.place(job)
    world.lose(job)
    assert world.status(job) == "RUNNABLE"
    world.execute(job, exit_code=1)
    assert world.status(job) == "FAILED"


def test_3_4_a_lost_host_counts_as_an_attempt(world: World) -> None:
    job = world.submit(attempts=2)
    for expected in ("RUNNABLE", "FAILED"):
        world.place(job)
        world.lose(job)
        assert world.status(job) == expected


def test_3_4_attempts_are_numbered_from_1(world: World) -> None:
    job = world.submit(attempts=2)
    tries(world, job)
    assert [a.number for a in world.job(job).attempts] == [1, 2]
    assert world.job(job).attempts[0].attempt_id == attempt_id(job, 1)


def test_3_4_a_job_keeps_its_id_and_gets_a_new_log_stream(world: World) -> None:
    job = world.submit(attempts=2)
    tries(world, job)
    streams = {a.log_stream for a in world.job(job).attempts}
    assert len(streams) == 2
    assert all(s.startswith("definition/default/") for s in streams)


# --- 3.5 ------------------------------------------------------------------------------------------


def test_3_5_each_attempt_has_its_own_clock(world: World) -> None:
    job = world.submit(attempts=3, members={"timeout": {"attemptDurationSeconds": 60}})
    world.execute(job, exit_code=1)
    world.place(job)
    assert not world.time_out(job)
    world.start(job)
    assert world.time_out(job)


def test_3_5_less_than_60_seconds_is_refused(world: World) -> None:
    world.submit(members={"timeout": {"attemptDurationSeconds": 60}})
    with pytest.raises(ClientFault):
        world.submit(members={"timeout": {"attemptDurationSeconds": 59}})

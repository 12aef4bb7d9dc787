"""SIGKILL of the server at each failpoint with 200 jobs in flight; then everything must be true."""

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest

import batchyard
from faults import audit
from faults.killable_yard import KillableYard
from faults.load import Act, Client, Load

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]

# The number is the passing at which the server falls. In the first list of a pair it falls while
# the 200 jobs are started; in the second while they run and others come, end and are stopped.
Failpoints = Sequence[str]
PROCESS: list[tuple[Failpoints, Failpoints]] = [
    (("dispatch.before_start:90",), ("reconcile.before_adopt:150", "dispatch.before_start:5")),
    (("dispatch.after_start:60",), ("dispatch.after_start:7", "dispatch.before_acknowledge:12")),
    (("process.after_folder:70",), ("process.after_folder:6", "process.before_delete:3")),
    (("scheduling.after_plan:3",), ("scheduling.after_plan:3", "bus.before_write:9")),
    (("store.before_commit:9",), ("store.before_commit:7", "store.after_commit:8")),
    (("store.after_commit:9",), ("observe.before_report:4", "observe.after_report:4")),
    (("bus.before_write:20",), ("dispatch.before_remove:4", "dispatch.after_remove:4")),
    (
        ("dispatch.before_acknowledge:50",),
        (
            "dispatch.before_stop:1",
            "dispatch.after_stop:1",
            "dispatch.before_follow_up:2",
            "dispatch.after_follow_up:3",
        ),
    ),
]
DOCKER: list[tuple[Failpoints, Failpoints]] = [
    (
        ("dispatch.before_start:30", "docker.after_create:30", "dispatch.after_start:30"),
        (
            "reconcile.before_adopt:150",
            "dispatch.before_start:5",
            "docker.after_create:6",
            "dispatch.after_start:7",
            "dispatch.before_acknowledge:12",
            "dispatch.before_stop:1",
            "docker.before_stop:1",
            "dispatch.after_stop:1",
            "scheduling.after_plan:3",
            "bus.before_write:9",
            "store.before_commit:7",
            "store.after_commit:8",
            "observe.before_report:4",
            "observe.after_report:4",
            "dispatch.before_follow_up:2",
            "dispatch.after_follow_up:3",
            "dispatch.before_remove:4",
            "dispatch.after_remove:4",
        ),
    ),
]


def scenario(yard: KillableYard, load: Load, *, starting: Failpoints, running: Failpoints) -> None:
    yard.start()
    with load.talking_to(yard) as batch:
        load.register(batch)
        sleepers = [load.submit(batch, "sleeper") for _ in (*starting, *running)]
    yard.kill()
    for failpoint, sleeper in zip(starting, sleepers, strict=False):
        acts = [load.submit_in_flight] if failpoint is starting[0] else []
        fall_at(yard, load, failpoint, *acts, partial(load.terminate, job_id=sleeper))
    assert yard.start()
    with load.talking_to(yard) as batch:
        load.submit_in_flight(batch)
    load.await_in_flight()
    yard.kill()
    for failpoint, sleeper in zip(running, sleepers[len(starting) :], strict=True):
        fall_at(
            yard,
            load,
            failpoint,
            load.submit_lively,
            partial(load.terminate, job_id=sleeper),
            load.submit_lively,
        )
    assert yard.start()
    with load.talking_to(yard) as batch:
        audit.nothing_acknowledged_is_lost(batch, load)
        for sleeper in sleepers:
            load.terminate(batch, job_id=sleeper)
        load.open_gate()
        audit.await_ends(yard, batch, load)
        audit.every_attempt_is_true(yard, batch, load)
    audit.nothing_dangles(yard, load)
    yard.stop()
    audit.nothing_stays(yard, load)


def fall_at(yard: KillableYard, load: Load, failpoint: str, *acts: Act) -> None:
    """Start the server, give it work, and see it fall; that may be before it answers."""
    if not yard.start(failpoint):
        yard.await_death(failpoint)
        return
    with load.talking_to(yard) as batch:
        client = Client(*(partial(act, batch) for act in acts))
        client.start()
        try:
            yard.await_death(failpoint)
        finally:
            client.join()
    assert client.refusal is None


def test_no_failpoint_is_forgotten() -> None:
    source = Path(batchyard.__file__).parent
    named = {
        name
        for path in source.rglob("*.py")
        for name in re.findall(r"_?failpoints?\(\s*\"([a-z_.]+)\"", path.read_text())
    }
    of_process = {point.partition(":")[0] for pair in PROCESS for point in (*pair[0], *pair[1])}
    of_docker = {point.partition(":")[0] for pair in DOCKER for point in (*pair[0], *pair[1])}
    assert of_process == {name for name in named if not name.startswith("docker.")}
    assert of_docker == {name for name in named if not name.startswith("process.")}


@pytest.mark.parametrize(("starting", "running"), PROCESS, ids=" ".join)
def test_on_processes(
    process_yard: KillableYard, load: Load, starting: Failpoints, running: Failpoints
) -> None:
    scenario(process_yard, load, starting=starting, running=running)


@pytest.mark.engine
@pytest.mark.parametrize(("starting", "running"), DOCKER, ids=" ".join)
def test_on_containers(
    docker_yard: KillableYard, load: Load, starting: Failpoints, running: Failpoints
) -> None:
    scenario(docker_yard, load, starting=starting, running=running)

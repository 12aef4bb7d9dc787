"""Deaths at random moments, at the first start, and of what the yard leans on."""

import os
import random
import signal
import time
from functools import partial
from pathlib import Path

import pytest

from batchyard.executors.process import claim
from engines.own_daemon import OwnDaemon
from faults import audit
from faults.killable_yard import KillableYard, engine, until
from faults.load import Client, Load

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]


def all_is_true_in_the_end(
    yard: KillableYard, load: Load, *sleepers: str, some_are_lost: bool = False
) -> None:
    """Of a yard that runs: let every job go, see each to its end, and look for what is left."""
    with load.talking_to(yard) as batch:
        audit.nothing_acknowledged_is_lost(batch, load)
        for sleeper in sleepers:
            load.terminate(batch, job_id=sleeper)
        load.open_gate()
        audit.await_ends(yard, batch, load)
        audit.every_attempt_is_true(yard, batch, load, some_are_lost=some_are_lost)
    audit.nothing_dangles(yard, load)
    yard.stop()
    audit.nothing_stays(yard, load)


def test_at_random_moments(process_yard: KillableYard, load: Load) -> None:
    moments = random.Random(2020)
    yard = process_yard
    yard.start()
    with load.talking_to(yard) as batch:
        load.register(batch)
        sleepers = [load.submit(batch, "sleeper") for _ in range(6)]
    for sleeper in sleepers:
        with load.talking_to(yard) as batch:
            client = Client(
                partial(load.submit_lively, batch),
                partial(load.submit_in_flight, batch),
                partial(load.terminate, batch, sleeper),
                *[partial(load.submit_lively, batch)] * 5,
            )
            client.start()
            time.sleep(moments.uniform(0.02, 2.0))  # the moment itself: it waits for nothing
            yard.kill()
            client.join()
        assert client.refusal is None
        assert yard.start(), yard.tail()
    all_is_true_in_the_end(yard, load, *sleepers)


@pytest.mark.parametrize("commit", range(1, 9))
def test_at_a_commit_of_the_first_start(
    process_yard: KillableYard, load: Load, commit: int
) -> None:
    """Whatever of its furniture a yard has when it dies, the next start brings the rest."""
    failpoint = f"store.after_commit:{commit}"
    answered = process_yard.start(failpoint)
    if answered and process_yard.alive():
        process_yard.kill()  # it furnished itself in fewer commits
    else:
        process_yard.await_death(failpoint)
    assert process_yard.start(), process_yard.tail()
    with load.talking_to(process_yard) as batch:
        load.register(batch)
        load.submit(batch, "quick")
    all_is_true_in_the_end(process_yard, load)


def spawner_of(yard: KillableYard) -> int:
    """The process whose errors go to the spawner's log and that is no shim."""
    for name in filter(str.isdecimal, os.listdir("/proc")):
        try:
            errors = os.readlink(f"/proc/{name}/fd/2")
        except OSError:
            continue
        fields = claim.stat_fields(name)
        # The server's own child; shims are the spawner's.
        if errors == f"{yard.home}/spawner.log" and fields and int(fields[1]) == yard.pid():
            return int(name)
    raise AssertionError("no spawner")


def test_of_the_spawner_and_then_the_server(process_yard: KillableYard, load: Load) -> None:
    yard = process_yard
    yard.start()
    with load.talking_to(yard) as batch:
        load.register(batch)
        sleeper = load.submit(batch, "sleeper")
        load.submit_in_flight(batch)
        load.await_in_flight()
        first = spawner_of(yard)
        os.kill(first, signal.SIGKILL)
        load.submit_lively(batch)
        load.terminate(batch, sleeper)
        until(lambda: yard.alive() and spawner_of(yard) != first, "another spawner")
        os.kill(spawner_of(yard), signal.SIGKILL)
        load.submit_lively(batch)
    yard.kill()
    assert yard.start(), yard.tail()
    all_is_true_in_the_end(yard, load, sleeper)


@pytest.mark.engine
def test_of_the_engine_and_the_server_together(
    tmp_path: Path, daemon: OwnDaemon, load: Load
) -> None:
    yard = KillableYard(tmp_path / "yard", "docker", socket=daemon.socket)
    try:
        yard.start()
        with load.talking_to(yard) as batch:
            load.register(batch)
            sleeper = load.submit(batch, "sleeper")
            for number in range(20):
                load.submit(batch, "gated", fails=number % 2)
            load.submit_lively(batch)
            # Nothing is being started at that moment, so nothing may be lost.
            load.await_quiet(yard, batch)
            daemon.kill()
            # Acknowledged while no engine answers: to be done when one does.
            load.terminate(batch, sleeper)
            load.submit_lively(batch)
        yard.kill()
        assert not yard.start()
        yard.await_refusal()
        daemon.start()
        until(daemon.answers, "the daemon, again")
        assert yard.start(), yard.tail()
        all_is_true_in_the_end(yard, load, sleeper)
    finally:
        load.open_gate()
        yard.abandon(str(load.ledger))


@pytest.mark.engine
@pytest.mark.parametrize("server_too", [False, True])
def test_of_the_engine_while_it_starts_containers(
    tmp_path: Path, daemon: OwnDaemon, load: Load, server_too: bool
) -> None:
    """What the engine has started and not yet written down is not started a second time."""
    yard = KillableYard(tmp_path / "yard", "docker", socket=daemon.socket)
    try:
        yard.start()
        with load.talking_to(yard) as batch:
            load.register(batch)
            for number in range(60):
                load.submit(batch, "gated", fails=number % 3)
            load.await_in_flight(12)
            daemon.kill()
        if server_too:
            yard.kill()
        daemon.start()
        until(daemon.answers, "the daemon, again")
        # It listens before it has its containers back. What a job says that ends until then is
        # read by nobody: Docker loses it.
        engine(daemon.socket, "GET", "/version")
        assert not server_too or yard.start(), yard.tail()
        all_is_true_in_the_end(yard, load, some_are_lost=True)
    finally:
        load.open_gate()
        yard.abandon(str(load.ledger))

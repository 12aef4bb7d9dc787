"""Jobs on the host's network under a Docker that may lock up, and under one that does not."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from batchyard.executors.docker import host_network
from batchyard.executors.docker.engine import Engine, Version
from batchyard.executors.docker.host_network import EMPTY_TAR, HostNetwork, may_lock_up
from batchyard.executors.port import Started, StartFailed
from batchyard.kernel.faults import EngineUnavailable
from unit.executors.fake_engine import FakeEngine, Scene, play, spec

DEFECTIVE = "20.10.24+dfsg1"
HOLDER = "batchyard-yard-host-network"


def on(release: str) -> Callable[[Callable[[Scene], Awaitable[None]]], Callable[[Path], None]]:
    def decorate(story: Callable[[Scene], Awaitable[None]]) -> Callable[[Path], None]:
        def run(tmp_path: Path) -> None:
            play(tmp_path, story, release=release)

        return run

    return decorate


def network_of(engine: FakeEngine, number: int = 1) -> str:
    mode: str = engine.containers[f"batchyard-yard-job-{number}.a1"]["HostConfig"]["NetworkMode"]
    return mode


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("docker 20.10.24+dfsg1", True),
        ("docker 20.10.26", True),
        ("docker 19.03.15", True),
        ("docker 20.10.27", False),
        ("docker 23.0.0", False),
        ("docker 29.1.2", False),
        ("docker ?", False),
        ("podman 4.3.1", False),
    ],
)
def test_which_engines_may_lock_up(text: str, *, expected: bool) -> None:
    assert may_lock_up(Version(kind=text.split()[0], text=text)) is expected


@on("23.0.1")
async def test_a_mended_engine_is_asked_for_the_hosts_network(stage: Scene) -> None:
    await stage.executor.start(spec())
    await stage.see(Started)
    assert network_of(stage.engine) == "host"
    assert len(stage.engine.containers) == 1


@on(DEFECTIVE)
async def test_all_jobs_join_one_idle_container(stage: Scene) -> None:
    async with asyncio.TaskGroup() as group:
        for number in range(4):
            group.create_task(stage.executor.start(spec(number)))
    await stage.see(Started, 4)
    holder = stage.engine.containers[HOLDER]
    assert holder["State"]["Status"] == "running"
    assert holder["HostConfig"]["NetworkMode"] == "host"
    assert {network_of(stage.engine, n) for n in range(4)} == {f"container:{holder['Id']}"}
    assert stage.engine.imports == [EMPTY_TAR]
    # It is no attempt, and whoever looks for attempts does not find it.
    assert len(await stage.executor.list()) == 4


@on(DEFECTIVE)
async def test_a_job_without_the_hosts_network_joins_nothing(stage: Scene) -> None:
    await stage.executor.start(spec(network_mode="none"))
    await stage.see(Started)
    assert network_of(stage.engine) == "none"
    assert HOLDER not in stage.engine.containers


@on(DEFECTIVE)
async def test_one_that_an_earlier_server_left_is_replaced(stage: Scene) -> None:
    left = {
        "Id": "left",
        "State": {"Status": "running"},
        "Config": {"Labels": {}},
        "HostConfig": {"NetworkMode": "host"},
    }
    stage.engine.containers[HOLDER] = left
    await stage.executor.start(spec())
    await stage.see(Started)
    assert stage.engine.containers[HOLDER]["Id"] != "left"


@on(DEFECTIVE)
async def test_it_goes_with_the_executor_and_its_jobs_stay(stage: Scene) -> None:
    await stage.executor.start(spec())
    await stage.see(Started)
    await stage.executor.close()
    assert list(stage.engine.containers) == ["batchyard-yard-job-1.a1"]


@pytest.mark.parametrize("removed", [True, False])
def test_when_it_is_gone_another_is_made(tmp_path: Path, *, removed: bool) -> None:
    @on(DEFECTIVE)
    async def story(stage: Scene) -> None:
        await stage.executor.start(spec(0))
        if removed:
            del stage.engine.containers[HOLDER]
        else:
            stage.engine.containers[HOLDER]["State"]["Status"] = "exited"
        async with asyncio.TaskGroup() as group:
            for number in range(1, 6):
                group.create_task(stage.executor.start(spec(number)))
        await stage.see(Started, 6)
        holder = stage.engine.containers[HOLDER]["Id"]
        assert {network_of(stage.engine, n) for n in range(1, 6)} == {f"container:{holder}"}
        # One for the first job and one for all the others: none took away what another had made.
        assert stage.engine.made.count(HOLDER) == 2
        assert len(stage.engine.imports) == 1

    story(tmp_path)


@on(DEFECTIVE)
async def test_one_that_keeps_going_away_fails_no_job(stage: Scene) -> None:
    refused = "cannot join network of a non running container: "
    for number in (1, 3, 5):  # the ids that the idle containers get, one after the other
        stage.engine.start_answers += [(204, ""), (409, f"{refused}id-{number}")]
    with pytest.raises(EngineUnavailable, match="keeps going away") as caught:
        await stage.executor.start(spec())
    assert "join its network" in caught.value.hint
    assert await stage.see(StartFailed, 0) == []
    stage.engine.start_answers.clear()
    await stage.executor.start(spec())
    await stage.see(Started)


@on(DEFECTIVE)
async def test_an_engine_that_refuses_it_gets_plain_host(stage: Scene) -> None:
    stage.engine.start_answers = [(500, "no sleep on this machine")]
    await stage.executor.start(spec())
    await stage.see(Started)
    assert network_of(stage.engine) == "host"
    await stage.executor.start(spec(2))
    assert network_of(stage.engine, 2) == "host"
    # What this engine refused once is not tried for each job.
    assert stage.engine.made.count(HOLDER) == 1


def test_a_change_of_the_hosts_resolver_makes_a_new_one(tmp_path: Path) -> None:
    resolver = tmp_path / "resolv.conf"

    @on(DEFECTIVE)
    async def story(stage: Scene) -> None:
        engine = Engine(str(tmp_path / "e.sock"))
        await engine.open()
        network = HostNetwork(engine, yard_id="yard", needed=True, copied=[str(resolver)])
        first = await network.mode()
        assert await network.mode() == first
        resolver.write_text("nameserver 127.0.0.1\n")
        os.utime(resolver, ns=(1, 1))
        second = await network.mode()
        assert second != first
        assert await network.mode() == second
        await network.close()
        await engine.close()
        assert HOLDER not in stage.engine.containers

    story(tmp_path)


def test_a_late_refusal_takes_nothing_away(tmp_path: Path) -> None:
    """Many starts are refused for the old one; some hear of it when the new one is there."""

    @on(DEFECTIVE)
    async def story(stage: Scene) -> None:
        engine = Engine(str(tmp_path / "e.sock"))
        await engine.open()
        network = HostNetwork(engine, yard_id="yard", needed=True)
        refusal = f"No such container: {(await network.mode()).removeprefix('container:')}"
        assert network.lost(refusal)
        second = await network.mode()
        assert network.lost(refusal)
        assert await network.mode() == second
        assert not network.lost("no space left on device")
        await network.close()
        await engine.close()
        assert stage.engine.made == [HOLDER, HOLDER]

    story(tmp_path)


def test_it_is_closed_even_when_the_engine_is_gone(tmp_path: Path) -> None:
    async def main() -> None:
        engine = Engine(str(tmp_path / "nobody.sock"))
        network = HostNetwork(engine, yard_id="yard", needed=True)
        network._holder = "id"
        engine._calls = engine._session(1)
        await network.close()
        await engine.close()

    asyncio.run(main())


def test_what_the_idle_container_runs_is_on_this_machine() -> None:
    assert os.access(host_network._SLEEP, os.X_OK)

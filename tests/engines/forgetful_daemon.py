"""A daemon that was killed before it wrote a container's start down, and what it left behind."""

import asyncio
import contextlib
import os
import select
import uuid
from pathlib import Path

from batchyard.executors.docker import DockerExecutor
from batchyard.executors.port import AttemptSpec, Failpoint, Mount, no_failpoint
from batchyard.kernel.faults import EngineUnavailable
from conformance.ports.executor_exercise import Bench, ExecutorYard, eventually
from engines.own_daemon import OwnDaemon
from faults.killable_yard import until


class ForgetfulDaemon:
    """Comes back from a kill as if it had been killed before it wrote a container's start down."""

    def __init__(self, daemon: OwnDaemon) -> None:
        self._daemon = daemon
        self._before_start: dict[Path, bytes] = {}
        self.dies_after_create = False

    def fail(self, failpoint: str) -> None:
        """The driver's failpoints."""
        if failpoint != "docker.after_create":
            return
        self._remember()
        if self.dies_after_create:
            self.dies_after_create = False
            self.restart()
            raise EngineUnavailable("The test killed the engine.", hint="Call again.")

    def _remember(self) -> None:
        for path in (self._daemon.root / "data" / "containers").glob("*/config.v2.json"):
            self._before_start.setdefault(path, path.read_bytes())

    def restart(self) -> None:
        self._daemon.kill()
        for path, known in self._before_start.items():
            path.write_bytes(known)
        self._daemon.start()
        until(self._daemon.answers, "the daemon to come back")


async def forget_a_running_container(
    yard: ExecutorYard, forgetful: ForgetfulDaemon, folder: Path, *, exit_code: int | None
) -> tuple[Bench, AttemptSpec, list[int]]:
    """What a start leaves that the daemon has forgotten, and a server that is started after it.

    Returns:
        The new server's executor, the attempt, and a pidfd for each of its processes.
    """
    end = "exec sleep 3600" if exit_code is None else f"exit {exit_code}"
    spec = yard.spec(
        command=("sh", "-c", f"echo ran >> /folder/ran; {end}"),
        mounts=(Mount(target="/folder", source=str(folder)),),
    )
    bench = await yard.open()
    await bench.executor.start(spec)
    if exit_code is None:
        await bench.recorder.started(spec.attempt_id)
    else:
        await bench.recorder.ended(spec.attempt_id)
    await eventually((folder / "ran").exists, "the first line of the job")
    (sighting,) = await bench.executor.list()
    living = [os.pidfd_open(pid) for pid in processes_of(sighting.handle)]
    await asyncio.to_thread(forgetful.restart)
    return await yard.reopen(), spec, living


def processes_of(container_id: str) -> list[int]:
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            in_it = container_id in (directory / "cgroup").read_text()
            arguments = (directory / "cmdline").read_bytes().split(b"\0")
            if in_it or container_id.encode() in arguments:  # the job, its init and its shim
                found.append(int(directory.name))
    return found


def command(pid: int) -> str:
    """The name of a process; empty when there is none."""
    try:
        return (Path("/proc") / str(pid) / "comm").read_text().strip()
    except OSError:
        return ""


def ended(pidfd: int) -> bool:
    return bool(select.select([pidfd], [], [], 0)[0])


def yard_on(daemon: OwnDaemon, failpoint: Failpoint = no_failpoint) -> ExecutorYard:
    yard_id = str(uuid.uuid4())
    return ExecutorYard(
        make=lambda sink: DockerExecutor(
            yard_id=yard_id, logs=sink, socket=daemon.socket, failpoint=failpoint
        ),
        image="batchyard-test:1",
    )


async def first_process(bench: Bench, spec: AttemptSpec) -> tuple[str, int]:
    """A container's id, and the process whose end is its end."""
    sighting = await bench.listed(spec.attempt_id)
    assert sighting is not None
    (first,) = [pid for pid in processes_of(sighting.handle) if command(pid) == "docker-init"]
    return sighting.handle, first


async def state_is(bench: Bench, spec: AttemptSpec, state: str) -> None:
    async with asyncio.timeout(30):
        while True:
            listed = await bench.listed(spec.attempt_id)
            if listed is not None and listed.state == state:
                return
            await asyncio.sleep(0.02)

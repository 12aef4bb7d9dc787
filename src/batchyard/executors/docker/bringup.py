"""From a spec to a running container, with what the host refuses given up on the way.

Every step may have been done already by a process that died: the container's name tells.
"""

import asyncio
import json
import math
import posixpath
import re

from batchyard.executors.docker.body import Host, compose, container_name
from batchyard.executors.docker.degrade import Concession, concede, forbidden
from batchyard.executors.docker.engine import Engine, NoAnswerInTime, Refused
from batchyard.executors.docker.forgotten import (
    created_by_an_earlier_life,
    end_processes,
    forgotten,
)
from batchyard.executors.docker.host_network import HOST, HostNetwork
from batchyard.executors.docker.images import Puller
from batchyard.executors.docker.inspected import Inspected
from batchyard.executors.docker.tracked import Tracked
from batchyard.executors.docker.watch import Watcher
from batchyard.executors.policy import Policy
from batchyard.executors.port import AttemptSpec, Failpoint, no_failpoint
from batchyard.kernel.faults import EngineUnavailable, ExecutorError

CREATE_TIMEOUT_S = 240.0
START_TIMEOUT_S = 180.0
STOPPED_BEFORE_START = "CannotStartContainerError: stopped before the container was started"

_NAME_FREED_S = 0.1
_NETWORK_TRIES = 3
_MOST_PROGRAMS_REMEMBERED = 4096
_ALREADY_THERE = re.compile(r"\btask( [0-9a-f]{64})?:? already exists|^id already in use$")
"""What Docker answers to the start of a container whose forgotten process lives."""


class NeverStarts(ExecutorError):
    """The attempt cannot start, now or later; the message is the ECS reason."""


class MayHaveRun(ExecutorError):
    """The engine forgot whether the attempt ran. Nothing of it lives; it must not start again."""


class BringUp:
    def __init__(
        self,
        *,
        engine: Engine,
        watcher: Watcher,
        puller: Puller,
        host: Host,
        host_network: HostNetwork,
        policy: Policy,
        yard_id: str,
        create_timeout_s: float = CREATE_TIMEOUT_S,
        failpoint: Failpoint = no_failpoint,
    ) -> None:
        self._engine = engine
        self._watcher = watcher
        self._puller = puller
        self._host = host
        self._host_network = host_network
        self._policy = policy
        self._yard_id = yard_id
        self._create_timeout_s = create_timeout_s
        self._failpoint = failpoint
        self._learned: frozenset[Concession] = frozenset()
        self._programs: set[tuple[str, str, str]] = set()

    async def bring_up(self, tracked: Tracked) -> None:
        """Return when the container runs, or already ran.

        Raises:
            NeverStarts: it will not.
            MayHaveRun: it is lost.
            EngineUnavailable: not known; call again.
        """
        spec = tracked.spec
        if reason := forbidden(spec, self._policy):
            raise NeverStarts(f"CannotCreateContainerError: {reason}")
        conceded = self._learned
        networks_lost = 0
        while True:
            try:
                found = await self._create(tracked, conceded)
            except Refused as refused:
                conceded |= self._less("CannotCreateContainerError", spec, refused, conceded)
                continue
            if found is not None:
                if found.state != "created":
                    return
                if not _never_asked(tracked, found):
                    await self.end_if_forgotten(found)
            await self._check_program(tracked)
            if tracked.halt.is_set():
                await self.discard(tracked.name)
                raise NeverStarts(STOPPED_BEFORE_START)
            tracked.start_asked = True
            tracked.does("starts the container")
            try:
                await self._engine.call(
                    "POST", f"/containers/{tracked.name}/start", timeout_s=START_TIMEOUT_S
                )
                break
            except NoAnswerInTime:
                # ORDER: removed before it is called failed, or it might yet run.
                await self.discard(tracked.name)
                raise NeverStarts(timed_out("started", START_TIMEOUT_S)) from None
            except Refused as refused:
                if _ALREADY_THERE.search(refused.message):
                    await self._end_forgotten(await self._watcher.inspect(tracked.name))
                if self._host_network.lost(refused.message):
                    networks_lost += 1
                    if networks_lost == _NETWORK_TRIES:
                        raise EngineUnavailable(
                            f"Container {self._host_network.name} keeps going away: "
                            f"{refused.message}",
                            hint="Leave it alone while jobs run: they join its network.",
                        ) from refused
                    await self.discard(tracked.name)
                    continue
                conceded |= self._less("CannotStartContainerError", spec, refused, conceded)
                await self.discard(tracked.name)
        # Only what the host refuses to everybody; a device or a ulimit is the spec's own.
        self._learned |= conceded & {"privileged", "init", "swappiness"}

    async def end_if_forgotten(self, found: Inspected) -> None:
        """Make sure that a container the engine calls created did not run in an earlier life of it.

        Raises:
            MayHaveRun: it may have. The container is left, so that whoever asks after a crash of
                this process hears the same; removing the attempt removes it.
            EngineUnavailable: it may have, and something of it lives on.
        """
        # Podman keeps a container's state itself, without a daemon that could forget it.
        if self._host.kind == "docker" and await asyncio.to_thread(
            created_by_an_earlier_life, found, self._engine.socket_path
        ):
            await self._end_forgotten(found)

    async def _end_forgotten(self, found: Inspected | None) -> None:
        if found is not None:
            await asyncio.to_thread(end_processes, found.container_id)
            raise MayHaveRun(forgotten(found.container_id))

    def _less(
        self,
        error_name: str,
        spec: AttemptSpec,
        refused: Refused,
        conceded: frozenset[Concession],
    ) -> frozenset[Concession]:
        more = concede(refused.message, spec, policy=self._policy, conceded=conceded)
        if more is None:
            raise NeverStarts(
                f"{error_name}: Error response from daemon: {refused.message}"
            ) from None
        return frozenset({more})

    async def discard(self, name: str) -> None:
        """Delete the container, killing it if need be. An unknown one is no error."""
        try:
            await self._engine.call("DELETE", f"/containers/{name}", query={"force": "1", "v": "1"})
        except Refused as refused:
            # 409: somebody else is removing it already.
            if refused.status not in (404, 409):
                raise

    async def _create(self, tracked: Tracked, conceded: frozenset[Concession]) -> Inspected | None:
        """None: created now. Otherwise what an earlier process left under the name.

        Raises:
            Refused: the engine does not take the body.
        """
        spec = tracked.spec
        draft = compose(
            spec,
            yard_id=self._yard_id,
            policy=self._policy,
            host=self._host,
            host_network=await self._host_network.mode() if spec.network_mode == HOST else HOST,
            conceded=conceded,
        )
        pulled = False
        while True:
            if tracked.halt.is_set() and await self._watcher.inspect(tracked.name) is None:
                raise NeverStarts(STOPPED_BEFORE_START)
            tracked.does("makes the container")
            try:
                await self._engine.call(
                    "POST",
                    "/containers/create",
                    query={"name": container_name(self._yard_id, spec.attempt_id)},
                    body=draft.body,
                    timeout_s=self._create_timeout_s,
                )
                self._failpoint("docker.after_create")
                return None
            except NoAnswerInTime:
                raise NeverStarts(timed_out("created", self._create_timeout_s)) from None
            except Refused as refused:
                taken = refused.status == 409 or "already in use" in refused.message
                if taken and (found := await self._watcher.inspect(tracked.name)) is not None:
                    return found
                if refused.status == 404 and "image" in refused.message.lower() and not pulled:
                    await self._pull(tracked)
                    pulled = True
                elif taken:
                    await asyncio.sleep(_NAME_FREED_S)  # it is being removed this moment
                else:
                    raise

    async def _pull(self, tracked: Tracked) -> None:
        tracked.does(f"pulls the image {tracked.spec.image}")
        pull = asyncio.ensure_future(self._puller.pull(tracked.spec.image))
        halted = asyncio.ensure_future(tracked.halt.wait())
        try:
            await asyncio.wait({pull, halted}, return_when=asyncio.FIRST_COMPLETED)
            if pull.done():
                await pull
        except NoAnswerInTime:
            raise NeverStarts(
                "CannotPullContainerError: Error response from daemon: the pull fell silent"
            ) from None
        except Refused as refused:
            raise NeverStarts(
                f"CannotPullContainerError: Error response from daemon: {refused.message}"
            ) from None
        finally:
            pull.cancel()
            halted.cancel()
            await asyncio.gather(pull, halted, return_exceptions=True)

    async def _check_program(self, tracked: Tracked) -> None:
        """Find out that the program is missing before an init process hides it behind a 127."""
        spec = tracked.spec
        if not spec.init:
            return  # the engine itself finds out at start
        key = (spec.image, json.dumps(spec.command[:1]), spec.environment.get("PATH", ""))
        if key in self._programs:
            return
        found = await self._watcher.inspect(tracked.name)
        if found is None or not found.program:
            return
        program = found.program
        if "/" in program:
            places = [posixpath.join(found.working_directory, program)]
            what = f'exec: "{program}": stat {program}: no such file or directory'
        else:
            places = [posixpath.join(place, program) for place in found.search_path.split(":")]
            what = f'exec: "{program}": executable file not found in $PATH'
        for place in places:
            try:
                await self._engine.head(
                    f"/containers/{tracked.name}/archive", query={"path": place}
                )
            except Refused as refused:
                if refused.status != 404:
                    return  # the engine cannot look; it decides at start
            else:
                # A mount may bring the program to this container only.
                if not spec.mounts and len(self._programs) < _MOST_PROGRAMS_REMEMBERED:
                    self._programs.add(key)
                return
        raise NeverStarts(
            "CannotStartContainerError: Error response from daemon: OCI runtime create failed: "
            f"unable to start container process: {what}"
        )


def _never_asked(tracked: Tracked, found: Inspected) -> bool:
    """Whether the container is this process's own, and its start was not asked for yet."""
    return not tracked.start_asked and found.created_ms >= tracked.known_since_ms


def timed_out(goal: str, waited_s: float) -> str:
    minutes, seconds = divmod(math.ceil(waited_s), 60)
    waited = f"{minutes}m{seconds}s" if minutes else f"{seconds}s"
    return f"DockerTimeoutError: Could not transition to {goal}; timed out after waiting {waited}"

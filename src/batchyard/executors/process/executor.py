"""ProcessExecutor: the driver for machines without a container engine.

Holds what the server knows of living attempts and turns reports and files into observations. The
files of an attempt (see the package) are the truth; everything here can be rebuilt from them.
"""

import asyncio
import contextlib
import hashlib
import os
import signal
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any

from batchyard.executors.policy import Policy
from batchyard.executors.port import (
    AttemptSpec,
    Ended,
    Failpoint,
    Lost,
    Observation,
    Probe,
    Sighting,
    Started,
    StartFailed,
    no_failpoint,
)
from batchyard.executors.process import cgroups, claim
from batchyard.executors.process.folder import GONE, AttemptFolder, delete_tree
from batchyard.executors.process.honour import Refused, honour, host_environment
from batchyard.executors.process.link import ShimLink
from batchyard.executors.process.reports import (
    Exit,
    Failed,
    Finished,
    Launched,
    Report,
    Request,
    Taken,
)
from batchyard.executors.process.tail import Tail
from batchyard.kernel.faults import BatchyardError, EngineUnavailable
from batchyard.logs.port import LogSink

OOM_REASON = "OutOfMemoryError: Container killed due to memory usage"
STOPPED_REASON = "CannotStartContainerError: the attempt was stopped before its command began"
TICK_S = 0.25
"""How often the output of running attempts is read."""
RETRY_S = 1.0
REMOVE_DEADLINE_S = 15.0
REMOVE_POLL_S = 0.01
_STEPS_PER_TICK = 4


class _Watched:
    """One attempt whose end has not been observed yet."""

    def __init__(self, spec: AttemptSpec, folder: AttemptFolder, tail: Tail) -> None:
        self.spec = spec
        self.folder = folder
        self.tail = tail
        self.request: Request | None = None
        self.notes: tuple[str, ...] = ()
        self.started: Started | None = None
        self.unforked = False
        """The machine refused a process; the next tick asks again."""
        self.unstored = False
        """The log store refused the output; it is still in the file."""
        self.ending = False
        self.removing = False
        self.pidfd = -1


class ProcessExecutor:
    """Runs commands as processes of this machine. See `batchyard.executors.process`."""

    name = "process"

    def __init__(
        self,
        *,
        home: Path,
        sink: LogSink,
        policy: Policy | None = None,
        use_cgroups: bool = True,
        base_environment: Mapping[str, str] | None = None,
        failpoint: Failpoint = no_failpoint,
    ) -> None:
        """Args:
        home: The yard's folder; attempts live in `<home>/attempts`.
        policy: What jobs may have; by default, what cannot be honoured is noted on the job.
        use_cgroups: False limits memory by rlimit even where control groups could.
        base_environment: What every job gets below its own environment; by default the
            server's search path and locale.
        """
        self._home = home.absolute()
        self._attempts = str(self._home / "attempts")
        self._sink = sink
        self._policy = policy if policy is not None else Policy()
        self._use_cgroups = use_cgroups
        self._failpoint = failpoint
        base = base_environment if base_environment is not None else host_environment(os.environ)
        self._base = dict(base)
        digest = hashlib.sha256(self._attempts.encode()).hexdigest()[:12]
        self._yard = f"batchyard-{digest}"
        self._watched: dict[str, _Watched] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._observe: Callable[[Observation], None] | None = None
        self._link: ShimLink | None = None
        self._layout: cgroups.Layout | None = None
        self._boot = ""

    async def open(self, observe: Callable[[Observation], None]) -> Probe:
        try:
            os.makedirs(self._attempts, mode=0o711, exist_ok=True)
            left = [entry.path for entry in os.scandir(self._attempts)]
        except OSError as error:
            raise EngineUnavailable(
                f"cannot use {self._attempts} for the attempts' folders: {error.strerror}",
                hint="Give the yard a home that its user may write to.",
            ) from error
        self._observe = observe
        self._boot = claim.boot_id()
        link = ShimLink(
            on_report=self._on_report,
            on_shim_death=self._on_shim_death,
            on_spawner_death=self._on_spawner_death,
        )
        await self._connect(link)
        self._link = link
        for path in left:
            if os.path.basename(path).startswith(GONE):
                self._keep(asyncio.to_thread(delete_tree, path))
        self._keep(self._tick())
        warnings = [
            "jobs run directly on this machine, not in containers: the `image` of a job is not"
            " used, and jobs can reach whatever this user can; install Docker or Podman to change"
            " that"
        ]
        if self._layout is None:
            warnings.append(
                "no control groups can be made here: memory is limited per process only, vCPUs are"
                " not enforced; run as root or in a delegated cgroup to change that"
            )
        kind = "rlimits" if self._layout is None else f"cgroup v{self._layout.version}"
        return Probe(engine=f"process ({kind})", warnings=tuple(warnings))

    async def start(self, spec: AttemptSpec) -> None:
        if spec.attempt_id in self._watched:
            return
        watched = self._watch(spec)
        try:
            created = watched.folder.create()
        except EngineUnavailable:
            del self._watched[spec.attempt_id]
            raise
        self._failpoint("process.after_folder")
        if created:
            self._send(watched)
        else:
            watched.tail.resume()
            self._examine(watched)

    async def stop(self, attempt_id: str, *, grace_s: float = 30.0) -> None:
        folder = AttemptFolder(self._attempts, attempt_id)
        try:
            if folder.read_exit() is not None:
                return
            folder.ask_stop(int(grace_s * 1000))
            if folder.take_for_nobody():
                failed = folder.refuse(STOPPED_REASON, at_ms=_now_ms())
                watched = self._watched.get(attempt_id)
                if watched is not None:
                    self._end(watched, failed)
                return
        except FileNotFoundError:
            return  # unknown
        self._signal(folder)

    async def adopt(self, spec: AttemptSpec) -> None:
        watched = self._watched.get(spec.attempt_id)
        if watched is not None:
            if watched.started is not None:
                self._tell(watched.started)
            return
        watched = self._watch(spec)
        watched.tail.resume()
        self._examine(watched)

    async def list(self) -> list[Sighting]:
        return [*await asyncio.to_thread(self._sightings)]

    async def remove(self, attempt_id: str) -> None:
        folder = AttemptFolder(self._attempts, attempt_id)
        if folder.exists():
            if folder.read_exit() is None and not folder.take_for_nobody():
                await self._kill(folder)
            self._forget(attempt_id)
            self._failpoint("process.before_delete")
            doomed = folder.delete()
            if doomed is not None:
                await asyncio.to_thread(delete_tree, doomed)
            if self._layout is not None:
                cgroups.delete(self._layout, attempt_id)
        self._forget(attempt_id)

    def doing(self, attempt_id: str) -> None:
        return None

    def trouble(self) -> None:
        return None

    async def close(self) -> None:
        link, self._link = self._link, None
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for watched in self._watched.values():
            self._unwatch(watched)
        self._watched.clear()
        if link is not None:
            await link.close()
            if self._layout is not None:
                await asyncio.to_thread(cgroups.delete_yard, self._layout)

    def _watch(self, spec: AttemptSpec) -> _Watched:
        folder = AttemptFolder(self._attempts, spec.attempt_id)
        tail = Tail(folder.output, self._sink, group=spec.log_group, stream=spec.log_stream)
        watched = self._watched[spec.attempt_id] = _Watched(spec, folder, tail)
        try:
            honoured = honour(
                spec,
                folder=folder.path,
                policy=self._policy,
                layout=self._layout,
                base=self._base,
            )
            watched.request, watched.notes = honoured.request, honoured.notes
        except Refused as error:
            watched.notes = (str(error),)
        return watched

    def _send(self, watched: _Watched) -> None:
        """Have the attempt run; or, where it must not, fail it for ever."""
        if watched.request is not None:
            if self._link is not None:
                self._link.send(watched.request)
        elif watched.folder.take_for_nobody():
            reason = f"CannotStartContainerError: {watched.notes[0]}"
            self._end(watched, watched.folder.refuse(reason, at_ms=_now_ms()))

    def _on_report(self, report: Report) -> None:
        watched = self._watched.get(getattr(report, "attempt_id", ""))
        if watched is None or watched.ending:
            return
        match report:
            case Launched():
                self._tell_started(watched, at_ms=report.at_ms, handle=report.handle)
            case Finished() | Failed():
                self._end(watched, report)
            case Taken():
                self._examine(watched)
            case _:
                pass

    def _on_shim_death(self, attempt_id: str) -> None:
        watched = self._watched.get(attempt_id)
        if watched is None or watched.ending:
            return
        if watched.folder.claim_text() is None and watched.folder.exists():
            watched.unforked = True
        else:
            self._examine(watched)

    def _examine(self, watched: _Watched) -> None:
        """Find out from the files where the attempt stands."""
        folder = watched.folder
        ended = folder.read_exit()
        if ended is not None:
            self._end(watched, ended)
            return
        text = folder.claim_text()
        if text is None:
            if folder.exists():
                self._send(watched)
            else:
                self._lose(watched, f"{folder.path} is gone")
            return
        if text == claim.NOBODY:
            # A server died between taking the attempt for nobody and writing so.
            self._end(watched, folder.refuse(STOPPED_REASON, at_ms=_now_ms()))
            return
        identity = claim.parse(text)
        pidfd = None if identity is None else claim.open_if_alive(identity, self._boot)
        if pidfd is not None:
            self._unwatch(watched)
            watched.pidfd = pidfd
            asyncio.get_running_loop().add_reader(pidfd, self._shim_ended, watched)
            self._tell_started(watched, at_ms=folder.claimed_at_ms(), handle=text)
            return
        # ORDER: read again now that the shim is known to be dead: it may have ended in between.
        ended = folder.read_exit()
        if ended is not None:
            self._end(watched, ended)
            return
        watched.ending = True
        self._keep(self._bury(watched))

    def _shim_ended(self, watched: _Watched) -> None:
        self._unwatch(watched)
        if not watched.ending:
            self._examine(watched)

    def _unwatch(self, watched: _Watched) -> None:
        if watched.pidfd >= 0:
            asyncio.get_running_loop().remove_reader(watched.pidfd)
            os.close(watched.pidfd)
            watched.pidfd = -1

    def _tell_started(self, watched: _Watched, *, at_ms: int, handle: str) -> None:
        if watched.started is None:
            watched.started = Started(
                attempt_id=watched.spec.attempt_id, at_ms=at_ms, handle=handle, notes=watched.notes
            )
            watched.tail.make_stream()
            self._tell(watched.started)

    def _end(self, watched: _Watched, ended: Exit) -> None:
        watched.ending = True
        self._unwatch(watched)
        # Most jobs say little: no task for those.
        if self._pump_once(watched, final=True):
            self._tell_end(watched, ended)
        else:
            self._keep(self._pump_and_end(watched, ended))

    async def _pump_and_end(self, watched: _Watched, ended: Exit) -> None:
        await self._pump_all(watched)
        self._tell_end(watched, ended)

    async def _pump_all(self, watched: _Watched) -> None:
        done = False
        while not done:
            done = self._pump_once(watched, final=True)
            await asyncio.sleep(RETRY_S if watched.unstored else 0)

    def _pump_once(self, watched: _Watched, *, final: bool) -> bool:
        """Read one chunk of output; True when all of it is in the log store."""
        watched.unstored = False
        try:
            if watched.tail.step(now_ms=_now_ms()):
                return False
            if final:
                watched.tail.finish(now_ms=_now_ms())
        except (OSError, BatchyardError):
            watched.unstored = True  # the store is unwell: the file keeps the output meanwhile
            return False
        return True

    def _tell_end(self, watched: _Watched, ended: Exit) -> None:
        if self._watched.get(watched.spec.attempt_id) is not watched or watched.removing:
            return  # its end is nobody's news any more
        del self._watched[watched.spec.attempt_id]
        attempt_id = watched.spec.attempt_id
        if isinstance(ended, Finished):
            self._tell(
                Ended(
                    attempt_id=attempt_id,
                    at_ms=max(ended.at_ms, ended.started_at_ms),
                    started_at_ms=ended.started_at_ms,
                    exit_code=ended.exit_code,
                    reason=OOM_REASON if ended.oom else None,
                    notes=(*watched.notes, *ended.notes),
                )
            )
        elif watched.started is not None:
            # Adopted in the moment between the claim and the command: a start was told too soon.
            at_ms, started = max(ended.at_ms, watched.started.at_ms), watched.started.at_ms
            self._tell(
                Ended(
                    attempt_id=attempt_id,
                    at_ms=at_ms,
                    started_at_ms=started,
                    exit_code=127,
                    reason=ended.reason,
                )
            )
        else:
            self._tell(StartFailed(attempt_id=attempt_id, at_ms=ended.at_ms, reason=ended.reason))

    def _lose(self, watched: _Watched, detail: str) -> None:
        if self._watched.get(watched.spec.attempt_id) is watched and not watched.removing:
            del self._watched[watched.spec.attempt_id]
            watched.ending = True
            self._tell(Lost(attempt_id=watched.spec.attempt_id, at_ms=_now_ms(), detail=detail))

    async def _bury(self, watched: _Watched) -> None:
        """The shim died without an exit file: end what it left behind, save the output, tell."""
        await asyncio.to_thread(self._kill_remains, watched.folder)
        await self._pump_all(watched)
        self._lose(watched, "the process that watched it is gone and left no exit code")

    def _kill_remains(self, folder: AttemptFolder) -> None:
        identity = folder.shim()
        if identity is None or identity.boot_id != self._boot:
            return
        for _ in range(100):
            fields = claim.stat_fields(identity.pid)
            # The number of a dead shim's session is free again once its last member is gone.
            reused = fields is not None and int(fields[19]) != identity.start_time
            members = [] if reused else claim.session_members(identity.pid)
            for pid in members:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            if self._layout is not None:
                cgroups.kill(self._layout, folder.attempt_id)
                members += cgroups.members(self._layout, folder.attempt_id)
            if not members:
                break
            time.sleep(0.02)
        if self._layout is not None:
            cgroups.delete(self._layout, folder.attempt_id)

    def _signal(self, folder: AttemptFolder) -> None:
        identity = folder.shim()
        pidfd = None if identity is None else claim.open_if_alive(identity, self._boot)
        if pidfd is None:
            return
        try:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(pidfd, signal.SIGTERM)
        finally:
            os.close(pidfd)

    async def _kill(self, folder: AttemptFolder) -> None:
        """End an attempt and wait until nothing of it is left."""
        watched = self._watched.get(folder.attempt_id)
        if watched is not None:
            watched.removing = True
        with contextlib.suppress(FileNotFoundError):
            folder.ask_stop(0)
        self._signal(folder)
        deadline = time.monotonic() + REMOVE_DEADLINE_S
        identity = folder.shim()
        while folder.read_exit() is None and time.monotonic() < deadline:
            pidfd = None if identity is None else claim.open_if_alive(identity, self._boot)
            if pidfd is None:
                break
            os.close(pidfd)
            await asyncio.sleep(REMOVE_POLL_S)  # the shim may serve others: it need not exit
        if folder.read_exit() is None:
            await asyncio.to_thread(self._kill_remains, folder)

    def _forget(self, attempt_id: str) -> None:
        watched = self._watched.pop(attempt_id, None)
        if watched is not None:
            watched.ending = True
            self._unwatch(watched)

    def _sightings(self) -> Sequence[Sighting]:
        found = []
        with os.scandir(self._attempts) as entries:
            names = [entry.name for entry in entries if not entry.name.startswith(".")]
        for name in names:
            folder = AttemptFolder(self._attempts, name)
            state = folder.state(self._boot)
            found.append(
                Sighting(attempt_id=name, handle=folder.claim_text() or folder.path, state=state)
            )
        return found

    async def _connect(self, link: ShimLink) -> None:
        hello = await link.open(
            yard=self._yard, use_cgroups=self._use_cgroups, log=self._home / "spawner.log"
        )
        self._layout = hello.layout

    def _on_spawner_death(self) -> None:
        if self._link is not None:
            self._keep(self._respawn(self._link))

    async def _respawn(self, link: ShimLink) -> None:
        """Start another spawner. The shims of the dead one live on and keep their channels."""
        while self._link is link:
            try:
                await self._connect(link)
                return
            except EngineUnavailable:
                await asyncio.sleep(RETRY_S)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            for watched in list(self._watched.values()):
                if watched.ending:
                    continue
                if watched.unforked:
                    watched.unforked = False
                    self._examine(watched)
                    continue
                for _ in range(_STEPS_PER_TICK):
                    if self._pump_once(watched, final=False):
                        break

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._drop)

    def _drop(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            said = {"message": "process executor: a background task failed", "exception": error}
            task.get_loop().call_exception_handler(said)

    def _tell(self, observation: Observation) -> None:
        if self._observe is not None:
            self._observe(observation)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000

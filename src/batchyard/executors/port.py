"""The contract between the yard and a driver that runs attempts.

An executor starts, stops, watches and recovers attempts. It never decides the state of a job: it
reports observations, and the kernel judges them (they may be stale or repeated). Everything an
executor creates carries a name derived from the attempt id, so that "created, but the answer was
lost" is resolved by looking the name up.
"""

from collections.abc import Callable
from typing import Literal, Protocol

import msgspec

from batchyard.kernel.faults import EngineUnavailable


class Ulimit(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    soft: int
    hard: int


class Mount(msgspec.Struct, frozen=True, kw_only=True):
    """One mount point with its volume resolved. `source` None: an anonymous volume."""

    target: str
    source: str | None = None
    read_only: bool = False


class Device(msgspec.Struct, frozen=True, kw_only=True):
    host_path: str
    container_path: str
    permissions: str = "rwm"


class Tmpfs(msgspec.Struct, frozen=True, kw_only=True):
    path: str
    size_mib: int
    options: tuple[str, ...] = ()


class AttemptSpec(msgspec.Struct, frozen=True, kw_only=True):
    """All a driver needs to run one attempt. Values are final: merged, substituted, injected."""

    attempt_id: str
    """Unique and safe as a file, container or label name: `<uuid>[.i<index>].a<attempt>`."""
    job_id: str
    attempt: int
    """1-based."""
    job_name: str
    image: str
    command: tuple[str, ...]
    environment: dict[str, str]
    vcpu_milli: int
    memory_mib: int
    gpu_ids: tuple[str, ...] = ()
    user: str = ""
    privileged: bool = False
    read_only_root: bool = False
    init: bool = True
    ulimits: tuple[Ulimit, ...] = ()
    mounts: tuple[Mount, ...] = ()
    devices: tuple[Device, ...] = ()
    tmpfs: tuple[Tmpfs, ...] = ()
    shared_memory_mib: int | None = None
    max_swap_mib: int | None = None
    swappiness: int | None = None
    network_mode: Literal["host", "none", "bridge"] = "host"
    log_group: str = "/aws/batch/job"
    log_stream: str = ""
    mock: dict[str, str] = {}
    """For the mock executor only: the job's parameters, such as `run_for` or `exit_code`."""


class Started(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The attempt's main process is running. `notes` say in plain words what was degraded."""

    attempt_id: str
    at_ms: int
    handle: str
    notes: tuple[str, ...] = ()


class Ended(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The attempt's main process has ended and all of its output is in the log store.

    `exit_code` is the true one (128 + signal when killed). `reason` is ECS's container reason
    (`OutOfMemoryError: ...`), only where AWS would give one. `started_at_ms` lets the kernel insert
    a RUNNING that was never observed.
    """

    attempt_id: str
    at_ms: int
    started_at_ms: int
    exit_code: int
    reason: str | None = None
    notes: tuple[str, ...] = ()


class StartFailed(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The attempt never ran and never will.

    `reason` is an ECS text: `CannotPullContainerError: ...`.
    """

    attempt_id: str
    at_ms: int
    reason: str


class Lost(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The attempt ran and is gone without a trace of its exit: host crash, files removed."""

    attempt_id: str
    at_ms: int
    detail: str


Observation = Started | Ended | StartFailed | Lost


class Sighting(msgspec.Struct, frozen=True, kw_only=True):
    """Something of this yard that the engine holds, found by label or by folder."""

    attempt_id: str
    handle: str
    state: Literal["created", "running", "ended"]


class Probe(msgspec.Struct, frozen=True, kw_only=True):
    """What the driver found at `open`. `warnings` are said loudly at start; `notes` on each job."""

    engine: str
    """`docker 20.10.24`, `podman 4.3.1`, `process (cgroup v1)`, `mock`."""
    warnings: tuple[str, ...] = ()


class Doing(msgspec.Struct, frozen=True, kw_only=True):
    """What the engine is busy with for an attempt that is to start.

    `what` completes "the engine ...": `pulls the image debian:stable`.
    """

    what: str
    since_ms: int


Failpoint = Callable[[str], None]
"""Called by drivers at named places, where a fault test may kill the process."""


def no_failpoint(name: str, /) -> None:
    """The failpoint of a driver that nobody wants to kill."""


class Executor(Protocol):
    """A driver. All methods are idempotent by attempt id and safe to call concurrently.

    Life: `open` once; then `adopt` for each live attempt that survived a restart; then `start`,
    `stop`, `remove` at will; `close` at the end. `close` leaves running attempts running.
    """

    name: str

    async def open(self, observe: Callable[[Observation], None]) -> Probe:
        """Connect and probe.

        `observe` is called on the event loop, once per fact (repeats allowed).

        Raises:
            EngineUnavailable: no engine answers; the message says how to start one.
        """

    async def start(self, spec: AttemptSpec) -> None:
        """Begin the attempt and watch it. Returns when the request is durable in the engine.

        Success means that exactly one of StartFailed, Ended or Lost will be observed for it in
        time, also by a later process after `adopt`. A second call for a known attempt does nothing
        but make sure that it is watched. A spec that can never start is reported as StartFailed,
        not raised.

        Raises:
            EngineUnavailable: nothing was started, or it is unknown; call again later.
        """

    async def stop(self, attempt_id: str, *, grace_s: float = 30.0) -> None:
        """SIGTERM now, SIGKILL after `grace_s`. Returns at once; `Ended` follows.

        An attempt that is unknown or already ended is no error. An attempt that was created but
        not yet started must not start any more.
        """

    async def adopt(self, spec: AttemptSpec) -> None:
        """Watch an attempt that an earlier process started; report its present state soon.

        Reports Started if it runs, Ended (again) if it ended, Lost if the engine never heard of it
        or has forgotten it. Output since the sink's position is pumped before Ended.
        """

    async def list(self) -> list[Sighting]:
        """Everything of this yard that the engine holds, ended attempts included."""

    async def remove(self, attempt_id: str) -> None:
        """Forget an attempt: kill it if it still lives, delete its container or scratch folder."""

    def doing(self, attempt_id: str) -> Doing | None:
        """What the start of an attempt waits for, for whoever asks why it does not run yet.

        None: it does not wait, or this driver has no steps worth telling.
        """

    def trouble(self) -> EngineUnavailable | None:
        """Why the engine does not answer at present; None while it does."""

    async def close(self) -> None:
        """Stop watching and release connections. Running attempts go on."""

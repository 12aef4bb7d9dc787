"""What the spawner and the shims tell the server, and the request a shim gets. Server side only."""

import msgspec

from batchyard.executors.process.cgroups import Layout, Limits


class Hello(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="hello"):
    layout: Layout | None


class Taken(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="taken"):
    attempt_id: str


class Launched(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="started"):
    attempt_id: str
    at_ms: int
    handle: str


class Finished(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="ended"):
    attempt_id: str
    at_ms: int
    started_at_ms: int
    exit_code: int
    oom: bool
    notes: tuple[str, ...]


class Failed(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="failed"):
    attempt_id: str
    at_ms: int
    reason: str


Exit = Finished | Failed
"""What the file `exit` holds."""
Report = Hello | Taken | Launched | Exit


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """All that a shim needs. Travels on the socket only: the environment may hold secrets."""

    attempt_id: str
    folder: str
    argv: tuple[str, ...]
    environment: dict[str, str]
    limits: Limits
    rlimits: tuple[tuple[int, int, int], ...]
    uid: int | None = None
    gid: int | None = None
    groups: tuple[int, ...] = ()

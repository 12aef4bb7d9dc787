"""The engine's answer about one container as a value. Pure."""

import re
from pathlib import Path
from typing import Any, Literal

import msgspec

from batchyard.executors.docker.frames import parse_time_ns

LABEL_YARD = "batchyard.yard"
LABEL_ATTEMPT = "batchyard.attempt"
LABEL_JOB = "batchyard.job"
LABEL_NOTES = "batchyard.notes"
LABEL_HOLDER = "batchyard.host-network"
"""On the idle container of `host_network`, which is no attempt and has no other label."""

_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_NEVER = "0001-01-01T00:00:00Z"

State = Literal["created", "running", "ended"]

MADE_UP = frozenset({0, 255})
"""Exit codes that Docker writes down for an end that it did not see."""


class Inspected(msgspec.Struct, frozen=True, kw_only=True):
    container_id: str
    state: State
    created_ms: int
    """0: the engine does not say."""
    started_ms: int
    finished_ms: int
    exit_code: int
    oom_killed: bool
    program: str
    working_directory: str
    search_path: str
    attempt_id: str
    notes: tuple[str, ...]
    pid: int = 0
    """Of the first process, as the engine sees it; 0 when it runs none."""
    start_missed: bool = False
    """It runs, and the engine learnt of that from hearsay: it may have missed the end as well."""
    guessed: bool = False
    """The engine never saw the start, and its exit code is one it makes up when it saw no end."""


def read_inspected(answer: dict[str, Any]) -> Inspected | None:
    """None: the container is being removed and never ran, so it is as good as gone."""
    state = answer["State"]
    if state["Status"] in ("removing", "dead") and not parse_time_ns(state["StartedAt"]):
        return None
    created_ms = parse_time_ns(answer.get("Created") or _NEVER) // 1_000_000
    started_ms = parse_time_ns(state["StartedAt"]) // 1_000_000
    finished_ms = parse_time_ns(state["FinishedAt"]) // 1_000_000
    now = read_state(str(state["Status"]))
    missed = now == "created" and finished_ms > 0
    if missed:
        # Docker learnt of the start from containerd's event only, as it was killed in between: the
        # container has no start time then, and is called `created` again when it has ended.
        now = "ended"
    hearsay = now == "running" and not started_ms
    if now != "created" and not started_ms:
        started_ms = created_ms
    config = answer["Config"]
    labels = config.get("Labels") or {}
    variables = dict(entry.partition("=")[::2] for entry in config.get("Env") or [])
    return Inspected(
        container_id=answer["Id"],
        state=now,
        created_ms=created_ms,
        started_ms=started_ms,
        finished_ms=finished_ms,
        exit_code=int(state["ExitCode"]),
        oom_killed=bool(state.get("OOMKilled")),
        program=_program(str(answer.get("Path") or ""), answer.get("Args") or []),
        working_directory=str(config.get("WorkingDir") or "/"),
        search_path=variables.get("PATH", _DEFAULT_PATH),
        attempt_id=str(labels.get(LABEL_ATTEMPT, "")),
        notes=msgspec.json.decode(labels.get(LABEL_NOTES, "[]"), type=tuple[str, ...]),
        pid=int(state.get("Pid") or 0),
        start_missed=hearsay,
        guessed=missed and int(state["ExitCode"]) in MADE_UP,
    )


def read_state(status: str) -> State:
    """The engine's word for a container's state as ours (Docker's and Podman's words)."""
    if status in ("created", "configured", "initialized"):
        return "created"
    if status in ("exited", "dead", "removing", "stopped"):
        return "ended"
    return "running"


def _program(path: str, arguments: list[str]) -> str:
    # Podman shows its init process: `/run/podman-init -- program`.
    if path.endswith("init") and arguments[:1] == ["--"]:
        return "".join(arguments[1:2])
    return path


def interrupted_by_reboot(found: Inspected, boot_ms: int) -> bool:
    """Whether the machine went down under the container, so that its exit code says nothing.

    After a crash of the machine, Docker reports 255 and the time at which it noticed.
    """
    return found.exit_code == 255 and found.started_ms < boot_ms <= found.finished_ms


def boot_time_ms(proc: Path = Path("/proc")) -> int:
    found = re.search(r"^btime (\d+)", (proc / "stat").read_text(), re.MULTILINE)
    return int(found.group(1)) * 1000 if found else 0

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from batchyard.executors.docker.forgotten import (
    created_by_an_earlier_life,
    end_processes,
    engine_began_ms,
    is_gone,
)
from batchyard.executors.docker.inspected import Inspected, read_inspected
from batchyard.kernel.faults import EngineUnavailable

CONTAINER = "7e1d" * 16
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def lay_down(
    proc: Path,
    pid: int,
    *,
    name: str,
    age_s: float = 60,
    cgroup: str = "/",
    state: str = "S",
    **files: bytes,
) -> None:
    folder = proc / str(pid)
    folder.mkdir(parents=True)
    began_s = time.clock_gettime(time.CLOCK_BOOTTIME) - age_s
    fields = [state, *["0"] * 18, str(int(began_s * TICKS_PER_S)), "0"]
    (folder / "comm").write_text(f"{name}\n")
    (folder / "stat").write_text(f"{pid} (a) (b) {' '.join(fields)}\n")
    (folder / "cgroup").write_text(f"0::{cgroup}\n")
    (folder / "cmdline").write_bytes(files.get("cmdline", b""))


def ago_ms(age_s: float) -> Any:
    return pytest.approx((time.time() - age_s) * 1000, abs=2000)


def test_the_daemon_on_the_socket_tells_its_age(tmp_path: Path) -> None:
    lay_down(tmp_path, 40, name="dockerd", age_s=9000)
    lay_down(tmp_path, 41, name="dockerd", age_s=300)
    assert engine_began_ms(40, tmp_path) == ago_ms(9000)


def test_where_systemd_holds_the_socket_the_newest_daemon_counts(tmp_path: Path) -> None:
    lay_down(tmp_path, 1, name="systemd", age_s=90000)
    lay_down(tmp_path, 40, name="dockerd", age_s=9000)
    lay_down(tmp_path, 41, name="dockerd", age_s=300)
    lay_down(tmp_path, 42, name="bash", age_s=10)
    assert engine_began_ms(1, tmp_path) == ago_ms(300)


@pytest.mark.parametrize("listener", [0, 1, 7, 40])
def test_an_engine_out_of_sight_has_no_age(tmp_path: Path, listener: int) -> None:
    lay_down(tmp_path, 1, name="systemd")
    lay_down(tmp_path, 7, name="socat")
    assert engine_began_ms(listener, tmp_path) is None


def test_no_engine_at_all_is_no_answer(tmp_path: Path) -> None:
    never = "0001-01-01T00:00:00Z"
    state = {"Status": "created", "StartedAt": never, "FinishedAt": never, "ExitCode": 0}
    found = read_inspected(
        {"Id": CONTAINER, "Created": "2026-01-02T03:04:05.678Z", "State": state, "Config": {}}
    )
    assert found is not None
    assert found.created_ms == 1_767_323_045_678
    with pytest.raises(EngineUnavailable, match="went away"):
        created_by_an_earlier_life(found, str(tmp_path / "none.sock"))


@pytest.fixture
def engine_socket(tmp_path: Path) -> Iterator[str]:
    """Of an engine that is 300 s old, in the process file system `tmp_path / "proc"`."""
    lay_down(tmp_path / "proc", os.getpid(), name="dockerd", age_s=300)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        yield str(tmp_path / "s")


def running(pid: int = 50, **state: str) -> Inspected:
    """What the engine says of a container that it calls running."""
    never = "0001-01-01T00:00:00Z"
    told = {"Status": "running", "StartedAt": never, "FinishedAt": never, "ExitCode": 0, "Pid": pid}
    found = read_inspected(
        {
            "Id": CONTAINER,
            "Created": "2026-01-02T03:04:05.678Z",
            "State": told | state,
            "Config": {},
        }
    )
    assert found is not None
    return found


def test_of_a_start_without_a_time_the_end_may_be_missed() -> None:
    assert running().start_missed
    assert not running(StartedAt="2026-01-02T03:04:06Z").start_missed
    assert not running(Status="created").start_missed


@pytest.mark.parametrize(
    ("process", "gone"),
    [
        (None, True),
        ({"state": "Z"}, True),
        ({"cgroup": f"/docker/{CONTAINER}", "state": "Z"}, True),
        ({"cgroup": f"/docker/{CONTAINER}"}, False),
        # No control group tells: one that is older than the engine is the container's...
        ({"age_s": 400}, False),
        # ...and a younger one has been given its id since.
        ({"age_s": 200}, True),
    ],
)
def test_what_the_engine_calls_running_is_looked_for(
    tmp_path: Path, engine_socket: str, process: dict[str, Any] | None, gone: bool
) -> None:
    if process is not None:
        lay_down(tmp_path / "proc", 50, name="sh", **({"age_s": 400} | process))
    assert is_gone(running(50), engine_socket, tmp_path / "proc") is gone


def test_a_child_that_lives_is_the_container_living(tmp_path: Path, engine_socket: str) -> None:
    lay_down(tmp_path / "proc", 51, name="sh", cgroup=f"/docker/{CONTAINER}")
    assert not is_gone(running(50), engine_socket, tmp_path / "proc")


def test_what_cannot_be_seen_is_not_gone(tmp_path: Path, engine_socket: str) -> None:
    assert not is_gone(running(0), engine_socket, tmp_path / "proc")
    assert not is_gone(running(50), str(tmp_path / "none.sock"), tmp_path / "proc")
    assert not is_gone(running(50), engine_socket, tmp_path / "elsewhere")


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "600"]) as process:
        yield process
        process.kill()


def test_only_a_containers_own_processes_are_killed(
    tmp_path: Path, sleeper: subprocess.Popen[bytes]
) -> None:
    other = f"/docker/{'00' * 32}"
    lay_down(tmp_path, sleeper.pid, name="sh", cgroup=other, cmdline=CONTAINER.encode())
    end_processes(CONTAINER, proc=tmp_path)
    assert sleeper.poll() is None


@pytest.mark.parametrize("cgroup", [f"/docker/{CONTAINER}", f"/a/docker-{CONTAINER}.scope/x"])
def test_what_does_not_end_is_told(
    tmp_path: Path, sleeper: subprocess.Popen[bytes], cgroup: str
) -> None:
    # In these files it lives for ever, as one does that hangs in the kernel.
    lay_down(tmp_path, sleeper.pid, name="sh", cgroup=cgroup)
    with pytest.raises(EngineUnavailable, match=str(sleeper.pid)) as caught:
        end_processes(CONTAINER, proc=tmp_path, deadline_s=0.1)
    assert f"kill -9 {sleeper.pid}" in caught.value.hint
    assert sleeper.wait(10) == -9


def test_the_shim_is_killed_and_not_waited_for(
    tmp_path: Path, sleeper: subprocess.Popen[bytes]
) -> None:
    line = f"/usr/bin/containerd-shim-runc-v2\0-id\0{CONTAINER}\0".encode()
    lay_down(tmp_path, sleeper.pid, name="containerd-shim", cmdline=line)
    end_processes(CONTAINER, proc=tmp_path)
    assert sleeper.wait(10) == -9


@pytest.mark.parametrize(
    ("status", "finished", "expected"),
    [
        ("created", "0001-01-01T00:00:00Z", ("created", 0)),
        ("running", "0001-01-01T00:00:00Z", ("running", 1_767_323_045_678)),
        ("created", "2026-01-02T04:00:00Z", ("ended", 1_767_323_045_678)),
    ],
)
def test_a_start_known_from_containerd_alone_has_no_time(
    status: str, finished: str, expected: tuple[str, int]
) -> None:
    never = "0001-01-01T00:00:00Z"
    state = {"Status": status, "StartedAt": never, "FinishedAt": finished, "ExitCode": 9}
    found = read_inspected(
        {"Id": CONTAINER, "Created": "2026-01-02T03:04:05.678Z", "State": state, "Config": {}}
    )
    assert found is not None
    assert (found.state, found.started_ms) == expected


@pytest.mark.parametrize(
    ("status", "exit_code", "guessed"),
    [
        ("created", 0, True),
        ("created", 255, True),
        ("created", 9, False),
        ("exited", 0, False),
        ("exited", 255, False),
    ],
)
def test_only_a_made_up_code_after_a_missed_start_is_a_guess(
    status: str, exit_code: int, guessed: bool
) -> None:
    started = "0001-01-01T00:00:00Z" if status == "created" else "2026-01-02T03:30:00Z"
    state = {
        "Status": status,
        "StartedAt": started,
        "FinishedAt": "2026-01-02T04:00:00Z",
        "ExitCode": exit_code,
    }
    found = read_inspected(
        {"Id": CONTAINER, "Created": "2026-01-02T03:04:05.678Z", "State": state, "Config": {}}
    )
    assert found is not None
    assert found.state == "ended"
    assert found.guessed is guessed

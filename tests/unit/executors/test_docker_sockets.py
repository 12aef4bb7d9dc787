from pathlib import Path
from typing import Any

import pytest

from batchyard.executors.docker.inspected import (
    boot_time_ms,
    interrupted_by_reboot,
    read_inspected,
    read_state,
)
from batchyard.executors.docker.oom import killed_for_memory
from batchyard.executors.docker.sockets import (
    HardLimits,
    candidates,
    first_socket,
    hard_limits,
)
from batchyard.kernel.faults import EngineUnavailable

LIMITS = """\
Limit                     Soft Limit           Hard Limit           Units     \n\
Max cpu time              unlimited            unlimited            seconds   \n\
Max processes             96365                96365                processes \n\
Max open files            1024                 20000                files     \n\
"""


def test_a_setting_is_the_only_candidate() -> None:
    assert candidates({"DOCKER_HOST": "unix:///b.sock"}, "/a.sock") == ("/a.sock",)
    assert candidates({"DOCKER_HOST": "unix:///b.sock"}) == ("/b.sock",)


def test_the_usual_places_in_order() -> None:
    assert candidates({"XDG_RUNTIME_DIR": "/run/user/7", "HOME": "/home/me"}) == (
        "/var/run/docker.sock",
        "/run/user/7/podman/podman.sock",
        "/run/podman/podman.sock",
        "/run/user/7/docker.sock",
        "/home/me/.docker/run/docker.sock",
    )


def test_an_address_that_is_no_socket_is_an_error() -> None:
    with pytest.raises(EngineUnavailable, match="not a Unix socket"):
        candidates({"DOCKER_HOST": "tcp://127.0.0.1:2375"})


def test_no_engine_names_what_was_tried_and_how_to_start_one(tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailable, match=r"none\.sock \(No such file") as caught:
        first_socket((str(tmp_path / "none.sock"),))
    assert "podman system service" in caught.value.hint


def fake_proc(tmp_path: Path, *, capabilities: str, uid_map: str) -> Path:
    for path, text in {
        "42/status": f"Name:\tdockerd\nCapBnd:\t{capabilities}\n",
        "42/limits": LIMITS,
        "42/uid_map": uid_map,
        "sys/fs/nr_open": "1048576\n",
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    return tmp_path


def test_without_the_capability_the_hard_limits_hold(tmp_path: Path) -> None:
    proc = fake_proc(tmp_path, capabilities="000001fffeffffff", uid_map="0 0 4294967295")
    assert hard_limits(42, proc).highest == {"cpu": -1, "nproc": 96_365, "nofile": 20_000}


def test_with_the_capability_only_the_kernels_own_bound_holds(tmp_path: Path) -> None:
    proc = fake_proc(tmp_path, capabilities="000001ffffffffff", uid_map="0 0 4294967295")
    assert hard_limits(42, proc).highest == {"nofile": 1_048_576}


def test_a_capability_in_a_user_namespace_of_its_own_does_not_count(tmp_path: Path) -> None:
    proc = fake_proc(tmp_path, capabilities="000001ffffffffff", uid_map="0 1000 1")
    assert hard_limits(42, proc).highest["nofile"] == 20_000


def test_limits_that_cannot_be_read_are_not_claimed(tmp_path: Path) -> None:
    assert hard_limits(42, tmp_path) == HardLimits()


@pytest.mark.parametrize(
    ("status", "state"),
    [("created", "created"), ("configured", "created"), ("running", "running"),
     ("stopping", "running"), ("paused", "running"), ("exited", "ended"), ("dead", "ended")],
)  # fmt: skip
def test_states(status: str, state: str) -> None:
    assert read_state(status) == state


def answer(**state: Any) -> dict[str, Any]:
    return {
        "Id": "c1",
        "Path": "/run/podman-init",
        "Args": ["--", "echo", "hi"],
        "State": {
            "Status": "exited",
            "ExitCode": 255,
            "StartedAt": "2026-01-01T00:00:00Z",
            "FinishedAt": "2026-01-01T01:00:00.25Z",
        }
        | state,
        "Config": {"Env": ["PATH=/bin", "X=a=b"], "Labels": {"batchyard.notes": '["n"]'}},
    }


def test_reading_an_inspection() -> None:
    found = read_inspected(answer())
    assert found is not None
    assert found.program == "echo"
    assert found.search_path == "/bin"
    assert found.notes == ("n",)
    assert found.finished_ms - found.started_ms == 3_600_250


def test_a_reboot_in_between_makes_the_exit_code_meaningless() -> None:
    found = read_inspected(answer())
    assert found is not None
    assert interrupted_by_reboot(found, found.started_ms + 1)
    assert not interrupted_by_reboot(found, found.started_ms - 1)
    assert not interrupted_by_reboot(found, found.finished_ms + 1)
    other = read_inspected(answer(ExitCode=1))
    assert other is not None
    assert not interrupted_by_reboot(other, found.started_ms + 1)


def test_what_is_removed_before_it_ever_ran_did_not_end_with_zero() -> None:
    never = "0001-01-01T00:00:00Z"
    assert read_inspected(answer(Status="removing", StartedAt=never, ExitCode=0)) is None
    assert read_inspected(answer(Status="removing")) is not None


def test_boot_time(tmp_path: Path) -> None:
    (tmp_path / "stat").write_text("cpu 1 2\nbtime 1700000000\nprocesses 5\n")
    assert boot_time_ms(tmp_path) == 1_700_000_000_000


def test_nothing_is_claimed_where_the_kernels_log_cannot_be_read(tmp_path: Path) -> None:
    assert not killed_for_memory("c1", str(tmp_path / "none"))
    log = tmp_path / "kmsg"
    log.write_text("6,1,1,-;oom-kill:constraint=CONSTRAINT_MEMCG,oom_memcg=/libpod-c1\n")
    assert killed_for_memory("c1", str(log))
    assert not killed_for_memory("c2", str(log))

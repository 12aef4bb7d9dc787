"""Every bad `batchyard.toml` is refused by name, with what to do."""

from pathlib import Path

import pytest

from batchyard.executors.policy import Policy
from batchyard.kernel.faults import InvalidRequest
from batchyard.server.settings import EXECUTORS, HostSettings, executor_name, read_settings


def write(home: Path, text: str | bytes) -> Path:
    path = home / "batchyard.toml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_without_a_file_everything_has_its_default(tmp_path: Path) -> None:
    settings = read_settings(tmp_path)
    assert (settings.region, settings.account) == ("us-east-1", "000000000000")
    assert (settings.executor, settings.port, settings.keep_days) == ("auto", None, 7)
    assert settings.host == HostSettings()
    assert settings.policy == Policy()


def test_an_empty_file_changes_nothing(tmp_path: Path) -> None:
    default = read_settings(tmp_path)
    write(tmp_path, "")
    assert read_settings(tmp_path) == default


def test_every_setting_is_read(tmp_path: Path) -> None:
    write(
        tmp_path,
        """
        port = 7461
        region = "eu-central-1"
        account = "123456789012"
        executor = "process"
        engine_socket = "/run/podman.sock"
        keep_days = 30
        [host]
        vcpus = 12
        memory_mib = 48000
        gpus = 1
        [policy]
        privileged = "deny"
        """,
    )
    settings = read_settings(tmp_path)
    assert (settings.port, settings.region, settings.account) == (
        7461,
        "eu-central-1",
        "123456789012",
    )
    assert (settings.executor, settings.engine_socket) == ("process", "/run/podman.sock")
    assert settings.keep_days == 30
    assert settings.host == HostSettings(vcpus=12, memory_mib=48000, gpus=1)
    assert settings.policy == Policy(privileged="deny")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("port = ", "Invalid value"),
        ("port = 1\nport = 2", "Cannot overwrite"),
        ("colour = 'red'", "colour"),
        ("[host]\ncpus = 3", "cpus"),
        ("[policy]\nprivileged = 'maybe'", "maybe"),
        ("port = 'seven'", "$.port"),
        ("port = 0", "port must be from 1 to 65535, but is 0"),
        ("port = 70000", "port must be from 1 to 65535, but is 70000"),
        ("executor = 'slurm'", "slurm"),
        ("account = '1234'", "account must be twelve digits, but is '1234'"),
        ("account = 'abcdefghijkl'", "account must be twelve digits"),
        ("account = 123456789012", "$.account"),
        ("region = ''", "region must look like us-east-1, but is ''"),
        ("region = 'EU west'", "region must look like us-east-1, but is 'EU west'"),
        ("keep_days = 0", "keep_days must be from 1 to 36500, but is 0"),
        ("keep_days = -1", "keep_days must be from 1"),
        ("keep_days = 1.5", "$.keep_days"),
        ("[host]\nvcpus = 0", "host.vcpus must be from 1 to 100000, but is 0"),
        ("[host]\nmemory_mib = 3", "host.memory_mib must be from 4"),
        ("[host]\ngpus = -1", "host.gpus must be from 0"),
        ("host = 4", "$.host"),
        (b"region = '\xff'", "not UTF-8: byte 10 is 0xff"),
        (b"\x00", "Invalid"),
    ],
)
def test_a_bad_file_is_refused_with_its_name_and_a_hint(
    tmp_path: Path, text: str | bytes, told: str
) -> None:
    path = write(tmp_path, text)
    with pytest.raises(InvalidRequest) as caught:
        read_settings(tmp_path)
    assert str(path) in caught.value.message
    assert told in caught.value.message
    assert caught.value.hint


def test_a_folder_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "batchyard.toml").mkdir()
    with pytest.raises(InvalidRequest, match=r"batchyard\.toml cannot be read: Is a dir") as caught:
        read_settings(tmp_path)
    assert "remove it" in caught.value.hint


@pytest.mark.parametrize("name", EXECUTORS)
def test_an_executor_is_known_by_its_name(name: str) -> None:
    assert executor_name(name) == name


def test_another_executor_is_refused_with_the_choice() -> None:
    with pytest.raises(InvalidRequest, match="no executor 'slurm'") as caught:
        executor_name("slurm")
    assert caught.value.hint == "Choose one of auto, docker, process, mock."

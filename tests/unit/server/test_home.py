"""The files of a home: who may read them, and that they are whole or not there."""

import os
from pathlib import Path

import pytest

from batchyard.kernel.faults import InvalidRequest
from batchyard.server import home as files


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_a_new_home_is_closed_to_others(tmp_path: Path) -> None:
    before = os.umask(0o000)
    try:
        files.prepare(tmp_path / "a" / "home")
    finally:
        os.umask(before)
    assert mode(tmp_path / "a" / "home") == 0o700


def test_a_home_that_is_there_is_taken_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir(mode=0o750)
    (tmp_path / "home" / "mine").touch()
    files.prepare(tmp_path / "home")
    assert mode(tmp_path / "home") == 0o750
    assert (tmp_path / "home" / "mine").exists()


@pytest.mark.parametrize("below", ["", "/yard"])
def test_a_file_cannot_be_a_home(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InvalidRequest, match="cannot be the home of a yard") as caught:
        files.prepare(Path(f"{tmp_path}/file{below}"))
    assert "--home" in caught.value.hint


def test_files_are_for_the_owner_alone_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o000)
    try:
        files.client_key(tmp_path)
        files.remember_port(tmp_path, 7460)
        files.write_record(tmp_path, record())
    finally:
        os.umask(before)
    found = {path.name: mode(path) for path in tmp_path.iterdir()}
    assert found == {"credentials.json": 0o600, "port": 0o600, "server.json": 0o600}


def test_the_key_is_made_once_and_shaped_like_one_of_aws(tmp_path: Path) -> None:
    key = files.client_key(tmp_path)
    assert files.client_key(tmp_path) == key
    assert key.access_key_id.startswith("AKIA")
    assert len(key.access_key_id) == 20
    assert len(key.secret_access_key) == 40
    (tmp_path / "credentials.json").unlink()
    assert files.client_key(tmp_path) != key


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"access_key_id": 7}', b"\xff"])
def test_a_damaged_key_is_told_and_not_overwritten(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "credentials.json"
    path.write_bytes(content)
    with pytest.raises(InvalidRequest, match="holds no key") as caught:
        files.client_key(tmp_path)
    assert str(path) in caught.value.message
    assert "delete it" in caught.value.hint
    assert path.read_bytes() == content


def test_a_record_names_this_process_and_goes_when_told(tmp_path: Path) -> None:
    files.write_record(tmp_path, record())
    written = (tmp_path / "server.json").read_text()
    assert f'"pid":{os.getpid()}' in written
    start_time = Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]
    assert record().start_time == int(start_time)
    files.remove_record(tmp_path)
    files.remove_record(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_port_is_remembered(tmp_path: Path) -> None:
    assert files.last_port(tmp_path) is None
    files.remember_port(tmp_path, 7460)
    files.remember_port(tmp_path, 41234)
    assert files.last_port(tmp_path) == 41234
    (tmp_path / "port").write_text("seven")
    assert files.last_port(tmp_path) is None


def test_a_reader_sees_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "file"
    files.write_private(path, b"old")
    with path.open("rb") as opened:
        files.write_private(path, b"new and longer")
        assert opened.read() == b"old"
    assert path.read_bytes() == b"new and longer"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_draft_left_by_a_death_is_no_obstacle(tmp_path: Path) -> None:
    draft = tmp_path / f"file.{os.getpid()}.tmp"
    draft.write_bytes(b"torn")
    files.write_private(tmp_path / "file", b"whole")
    assert (tmp_path / "file").read_bytes() == b"whole"
    assert not draft.exists()


def record() -> files.ServerRecord:
    return files.own_record(
        endpoint="http://127.0.0.1:7460", region="us-east-1", account="0" * 12, yard_id="y"
    )

from pathlib import Path

import pytest

from batchyard.cli.commands.demo import own_command


def test_a_newcomer_without_it_on_the_path_is_told_where_the_command_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / ".venv" / "bin" / "batchyard"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(program.with_name("python")))
    monkeypatch.chdir(tmp_path)

    assert own_command(path="/nonexistent") == ".venv/bin/batchyard"
    assert own_command(path=str(program.parent)) == "batchyard"


def test_the_whole_path_is_told_from_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "bin" / "batchyard"
    program.parent.mkdir()
    program.touch()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.setattr("sys.executable", str(program.with_name("python")))
    monkeypatch.chdir(tmp_path / "elsewhere")

    assert own_command(path="/nonexistent") == str(program)

"""The claim of a shim that comes late, after its attempt was run by another and removed."""

from pathlib import Path

import pytest

from batchyard.executors.process.shim import claim_here


def test_the_first_has_it_and_the_second_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "x.a1"
    folder.mkdir()
    monkeypatch.chdir(folder)
    claim_here(str(folder), "1.2.boot")
    assert (folder / "claim").readlink() == Path("1.2.boot")
    with pytest.raises(FileExistsError):
        claim_here(str(folder), "3.4.boot")


@pytest.mark.parametrize("made_again", [False, True])
def test_a_folder_that_was_moved_away_is_nobodys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made_again: bool
) -> None:
    folder = tmp_path / "x.a1"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rename(tmp_path / ".gone-x.a1")
    if made_again:
        folder.mkdir()
    with pytest.raises(FileNotFoundError):
        claim_here(str(folder), "1.2.boot")

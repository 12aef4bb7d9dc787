"""The pieces that every script of scripts/ shares: on a machine that lacks what others have."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SHELL = shutil.which("bash") or "bash"


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A copy of the scripts beside nothing else, with a PATH that holds a few plain tools only."""
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("dirname", "mkdir", "cat"):
        found = shutil.which(name)
        assert found is not None
        (tools / name).symlink_to(found)
    return tmp_path


def run(bare: Path, text: str) -> subprocess.CompletedProcess[str]:
    script = bare / "scripts" / "setup" / "tried.sh"
    script.write_text(f'source "$(dirname "${{BASH_SOURCE[0]}}")/../lib/common.sh"\n{text}\n')
    environment = {"PATH": str(bare / "tools"), "HOME": str(bare)}
    return subprocess.run(
        [SHELL, str(script)],
        env=environment,
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


def give_uv(place: Path) -> None:
    place.parent.mkdir(parents=True)
    place.write_text(f"#!{SHELL}\necho uv 1.2.3\n")
    place.chmod(0o755)


@pytest.mark.parametrize("place", [".cache/uv/bin/uv", ".cache/uv/lib/bin/uv"])
def test_finds_the_uv_that_an_earlier_setup_brought(bare: Path, place: str) -> None:
    give_uv(bare / place)

    tried = run(bare, "source scripts/lib/uv.sh; need_uv; echo $uv")

    assert (tried.returncode, tried.stdout, tried.stderr) == (0, f"{place}\n", "")


def test_prefers_the_uv_on_the_path(bare: Path) -> None:
    give_uv(bare / ".cache/uv/bin/uv")
    give_uv(bare / "elsewhere/uv")
    (bare / "tools/uv").symlink_to(bare / "elsewhere/uv")

    assert run(bare, "source scripts/lib/uv.sh; need_uv; echo $uv").stdout == f"{bare}/tools/uv\n"


def test_passes_over_a_uv_that_does_not_start(bare: Path) -> None:
    (bare / "tools/uv").write_text("#!/no/such/interpreter\n")
    (bare / "tools/uv").chmod(0o755)
    give_uv(bare / ".cache/uv/bin/uv")

    tried = run(bare, "source scripts/lib/uv.sh; need_uv; echo $uv")

    assert tried.stdout == ".cache/uv/bin/uv\n"


def test_without_python_says_how_to_get_one(bare: Path) -> None:
    (bare / "tools/python3").write_text(f"#!{SHELL}\necho Python 3.9.2\nexit 1\n")
    (bare / "tools/python3").chmod(0o755)

    # /usr/bin/python3 is tried by its full name, so that one must not count here.
    tried = run(bare, "source scripts/lib/uv.sh\nis_new_enough() { return 1; }\nneed_uv")

    assert tried.returncode == 1
    assert "this machine has: Python 3.9.2" in tried.stderr
    assert "apt-get install python3" in tried.stderr


def test_a_command_that_fails_without_a_word_is_named(bare: Path) -> None:
    tried = run(
        bare, "quiet() { found=$(cat /no/such/file 2>/dev/null); }\nquiet\necho not reached"
    )

    assert tried.returncode == 1
    assert tried.stdout == ""
    assert tried.stderr.startswith("setup: stopped in ")
    assert "line 2: found=$(cat /no/such/file 2> /dev/null)" in tried.stderr


def test_every_script_begins_with_the_shared_piece() -> None:
    first = 'source "$(dirname "${BASH_SOURCE[0]}")/../lib/common.sh"\n'
    scripts = [path for path in ROOT.glob("scripts/*/*.sh") if path.parent.name != "lib"]
    assert len(scripts) >= 10

    for path in scripts:
        text = path.read_text()
        assert first in text, path
        assert "command -v uv" not in text, f"{path}: call need_uv"
        assert os.access(path, os.X_OK), path

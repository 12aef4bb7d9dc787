"""Settings, environment variables, failpoints and choices: each one in the code is documented."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from batchyard.executors import mock
from batchyard.server.settings import Settings
from unit.docs.generated_pages import ROOT

SOURCE = ROOT / "src" / "batchyard"
_VARIABLE = re.compile(r"(AWS|BATCHYARD|CUDA|DOCKER|NVIDIA|XDG)_[A-Z_]*[A-Z]")


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def rows(text: str) -> dict[str, list[str]]:
    """Rows of all tables by the names, in code marks, of their first cell."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        if line.startswith("| `"):
            cells = [cell.strip() for cell in line.strip("| ").split(" | ")]
            for name in re.findall(r"`([^`]+)`", cells[0]):
                found[name] = cells
    return found


def settings(kind: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for field in msgspec.structs.fields(kind):
        if isinstance(field.default, msgspec.Struct):
            yield from settings(type(field.default), f"{field.name}.")
        else:
            yield f"{prefix}{field.name}", field.default


def sources() -> Iterator[tuple[str, str]]:
    for path in sorted(SOURCE.rglob("*.py")):
        yield path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")


def test_every_setting_is_documented_with_its_default() -> None:
    documented = rows(page("reference/settings.md"))
    for name, default in settings(Settings):
        said = "none" if default is None else f"`{msgspec.json.encode(default).decode()}`"
        assert documented.get(name, ["", "absent"])[1] == said, name


def test_every_setting_of_the_example_exists() -> None:
    example = re.search(r"```toml\n(.*?)```", page("reference/settings.md"), re.DOTALL)
    assert example is not None
    assert isinstance(msgspec.toml.decode(example[1], type=Settings), Settings)


def test_every_parameter_of_the_mock_executor_is_documented() -> None:
    told = re.findall(r"^    (\w+)  ", mock.__doc__ or "", re.MULTILINE)
    assert len(told) == 9
    assert set(told) <= rows(page("reference/settings.md")).keys()


def test_every_environment_variable_in_the_code_is_documented() -> None:
    documented = set(re.findall(r"`([A-Z_0-9]+)", page("reference/environment.md")))
    missing = {}
    for path, text in sources():
        if path.startswith("src/batchyard/testing/"):
            continue  # It sets variables for the clients it starts, and reads none.
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                name = node.value
                if _VARIABLE.fullmatch(name) and name not in documented:
                    missing[name] = path
    # The prefix that jobs may not use is no variable.
    missing.pop("AWS_BATCH", None)
    assert missing == {}


def test_every_failpoint_is_in_the_crash_story() -> None:
    story = page("architecture.md")
    names = {
        name
        for _, text in sources()
        for name in re.findall(r"_failpoints?\(\"([a-z_.]+)\"\)", text)
    }
    assert len(names) >= 10
    assert {name for name in names if f"`{name}`" not in story} == set()


def choices(text: str) -> Iterator[tuple[int, str]]:
    """Line and wording of each comment `CHOSEN:`, to the end of its paragraph."""
    lines = text.splitlines()
    for i, line in enumerate(lines):
        if "CHOSEN:" not in line:
            continue
        said = []
        hashed = line.lstrip().startswith("#")
        for following in lines[i:]:
            plain = following.strip().removeprefix("#").strip()
            if not plain or plain == '"""' or (hashed and not following.lstrip().startswith("#")):
                break
            said.append(plain)
        yield i + 1, " ".join(said)


def test_every_choice_names_a_decision_that_exists() -> None:
    numbers = {int(path.name[:4]) for path in (ROOT / "docs" / "adr").glob("0*.md")}
    wrong = []
    found = 0
    for path, text in sources():
        for line, said in choices(text):
            found += 1
            named = re.findall(r"\(ADR (\d+)\)", said)
            if not named or not {int(n) for n in named} <= numbers:
                wrong.append(f"{path}:{line}: {said}")
    assert found > 10
    assert wrong == []


def test_a_choice_ends_where_its_paragraph_ends() -> None:
    text = "# CHOSEN: a\n# b (ADR 1).\nx = 1\n"
    assert list(choices(text)) == [(1, "CHOSEN: a b (ADR 1).")]
    text = '"""CHOSEN: a.\n\nb (ADR 2)\n"""\n'
    assert [said for _, said in choices(text)] == ['"""CHOSEN: a.']


def test_the_list_of_decisions_is_complete() -> None:
    pages = sorted(path.name for path in (ROOT / "docs" / "adr").glob("0*.md"))
    assert [int(name[:4]) for name in pages] == list(range(1, len(pages) + 1))
    index = page("adr/README.md")
    for name in pages:
        title = Path(ROOT / "docs" / "adr" / name).read_text(encoding="utf-8").splitlines()[0]
        assert title.startswith(f"# {int(name[:4])}. ")
        assert f"]({name})" in index

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from batchyard.cli.app import build_app
from batchyard.cli.catalogue import ENTRIES, GROUPS, Entry
from batchyard.cli.reference import reference_page

Run = Callable[..., Any]
PAGE = Path(__file__).parents[3] / "docs" / "reference" / "cli.md"


def name_of(entry: Entry) -> str:
    return " ".join(entry.path)


@pytest.mark.parametrize("entry", ENTRIES, ids=name_of)
def test_help_shows_what_it_does_and_every_example_unbroken(
    entry: Entry, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    ended = run(*entry.path, "--help")

    assert ended.code == 0
    assert "Examples:" in ended.out
    for example in entry.examples:
        assert f"  {example}\n" in ended.out
        assert f"batchyard {name_of(entry)}" in example


@pytest.mark.parametrize("entry", ENTRIES, ids=name_of)
def test_every_option_has_help(entry: Entry) -> None:
    command = build_app()
    for word in entry.path:
        command = command[word]

    for argument in command.assemble_argument_collection():
        assert argument.children or argument.parameter.help, argument.name


@pytest.mark.parametrize("group", GROUPS)
def test_groups_have_help_with_examples(group: str, run: Run) -> None:
    ended = run(group, "--help")

    assert ended.code == 0
    assert f"batchyard {group} ls" in ended.out


def test_the_first_help_names_every_command_and_the_exit_codes(run: Run) -> None:
    for arguments in ((), ("--help",)):
        ended = run(*arguments)
        assert ended.code == 0
        for entry in ENTRIES:
            assert f" {entry.path[0]} " in ended.out
        assert "5 a job FAILED" in " ".join(ended.out.split())


def test_the_reference_page_is_fresh() -> None:
    assert PAGE.read_text() == reference_page(), (
        "stale: python -m batchyard.cli.reference > docs/reference/cli.md"
    )


def test_the_reference_page_documents_every_command() -> None:
    page = reference_page()

    for entry in ENTRIES:
        assert f"# batchyard {name_of(entry)}\n" in page
        assert all(example in page for example in entry.examples)

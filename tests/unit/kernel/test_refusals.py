"""Every refusal of the kernel, word for word: what it says, about which member, and what to do."""

from pathlib import Path

import pytest

from batchyard.testing.world import World
from unit.kernel.refusal_cases import answer, cases, yard

SAID = (Path(__file__).parent / "refusals.txt").read_text("utf-8")
EXPECTED = {
    name.removeprefix("[").removesuffix("]"): answer
    for name, answer in (entry.split("\n", 1) for entry in SAID.strip().split("\n\n"))
}
CASES = dict(cases())


@pytest.fixture(scope="module")
def world() -> World:
    """One for all: what is refused leaves no trace."""
    return yard()


@pytest.mark.parametrize("name", CASES)
def test_a_refusal_says_what_where_and_what_to_do(world: World, name: str) -> None:
    before = dict(world.view.rows)
    assert answer(world, CASES[name]) == EXPECTED[name]
    assert world.view.rows == before


def test_nothing_stands_in_the_file_that_is_not_tried() -> None:
    assert list(EXPECTED) == list(CASES)
    assert len(EXPECTED) > 200
    assert "taken" not in EXPECTED.values()

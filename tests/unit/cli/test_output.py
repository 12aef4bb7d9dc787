import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchyard.cli.output import amount_of_time, facts, table, wants_colour


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_columns_are_aligned_and_nothing_trails() -> None:
    assert table({"A": ["1", "333"], "LONG": ["x", ""]}, width=None, colour=False) == [
        "A    LONG",
        "1    x",
        "333",
    ]


def test_on_a_terminal_the_last_column_is_cut_to_the_width() -> None:
    columns = {"ID": ["abc"], "REASON": ["r" * 100]}

    assert [len(line) for line in table(columns, width=40, colour=False)] == [11, 40]
    assert table(columns, width=40, colour=False)[1].endswith("...")
    assert table(columns, width=None, colour=False)[1].endswith("r" * 100)


def test_states_are_coloured_and_still_written() -> None:
    lines = table({"STATUS": ["FAILED", "other"]}, width=None, colour=True)

    assert lines[1] == "\x1b[31mFAILED\x1b[0m"
    assert lines[2] == "other"


@given(st.text(max_size=30))
def test_no_control_character_of_a_value_reaches_the_terminal(text: str) -> None:
    for line in table({"A": [text]}, width=None, colour=False) + facts([("name", text)]):
        assert line.isprintable()


@pytest.mark.parametrize(
    ("environ", "expected"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False), ({"NO_COLOR": ""}, True)],
)
def test_colour_only_on_a_willing_terminal(environ: dict[str, str], expected: bool) -> None:
    assert wants_colour(Screen(), environ) is expected
    assert not wants_colour(io.StringIO(), environ)


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (0, "0ms"),
        (850, "850ms"),
        (-5, "0ms"),
        (12400, "12s"),
        (60000, "1m00s"),
        (185000, "3m05s"),
        (7620000, "2h07m"),
        (356400000, "4d03h"),
    ],
)
def test_amounts_of_time_have_at_most_two_units(ms: float, text: str) -> None:
    assert amount_of_time(ms) == text


def test_facts_leave_empty_values_out() -> None:
    assert facts([("a", "1"), ("long", ""), ("bcd", "2")]) == ["a    1", "bcd  2"]

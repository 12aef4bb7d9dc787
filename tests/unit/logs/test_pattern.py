"""Filter patterns of unstructured text."""

import pytest

from batchyard.kernel.faults import InvalidRequest
from batchyard.logs.pattern import compile_pattern


@pytest.mark.parametrize(
    ("pattern", "message", "expected"),
    [
        ("", "anything", True),
        ("  ", "anything", True),
        ('""', "anything", True),
        ("ERROR", "[ERROR] disk", True),
        ("ERROR", "[error] disk", False),
        ("ERROR disk", "[ERROR] disk", True),
        ("ERROR disk", "[ERROR] net", False),
        ('"disk full"', "the disk full", True),
        ('"disk full"', "full disk", False),
        (r'"say \"hi\""', 'I say "hi"', True),
        ("?ERROR ?WARN", "WARN x", True),
        ("?ERROR ?WARN", "INFO x", False),
        ('?"a b" ?c', "xa bx", True),
        ("-DEBUG", "INFO", True),
        ("-DEBUG", "DEBUG", False),
        ("ERROR -retry", "ERROR retry", False),
        ("ERROR -retry", "ERROR", True),
        ('ERROR -"will retry"', "ERROR will retry", False),
        ("ERROR ?WARN", "ERROR", True),
        ("ERROR ?WARN", "WARN", False),
        ("naïve", "so naïve", True),
    ],
)
def test_pattern(pattern: str, message: str, *, expected: bool) -> None:
    assert compile_pattern(pattern)(message) is expected


@pytest.mark.parametrize(
    ("pattern", "complaint"),
    [
        ("{ $.level = 1 }", "JSON patterns"),
        ("[ip, user, ...]", "space-delimited"),
        ("%4[0-9]%", "regular expressions"),
        ("{ $.level", "never closes"),
        ("ORDER-1", "Invalid character"),
        ('"open', "cannot read"),
        ('"a"b', "cannot read"),
        ("- x", "Invalid character"),
        ("?", "Invalid character"),
    ],
)
def test_a_pattern_we_cannot_honour_is_refused(pattern: str, complaint: str) -> None:
    with pytest.raises(InvalidRequest, match=complaint) as caught:
        compile_pattern(pattern)
    assert caught.value.hint
    assert caught.value.field == "filterPattern"

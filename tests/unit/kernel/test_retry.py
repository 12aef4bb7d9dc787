"""Whether another attempt follows: the rules of evaluateOnExit, one table."""

import pytest

from batchyard.kernel.job import ExitRule, RetryStrategy
from batchyard.kernel.retry import retries

EXITED = "Essential container in task exited"
SPOT = "Host EC2 (instance i-0123) terminated."
RETRY_SPOT = ExitRule(action="RETRY", on_status_reason="Host EC2*")
EXIT_ELSE = ExitRule(action="EXIT", on_reason="*")


def judge(
    *rules: ExitRule,
    attempts: int = 3,
    attempt: int = 1,
    status_reason: str | None = EXITED,
    reason: str | None = None,
    exit_code: int | None = 1,
) -> bool:
    return retries(
        RetryStrategy(attempts=attempts, evaluate_on_exit=rules),
        attempt=attempt,
        status_reason=status_reason,
        reason=reason,
        exit_code=exit_code,
    )


@pytest.mark.parametrize(
    ("attempts", "attempt", "again"),
    [(1, 1, False), (2, 1, True), (2, 2, False), (10, 9, True), (10, 10, False), (2, 3, False)],
)
def test_attempts_are_tries_in_total(attempts: int, attempt: int, again: bool) -> None:
    assert judge(attempts=attempts, attempt=attempt) is again


def test_no_rule_saves_the_last_attempt() -> None:
    assert not judge(ExitRule(action="RETRY", on_exit_code="1"), attempts=2, attempt=2)


@pytest.mark.parametrize("action", ["EXIT", "exit", "Exit"])
def test_exit_in_any_case_ends_it(action: str) -> None:
    assert not judge(ExitRule(action=action, on_exit_code="1"))


@pytest.mark.parametrize("action", ["RETRY", "retry", "Retry"])
def test_retry_in_any_case_goes_on(action: str) -> None:
    rules = (ExitRule(action=action, on_exit_code="1"), ExitRule(action="EXIT", on_reason="*"))
    assert judge(*rules)


def test_no_match_means_retry() -> None:
    assert judge(ExitRule(action="EXIT", on_exit_code="2"))


def test_the_first_match_decides() -> None:
    to_exit = ExitRule(action="EXIT", on_exit_code="1")
    to_retry = ExitRule(action="RETRY", on_exit_code="1")
    assert not judge(to_exit, to_retry)
    assert judge(to_retry, to_exit)


@pytest.mark.parametrize(
    ("status_reason", "reason", "exit_code"),
    [
        ("other", "OutOfMemoryError: x", 137),
        (EXITED, "other", 137),
        (EXITED, "OutOfMemoryError: x", 1),
    ],
)
def test_all_conditions_of_a_rule_must_match(
    status_reason: str, reason: str, exit_code: int
) -> None:
    rule = ExitRule(
        action="EXIT",
        on_status_reason="Essential*",
        on_reason="OutOfMemoryError:*",
        on_exit_code="137",
    )
    assert not judge(rule, status_reason=EXITED, reason="OutOfMemoryError: x", exit_code=137)
    assert judge(rule, status_reason=status_reason, reason=reason, exit_code=exit_code)


def test_any_reason_matches_a_missing_reason() -> None:
    assert not judge(RETRY_SPOT, EXIT_ELSE, reason=None)
    assert judge(RETRY_SPOT, EXIT_ELSE, status_reason=SPOT, exit_code=None)


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        ("abc", "abc", True),
        ("abc", "abcd", False),
        ("abc", "ab", False),
        ("ab*", "abc", True),
        ("ab*", "ab", True),
        ("ab*", "a", False),
        ("*", "", True),
        ("*", "anything", True),
        ("a*c", "abc", False),
        ("a.c", "abc", False),
    ],
)
def test_a_pattern_is_exact_unless_it_ends_with_a_star(
    pattern: str, text: str, matches: bool
) -> None:
    assert judge(ExitRule(action="EXIT", on_reason=pattern), reason=text) is not matches
    assert judge(ExitRule(action="EXIT", on_status_reason=pattern), status_reason=text) is (
        not matches
    )


@pytest.mark.parametrize(
    ("pattern", "exit_code", "matches"),
    [("1", 1, True), ("1", 137, False), ("1*", 137, True), ("*", None, True), ("0", None, False)],
)
def test_exit_codes_match_as_their_digits(
    pattern: str, exit_code: int | None, matches: bool
) -> None:
    assert judge(ExitRule(action="EXIT", on_exit_code=pattern), exit_code=exit_code) is (
        not matches
    )


def test_a_rule_with_a_reason_does_not_match_an_attempt_without_one() -> None:
    assert judge(ExitRule(action="EXIT", on_status_reason="x"), status_reason=None)
    assert judge(ExitRule(action="EXIT", on_status_reason="X*"), status_reason=None)
    assert judge(ExitRule(action="EXIT", on_reason="X*"), reason=None)
    for pattern in ("X*", "N*", "None"):
        assert judge(ExitRule(action="EXIT", on_exit_code=pattern), exit_code=None)

"""Whether a failed attempt is tried again.

AWS: user guide, "Automated job retries". Rules are tried in order; all conditions present in a rule
must match; the first match decides; no match means retry.
"""

from batchyard.kernel.job import ExitRule, RetryStrategy


def retries(
    strategy: RetryStrategy,
    *,
    attempt: int,
    status_reason: str | None,
    reason: str | None,
    exit_code: int | None,
) -> bool:
    """True when attempt number `attempt` (1-based) failed this way and another shall follow."""
    if attempt >= strategy.attempts:
        return False
    for rule in strategy.evaluate_on_exit:
        if _matches(rule, status_reason=status_reason, reason=reason, exit_code=exit_code):
            return rule.action.upper() == "RETRY"
    return True


def _matches(
    rule: ExitRule, *, status_reason: str | None, reason: str | None, exit_code: int | None
) -> bool:
    return (
        _glob(rule.on_status_reason, status_reason or "")
        # AWS: `onReason: "*"` also matches an attempt without a reason; Nextflow relies on it.
        and _glob(rule.on_reason, reason or "")
        and _glob(rule.on_exit_code, "" if exit_code is None else str(exit_code))
    )


def _glob(pattern: str | None, text: str) -> bool:
    if pattern is None:
        return True
    if pattern.endswith("*"):
        return text.startswith(pattern[:-1])
    return text == pattern

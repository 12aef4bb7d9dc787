"""Members that several operations share: names, tags, retry strategy, timeout, priorities.

Each function reads one member of a request, judges it, and gives the value or raises.
"""

import re
from typing import Final

from batchyard.kernel.document import Document
from batchyard.kernel.faults import InvalidRequest, LimitExceeded
from batchyard.kernel.ids import Realm
from batchyard.kernel.job import ExitRule, RetryStrategy

NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")
JOB_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")
MAX_TAGS: Final = 50
_REASON: Final = re.compile(r"[A-Za-z0-9.:\s]{0,511}[A-Za-z0-9.:\s*]")
_EXIT_CODE: Final = re.compile(r"[0-9]{0,511}[0-9*]")
_SHARE: Final = re.compile(r"[A-Za-z0-9]{0,254}[A-Za-z0-9*]")


def new_name(doc: Document, member: str) -> str:
    """The name of a resource to be created."""
    name = doc.required(member)
    if NAME.fullmatch(name) is None:
        raise InvalidRequest(
            f"{member} should match valid pattern {NAME.pattern}, but is '{name}'.",
            field=doc.at(member),
            hint="Use up to 128 letters, digits, hyphens and underscores.",
        )
    return name


def own_name(realm: Realm, kind: str, name_or_arn: str) -> str:
    """The name in a name or in an ARN of this yard; an ARN from elsewhere stays as it is.

    Names contain no colon, so a foreign ARN names nothing and ends as "not found".
    """
    prefix = realm.arn("batch", f"{kind}/")
    return name_or_arn.removeprefix(prefix)


def tags(doc: Document, member: str = "tags") -> dict[str, str]:
    found = doc.text_map(member)
    check_tags(found, doc.at(member))
    return found


def check_tags(found: dict[str, str], path: str) -> None:
    """Refuse keys and values that AWS refuses, and more than 50 tags."""
    if len(found) > MAX_TAGS:
        raise LimitExceeded(
            f"A resource can have at most {MAX_TAGS} tags, but {len(found)} were given.",
            hint="Remove some tags.",
        )
    for key, value in found.items():
        if not 1 <= len(key) <= 128 or len(value) > 256:
            raise InvalidRequest(
                f"{path}: a tag key has 1 to 128 characters and a value at most 256; "
                f"'{key[:40]}' breaks this.",
                field=path,
            )
        if key.lower().startswith("aws:"):
            raise InvalidRequest(
                f"{path}: tag keys that start with aws: are reserved; '{key}' is one.", field=path
            )


def state(doc: Document) -> str | None:
    return doc.choice("state", ("ENABLED", "DISABLED"))


def retry_strategy(doc: Document) -> RetryStrategy | None:
    """`retryStrategy` of a definition or a submission; None when absent."""
    section = doc.section("retryStrategy")
    if section is None:
        return None
    attempts = section.integer("attempts", 1, 10)
    if attempts is None:
        raise InvalidRequest(
            "RetryAttempts must be provided with retry strategy", field=section.at("attempts")
        )
    rules = section.sections("evaluateOnExit")
    if len(rules) > 5:
        raise InvalidRequest(
            f"{section.at('evaluateOnExit')} can have at most 5 conditions, but has {len(rules)}.",
            field=section.at("evaluateOnExit"),
        )
    return RetryStrategy(
        attempts=attempts, evaluate_on_exit=tuple(_exit_rule(rule) for rule in rules)
    )


def timeout_s(doc: Document) -> int | None:
    """`timeout.attemptDurationSeconds`, or None when there is no timeout."""
    section = doc.section("timeout")
    if section is None:
        return None
    seconds = section.integer("attemptDurationSeconds", -(2**31))
    if seconds is not None and seconds < 60:
        raise InvalidRequest(
            f"The minimum value for the timeout is 60 seconds, but attemptDurationSeconds "
            f"is {seconds}.",
            field=section.at("attemptDurationSeconds"),
        )
    return seconds


def priority(doc: Document, member: str) -> int | None:
    """schedulingPriority and its override."""
    return doc.integer(member, 0, 9999)


def share_identifier(doc: Document) -> str | None:
    share = doc.text("shareIdentifier")
    if share is not None and _SHARE.fullmatch(share) is None:
        raise InvalidRequest(
            f"shareIdentifier should be up to 255 letters and digits, but is '{share[:80]}'.",
            field="shareIdentifier",
        )
    return share


def _exit_rule(rule: Document) -> ExitRule:
    action = rule.required("action")
    # AWS: the action is case-insensitive and comes back as it was sent.
    if action.upper() not in ("RETRY", "EXIT"):
        raise InvalidRequest(
            f"{rule.at('action')} must be RETRY or EXIT, but is '{action}'.",
            field=rule.at("action"),
        )
    return ExitRule(
        action=action,
        on_status_reason=_pattern(rule, "onStatusReason", _REASON),
        on_reason=_pattern(rule, "onReason", _REASON),
        on_exit_code=_pattern(rule, "onExitCode", _EXIT_CODE),
    )


def _pattern(rule: Document, member: str, shape: re.Pattern[str]) -> str | None:
    pattern = rule.text(member)
    if pattern is not None and shape.fullmatch(pattern) is None:
        wanted = "digits" if shape is _EXIT_CODE else "letters, digits, '.', ':' and white space"
        raise InvalidRequest(
            f"{rule.at(member)} can have up to 512 {wanted} and may end with '*', "
            f"but is '{pattern[:80]}'.",
            field=rule.at(member),
        )
    return pattern

"""From the words people type to AWS values: durations, memory, mounts, dependencies, pairs.

Pure functions; each refuses with what was typed, what is expected and an example.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from batchyard.cli.faults import UsageFault

_SECONDS: Final = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_DURATION_PART: Final = re.compile(r"(\d+(?:\.\d+)?)([smhdw])")
# CHOSEN: like Docker and Kubernetes users expect, a bare number and K/M/G/T are binary here; only
# the spelled-out KB/MB/GB/TB are powers of ten (ADR 11).
_MIB: Final = {
    "": 1.0,
    "k": 1 / 1024,
    "ki": 1 / 1024,
    "kib": 1 / 1024,
    "kb": 1000 / 1048576,
    "m": 1.0,
    "mi": 1.0,
    "mib": 1.0,
    "mb": 1e6 / 1048576,
    "g": 1024.0,
    "gi": 1024.0,
    "gib": 1024.0,
    "gb": 1e9 / 1048576,
    "t": 1048576.0,
    "ti": 1048576.0,
    "tib": 1048576.0,
    "tb": 1e12 / 1048576,
}
_DEPENDENCY_TYPES: Final = frozenset({"N_TO_N", "SEQUENTIAL"})


def duration_s(text: str, *, option: str) -> float:
    """`90`, `90s`, `2h`, `1h30m`, `1.5d` in seconds."""
    typed = text.strip().lower()
    if re.fullmatch(r"\d+(\.\d+)?", typed):
        return float(typed)
    parts = _DURATION_PART.findall(typed)
    if not parts or "".join(number + unit for number, unit in parts) != typed:
        raise UsageFault(
            f"{option} {text!r} is not a duration",
            hint="write seconds or units s, m, h, d, w, such as 90, 45m, 2h, 1h30m",
        )
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)


def memory_mib(text: str, *, option: str) -> int:
    """`4GiB`, `4g`, `512`, `512MiB` in MiB, rounded up."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]*)", text.strip().lower())
    if match is None or match[2] not in _MIB:
        raise UsageFault(
            f"{option} {text!r} is not an amount of memory",
            hint="write MiB or a unit, such as 512, 512MiB, 4GiB, 4g, 16GB",
        )
    exact = float(match[1]) * _MIB[match[2]]
    whole = int(exact) + (exact > int(exact))
    if whole < 1:
        raise UsageFault(
            f"{option} {text!r} is less than 1 MiB", hint="write MiB or a unit, such as 512 or 4GiB"
        )
    return whole


def vcpus_text(text: str, *, option: str) -> str:
    """A positive number, kept as the text AWS wants."""
    if not re.fullmatch(r"\d+(\.\d+)?", text) or float(text) <= 0:
        raise UsageFault(
            f"{option} {text!r} is not a number of vCPUs", hint="write a number such as 1, 4 or 16"
        )
    return text


def mount(text: str, *, base: Path) -> tuple[str, str, bool]:
    """`SRC:DST[:ro|:rw]` as (absolute source, destination, read only).

    Args:
        base: Directory that a relative source starts from.
    """
    source, _, rest = text.partition(":")
    destination, _, mode = rest.partition(":")
    if not source or not destination.startswith("/") or mode not in ("", "ro", "rw"):
        raise UsageFault(
            f"--mount {text!r} is not SRC:DST or SRC:DST:ro",
            hint="DST is an absolute path inside the container, such as ./data:/data:ro",
        )
    return str((base / Path(source).expanduser()).resolve()), destination, mode == "ro"


def dependency(text: str) -> dict[str, str]:
    """`ID`, `ID:N_TO_N`, `ID:SEQUENTIAL` or `SEQUENTIAL` as one entry of dependsOn."""
    # A child id has a colon of its own (`<uuid>:7`), so only a known word ends the id.
    job_id, colon, last = text.rpartition(":")
    kind = last.upper().replace("-", "_")
    if not colon and kind == "SEQUENTIAL":
        return {"type": "SEQUENTIAL"}
    if colon and kind in _DEPENDENCY_TYPES:
        if not job_id:
            raise UsageFault(f"--after {text!r} names no job", hint="write ID:N_TO_N")
        return {"jobId": job_id, "type": kind}
    if not text or (colon and not last.isdigit()):
        raise UsageFault(
            f"--after {text!r} is not ID, ID:N_TO_N or ID:SEQUENTIAL",
            hint="write the id that submit printed, such as 7f3c...:N_TO_N",
        )
    return {"jobId": text}


def pairs(texts: Sequence[str], *, option: str) -> dict[str, str]:
    """`K=V` options as a mapping; the last one of a key wins."""
    found: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise UsageFault(
                f"{option} {text!r} is not KEY=VALUE", hint=f"write {option} KEY=VALUE"
            )
        found[key] = value
    return found


def environment(texts: Sequence[str], environ: Mapping[str, str]) -> list[dict[str, str]]:
    """`K=V`, or `K` alone to pass on the caller's own value, as AWS environment pairs."""
    written: list[str] = []
    for text in texts:
        if "=" in text:
            written.append(text)
        elif text in environ:
            written.append(f"{text}={environ[text]}")
        else:
            raise UsageFault(
                f"--env {text!r} has no value and is not set in your environment",
                hint=f"write --env {text or 'KEY'}=VALUE",
            )
    found = pairs(written, option="--env")
    return [{"name": name, "value": value} for name, value in found.items()]


def read_request(path: str, stdin_text: Any) -> dict[str, Any]:
    """The JSON object in a file, or in `stdin_text` when the path is `-`."""
    import json

    try:
        text = stdin_text.read() if path == "-" else Path(path).read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise UsageFault(
            f"--json {path}: {reason}", hint="name a readable JSON file, or - for standard input"
        ) from error
    try:
        found = json.loads(text)
    except ValueError as error:
        raise UsageFault(
            f"--json {path} is not JSON: {error}",
            hint="an empty request to fill in: aws batch submit-job --generate-cli-skeleton",
        ) from error
    if not isinstance(found, dict):
        raise UsageFault(
            f"--json {path} holds a {type(found).__name__}, not an object",
            hint='write one request, such as {"jobName": ..., "jobQueue": ...}',
        )
    return found

"""What a yard can be told: `batchyard.toml` in its home, then the command line, which wins."""

import tomllib
from pathlib import Path
from typing import Literal

import msgspec

from batchyard.executors.policy import Policy
from batchyard.kernel.faults import InvalidRequest

ExecutorName = Literal["auto", "docker", "process", "mock"]
EXECUTORS: tuple[ExecutorName, ...] = ("auto", "docker", "process", "mock")


class HostSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What of this machine jobs may use; by default what it has."""

    vcpus: int | None = None
    memory_mib: int | None = None
    gpus: int | None = None


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every setting, with its default. Names are those of `batchyard.toml`."""

    port: int | None = None
    """None: the port of the last start, at first 7460, or a free one where that is taken."""
    region: str = "us-east-1"
    account: str = "000000000000"
    executor: ExecutorName = "auto"
    """auto: a container engine that answers, else plain processes (said loudly)."""
    engine_socket: str | None = None
    keep_days: int = 7
    host: HostSettings = HostSettings()
    policy: Policy = Policy()


def read_settings(home: Path) -> Settings:
    """Settings of a home; defaults where the file says nothing.

    Raises:
        InvalidRequest: the file is not TOML, or a setting is unknown or of the wrong type.
    """
    path = home / "batchyard.toml"
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Settings()
    try:
        settings = msgspec.convert(tomllib.loads(text), Settings)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise InvalidRequest(
            f"{path}: {error}",
            hint="See docs/reference/settings.md for every setting.",
        ) from error
    if not (len(settings.account) == 12 and settings.account.isdecimal()):
        raise InvalidRequest(
            f"{path}: account must be twelve digits, but is {settings.account!r}",
            hint="Any twelve digits do; AWS account ids look like that.",
        )
    return settings


def executor_name(text: str) -> ExecutorName:
    """Check a name given on the command line.

    Raises:
        InvalidRequest: there is no such executor.
    """
    for name in EXECUTORS:
        if name == text:
            return name
    raise InvalidRequest(
        f"there is no executor {text!r}", hint=f"Choose one of {', '.join(EXECUTORS)}."
    )

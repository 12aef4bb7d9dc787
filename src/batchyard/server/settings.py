"""What a yard can be told: `batchyard.toml` in its home, then the command line, which wins."""

import re
import tomllib
from pathlib import Path
from typing import Literal

import msgspec

from batchyard.executors.policy import Policy
from batchyard.kernel.faults import InvalidRequest

ExecutorName = Literal["auto", "docker", "process", "mock"]
_REGION = re.compile("[a-z][a-z0-9-]*")
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
        InvalidRequest: the file cannot be read or is not TOML, or a setting is unknown, of the
            wrong type or out of range.
    """
    path = home / "batchyard.toml"
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Settings()
    except OSError as error:
        raise InvalidRequest(
            f"{path} cannot be read: {error.strerror}",
            hint="Make it a file that you may read, or remove it: every setting has a default.",
        ) from error
    except UnicodeDecodeError as error:
        raise InvalidRequest(
            f"{path} is not UTF-8: byte {error.start} is 0x{error.object[error.start]:02x}",
            hint="Save it as UTF-8, as TOML asks for.",
        ) from error
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
    if not _REGION.fullmatch(settings.region):
        raise InvalidRequest(
            f"{path}: region must look like us-east-1, but is {settings.region!r}",
            hint="Any name in small letters, digits and hyphens does: every ARN carries it.",
        )
    host = settings.host
    _check_range(path, "port", settings.port, least=1, most=65_535)
    _check_range(path, "keep_days", settings.keep_days, least=1, most=36_500)
    _check_range(path, "host.vcpus", host.vcpus, least=1, most=100_000)
    _check_range(path, "host.memory_mib", host.memory_mib, least=4, most=1_000_000_000)
    _check_range(path, "host.gpus", host.gpus, least=0, most=1_000)
    return settings


def _check_range(path: Path, name: str, value: int | None, *, least: int, most: int) -> None:
    if value is not None and not least <= value <= most:
        raise InvalidRequest(
            f"{path}: {name} must be from {least} to {most}, but is {value}",
            hint=f"Correct it, or leave {name} out for its default.",
        )


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

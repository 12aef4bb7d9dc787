"""Where the yard of this user lives, and whether its server is alive. Starts and stops nothing.

The server writes `server.json` once it answers and removes it at a clean stop; after a SIGKILL the
file stays behind, so a pid is believed only together with the start time of its process.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batchyard.cli.faults import CommandFault
from batchyard.cli.signing import Credentials


@dataclass(frozen=True, kw_only=True)
class ServerRecord:
    """What the server says about itself in `server.json`."""

    pid: int
    start_time: int
    endpoint: str
    region: str
    account: str
    version: str

    def is_alive(self) -> bool:
        return process_start_time(self.pid) == self.start_time


def yard_home(home: Path | None, environ: Mapping[str, str]) -> Path:
    """--home, else BATCHYARD_HOME, else the XDG data directory."""
    if home is not None:
        return home.expanduser().absolute()
    if environ.get("BATCHYARD_HOME"):
        return Path(environ["BATCHYARD_HOME"]).expanduser().absolute()
    data = environ.get("XDG_DATA_HOME")
    return (Path(data) if data else Path.home() / ".local" / "share") / "batchyard"


def read_server(home: Path) -> ServerRecord | None:
    """The record in `home`, whether or not that process still lives; None when there is none."""
    found = _read_object(home / "server.json")
    if found is None:
        return None
    try:
        return ServerRecord(
            pid=int(found["pid"]),
            start_time=int(found["start_time"]),
            endpoint=str(found["endpoint"]),
            region=str(found.get("region") or "us-east-1"),
            account=str(found.get("account") or ""),
            version=str(found.get("version") or ""),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise CommandFault(
            f"{home / 'server.json'} is not a server record: {error!r}",
            hint="stop the server if one runs, delete this file, then `batchyard up`",
        ) from error


def live_server(home: Path) -> ServerRecord | None:
    record = read_server(home)
    return record if record is not None and record.is_alive() else None


def read_credentials(home: Path) -> Credentials | None:
    found = _read_object(home / "credentials.json")
    if found is None:
        return None
    try:
        return Credentials(
            access_key_id=str(found["access_key_id"]),
            secret_access_key=str(found["secret_access_key"]),
        )
    except KeyError as error:
        raise CommandFault(
            f"{home / 'credentials.json'} lacks {error}",
            hint="restore the file from a backup; the yard checks signatures against it",
        ) from error


def process_start_time(pid: int) -> int | None:
    """Field 22 of /proc/PID/stat: ticks after boot at which the process began; None when gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The name (field 2) may hold spaces and brackets; the fields after its last bracket do not.
    fields = text[text.rindex(")") + 2 :].split()
    return None if fields[0] in ("Z", "X") else int(fields[19])


def log_tail(home: Path, lines: int) -> list[str]:
    """The last lines of `server.log`, without reading all of it."""
    try:
        with (home / "server.log").open("rb") as log:
            log.seek(0, os.SEEK_END)
            log.seek(max(0, log.tell() - 64 * 1024))
            return log.read().decode(errors="replace").splitlines()[-lines:]
    except OSError:
        return []


def _read_object(path: Path) -> dict[str, Any] | None:
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return None
    except NotADirectoryError:
        return None
    except PermissionError as error:
        raise CommandFault(
            f"cannot read {path}: {error.strerror}",
            hint="the yard belongs to another user; use your own with --home or BATCHYARD_HOME",
            exit_code=4,
        ) from error
    try:
        found = json.loads(raw)
    except ValueError as error:
        raise CommandFault(
            f"{path} is not JSON: {error}", hint="restore it, or stop the yard and delete it"
        ) from error
    if not isinstance(found, dict):
        raise CommandFault(
            f"{path} is not a JSON object", hint="restore it, or stop the yard and delete it"
        )
    return found

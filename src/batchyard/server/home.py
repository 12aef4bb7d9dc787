"""The files of a yard's home: who may read them, and how they are written without a torn moment."""

import os
import secrets
import string
from pathlib import Path

import msgspec

from batchyard.kernel.faults import InvalidRequest

_UPPER = string.ascii_uppercase + "234567"


class ClientKey(msgspec.Struct, frozen=True, kw_only=True):
    """The key generated for the yard's owner; `credentials.json`, readable by the owner alone."""

    access_key_id: str
    secret_access_key: str


class ServerRecord(msgspec.Struct, frozen=True, kw_only=True):
    """`server.json`: written once the server answers, removed at a clean stop."""

    pid: int
    start_time: int
    endpoint: str
    region: str
    account: str
    yard_id: str
    version: str


def prepare(home: Path) -> None:
    """Make the home, closed to other users. One that is there keeps its mode.

    Raises:
        InvalidRequest: it cannot be made, or is no folder this user may write to.
    """
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        usable = os.access(home, os.R_OK | os.W_OK | os.X_OK)
        trouble = "" if usable else "this user may not write to it"
    except OSError as error:
        trouble = error.strerror or str(error)
    if trouble:
        raise InvalidRequest(
            f"{home} cannot be the home of a yard: {trouble}",
            hint="Choose another folder with --home or BATCHYARD_HOME.",
        )


def client_key(home: Path) -> ClientKey:
    """The owner's key, generated at the first start.

    Raises:
        InvalidRequest: the file is there and holds no key.
    """
    path = home / "credentials.json"
    try:
        return msgspec.json.decode(path.read_bytes(), type=ClientKey)
    except FileNotFoundError:
        pass
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InvalidRequest(
            f"{path} holds no key: {error}",
            hint="Put the old file back, or delete it: the next start makes a new key.",
        ) from error
    # Shaped like AWS's, so that clients which check the shape accept it.
    key = ClientKey(
        access_key_id="AKIA" + "".join(secrets.choice(_UPPER) for _ in range(16)),
        secret_access_key=secrets.token_urlsafe(30),
    )
    write_private(path, msgspec.json.encode(key))
    return key


def own_record(*, endpoint: str, region: str, account: str, yard_id: str) -> ServerRecord:
    from batchyard import __version__

    stat = Path("/proc/self/stat").read_text(encoding="ascii")
    return ServerRecord(
        pid=os.getpid(),
        # Field 22, counted after the last bracket because the name may hold anything.
        start_time=int(stat[stat.rindex(")") + 2 :].split()[19]),
        endpoint=endpoint,
        region=region,
        account=account,
        yard_id=yard_id,
        version=__version__,
    )


def write_record(home: Path, record: ServerRecord) -> None:
    write_private(home / "server.json", msgspec.json.encode(record))


def remove_record(home: Path) -> None:
    (home / "server.json").unlink(missing_ok=True)


def last_port(home: Path) -> int | None:
    """The port of the last start: running jobs know the yard by it."""
    try:
        return int((home / "port").read_text(encoding="ascii"))
    except (FileNotFoundError, ValueError):
        return None


def remember_port(home: Path, port: int) -> None:
    write_private(home / "port", str(port).encode())


def write_private(path: Path, content: bytes) -> None:
    """Write whole or not at all, readable by the owner alone from the first moment."""
    draft = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)

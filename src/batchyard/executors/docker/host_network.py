"""The host's network for containers, also on a Docker that may hang when it is asked for it.

Docker before 20.10.27 (Debian 12 has 20.10.24) locks up for good when two containers of one of its
networks, `host` among them, end at an unlucky moment: every later start, stop and inspect waits for
ever (moby/moby#46661). A container that joins the network of another container is on none of
Docker's own networks. So such an engine gets one idle container on the host's network, and the jobs
join that one. See docs/adr/0017.
"""

import asyncio
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import structlog

from batchyard.executors.docker.engine import Engine, Refused, Version
from batchyard.executors.docker.images import import_image
from batchyard.executors.docker.inspected import LABEL_HOLDER
from batchyard.kernel.faults import EngineUnavailable

HOST = "host"
FIXED_IN = (20, 10, 27)
EMPTY_IMAGE = ("batchyard-empty", "1")
EMPTY_TAR = bytes(10240)
"""A tar archive without a member: an image without a file."""

_SLEEP = "/usr/bin/sleep"
_PROGRAMS = ("/usr", "/lib", "/lib64")
"""Where the host's `sleep` and its loader lie; mounted read-only, for the image has nothing."""
_COPIED = ("/etc/hosts", "/etc/resolv.conf")
"""Docker copies them when it starts a container, and whoever joins its network shares the copy."""
_CLOSE_TIMEOUT_S = 5.0
_HOLDER_GONE = re.compile(
    r"cannot join network of a non running container|No such container|"
    r"joining network namespace of container"
)


def may_lock_up(version: Version) -> bool:
    """Whether this engine has the defect; one that hides its version counts as mended."""
    found = re.match(r"docker (\d+)\.(\d+)\.(\d+)", version.text)
    return found is not None and tuple(map(int, found.groups())) < FIXED_IN


class HostNetwork:
    """Says how a container gets the host's network. Safe to call concurrently.

    Args:
        needed: The engine may lock up; otherwise everything here is plain `host`.
        copied: Files whose change makes a new idle container necessary.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        yard_id: str,
        needed: bool,
        copied: Sequence[str] = _COPIED,
    ) -> None:
        self._engine = engine
        self._yard_id = yard_id
        self._needed = needed
        self._copied = copied
        self._lock = asyncio.Lock()
        self._holder = ""
        self._seen: tuple[int, ...] = ()
        self._log = structlog.get_logger("batchyard.executors.docker")

    @property
    def name(self) -> str:
        return f"batchyard-{self._yard_id[:8]}-host-network"

    async def mode(self) -> str:
        """The `NetworkMode` of a container that is to have the host's network.

        Raises:
            EngineUnavailable: no answer.
        """
        if not self._needed:
            return HOST
        async with self._lock:
            seen = tuple(map(_changed_ns, self._copied))
            if not self._holder or seen != self._seen:
                try:
                    self._holder = await self._put_up()
                except Refused as refused:
                    self._log.warning("host_network.plain", reason=refused.message)
                    self._needed = False
                    return HOST
                self._seen = seen
            return f"container:{self._holder}"

    def lost(self, refusal: str) -> bool:
        """Whether a start was refused because the idle container is gone; then another is made."""
        if not self._needed or not _HOLDER_GONE.search(refusal):
            return False
        # Of many that are refused together only the first may take the new one away again.
        if self._holder in refusal:
            self._holder = ""
        return True

    async def close(self) -> None:
        """Remove the idle container; whoever has joined its network keeps the network."""
        if self._holder:
            self._holder = ""
            with suppress(EngineUnavailable, Refused):
                await self._remove(timeout_s=_CLOSE_TIMEOUT_S)

    async def _put_up(self) -> str:
        await self._remove()
        body = _body(self._yard_id)
        try:
            created = await self._create(body)
        except Refused as refused:
            if refused.status != 404:
                raise
            await import_image(self._engine, *EMPTY_IMAGE, tar=EMPTY_TAR)
            created = await self._create(body)
        holder = str(created["Id"])
        await self._engine.call("POST", f"/containers/{holder}/start")
        return holder

    async def _create(self, body: dict[str, Any]) -> Any:
        return await self._engine.call(
            "POST", "/containers/create", query={"name": self.name}, body=body
        )

    async def _remove(self, *, timeout_s: float = 60.0) -> None:
        try:
            await self._engine.call(
                "DELETE", f"/containers/{self.name}", query={"force": "1"}, timeout_s=timeout_s
            )
        except Refused as refused:
            if refused.status != 404:
                raise


def _body(yard_id: str) -> dict[str, Any]:
    return {
        "Image": ":".join(EMPTY_IMAGE),
        "Cmd": [_SLEEP, "infinity"],
        # A process with the id 1 that has no handler for a signal does not see it.
        "StopSignal": "SIGKILL",
        "Labels": {LABEL_HOLDER: yard_id},
        "HostConfig": {
            "NetworkMode": HOST,
            "ReadonlyRootfs": True,
            "CapDrop": ["ALL"],
            "SecurityOpt": ["no-new-privileges"],
            "PidsLimit": 8,
            "LogConfig": {"Type": "none"},
            "Binds": [f"{path}:{path}:ro" for path in _PROGRAMS if os.path.exists(path)],
        },
    }


def _changed_ns(path: str) -> int:
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return 0

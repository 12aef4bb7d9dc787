"""The folder of one attempt, as the server sees it. Order and meaning of the files: the package."""

import contextlib
import errno
import os
import shutil
from typing import Literal

import msgspec

from batchyard.executors.process import claim, shim
from batchyard.executors.process.reports import Exit, Failed
from batchyard.kernel.faults import EngineUnavailable, SpecRejected

GONE = ".gone-"
"""Before the name of a folder that is being removed."""

_EXIT_DECODER: msgspec.json.Decoder[Exit] = msgspec.json.Decoder(Exit)


class AttemptFolder:
    def __init__(self, attempts: str, attempt_id: str) -> None:
        if not attempt_id or attempt_id.startswith(".") or "/" in attempt_id or "\0" in attempt_id:
            raise SpecRejected(
                f"attempt id {attempt_id!r} is not safe as the name of a folder",
                hint="Attempt ids are `<uuid>[.i<index>].a<attempt>`; this one was made elsewhere.",
            )
        self.attempt_id = attempt_id
        self.path = f"{attempts}/{attempt_id}"
        self.output = f"{self.path}/output"

    def create(self) -> bool:
        """Make the request to start durable; False when the attempt is known already."""
        try:
            os.mkdir(self.path, 0o700)
        except FileExistsError:
            return False
        except OSError as error:
            raise EngineUnavailable(
                f"cannot make the attempt's folder {self.path}: {error.strerror}",
                hint="Free space, or make the folder writable for the user that runs the yard.",
                attempt_id=self.attempt_id,
            ) from error
        return True

    def exists(self) -> bool:
        return os.path.isdir(self.path)

    def claim_text(self) -> str | None:
        try:
            return os.readlink(f"{self.path}/claim")
        except OSError:
            return None

    def shim(self) -> claim.Identity | None:
        text = self.claim_text()
        return None if text is None else claim.parse(text)

    def claimed_at_ms(self) -> int:
        return os.lstat(f"{self.path}/claim").st_mtime_ns // 1_000_000

    def read_exit(self) -> Exit | None:
        try:
            with open(f"{self.path}/exit", "rb") as file:
                return _EXIT_DECODER.decode(file.read())
        except FileNotFoundError:
            return None

    def take_for_nobody(self) -> bool:
        """Claim the attempt so that no shim ever runs it; False when somebody was faster."""
        try:
            os.symlink(claim.NOBODY, f"{self.path}/claim")
        except FileExistsError:
            return self.claim_text() == claim.NOBODY
        return True

    def refuse(self, reason: str, *, at_ms: int) -> Failed:
        failed = Failed(attempt_id=self.attempt_id, at_ms=at_ms, reason=reason)
        shim.write_exit(msgspec.json.encode(failed).decode(), self.path)
        return failed

    def ask_stop(self, grace_ms: int) -> None:
        """Leave the grace where the shim looks for it after a SIGTERM. The last asker counts."""
        try:
            os.symlink(str(grace_ms), f"{self.path}/stop")
        except FileExistsError:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(f"{self.path}/stop.tmp")
            os.symlink(str(grace_ms), f"{self.path}/stop.tmp")
            os.replace(f"{self.path}/stop.tmp", f"{self.path}/stop")

    def state(self, boot: str) -> Literal["created", "running", "ended"]:
        if os.path.exists(f"{self.path}/exit"):
            return "ended"
        text = self.claim_text()
        if text is None:
            return "created"
        identity = claim.parse(text)
        pidfd = None if identity is None else claim.open_if_alive(identity, boot)
        if pidfd is None:
            return "ended"
        os.close(pidfd)
        return "running"

    def delete(self) -> str | None:
        """Forget the attempt. What cannot be removed at once is named, for `delete_tree`."""
        # ORDER: moved away first, so that a folder half removed is never taken for an attempt.
        doomed = f"{os.path.dirname(self.path)}/{GONE}{self.attempt_id}"
        try:
            os.rename(self.path, doomed)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
                raise
            return doomed  # left by an earlier removal that was interrupted
        for name in ("claim", "output", "stop", "exit"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(f"{doomed}/{name}")
        try:
            with contextlib.suppress(FileNotFoundError):
                os.rmdir(f"{doomed}/work")
            os.rmdir(doomed)
        except OSError:
            return doomed
        return None


def delete_tree(doomed: str) -> None:
    """Remove a folder the command has filled. Slow: for a thread."""
    shutil.rmtree(doomed, ignore_errors=True)

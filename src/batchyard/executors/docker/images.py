"""Bringing images onto the machine: one pull per image, however many attempts wait for it."""

import asyncio
import json

from batchyard.executors.docker.engine import PULL_SILENCE_S, Engine, Refused


class Puller:
    """Shares a running pull among all who need its image. `close` before the engine closes."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._running: dict[str, asyncio.Task[None]] = {}

    async def pull(self, image: str) -> None:
        """Return when the image is there. Giving up waiting does not stop the pull of the others.

        Raises:
            Refused: the engine cannot get it; the message is the engine's.
            EngineUnavailable: no answer.
        """
        running = self._running.get(image)
        if running is None:
            running = asyncio.get_running_loop().create_task(pull_image(self._engine, image))
            self._running[image] = running
            running.add_done_callback(lambda _: self._running.pop(image, None))
        await asyncio.shield(running)

    async def close(self) -> None:
        running = list(self._running.values())
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def pull_image(engine: Engine, image: str) -> None:
    name, tag = split_image(image)
    await _make(engine, {"fromImage": name, "tag": tag} if tag else {"fromImage": name})


async def import_image(engine: Engine, name: str, tag: str, *, tar: bytes) -> None:
    """Make an image from a root file system, without a registry. Raises like `Puller.pull`."""
    await _make(engine, {"fromSrc": "-", "repo": name, "tag": tag}, data=tar)


async def _make(engine: Engine, query: dict[str, str], data: bytes | None = None) -> None:
    async with engine.stream(
        "POST", "/images/create", query=query, data=data, silence_s=PULL_SILENCE_S
    ) as content:
        # The status is 200 before the registry is asked, so a failure hides in the progress.
        while line := await content.readline():
            if reason := _failure(line):
                raise Refused(500, reason)


def split_image(image: str) -> tuple[str, str]:
    """Name and tag of an image reference; no tag for one named by digest.

    Without any tag the engine would pull every tag there is, so `latest` is filled in.
    """
    if "@" in image:
        return image, ""
    head, _, last = image.rpartition("/")
    name, _, tag = last.partition(":")
    return (f"{head}/{name}" if head else name), tag or "latest"


def _failure(line: bytes) -> str | None:
    try:
        progress = json.loads(line)
    except ValueError:
        return None
    if not isinstance(progress, dict) or "error" not in progress:
        return None
    detail = progress.get("errorDetail")
    message = detail.get("message") if isinstance(detail, dict) else None
    return str(message or progress["error"])

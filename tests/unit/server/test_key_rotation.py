"""Deleting `credentials.json` makes a new key, and the old one opens nothing any more."""

import asyncio
from pathlib import Path

from batchyard.executors.mock import MockExecutor
from batchyard.logs.store import FileLogStore
from batchyard.server.home import ClientKey
from batchyard.server.settings import Settings
from batchyard.server.yard import running


def test_only_the_key_of_this_start_is_believed(tmp_path: Path) -> None:
    old = ClientKey(access_key_id="AKIAOLD", secret_access_key="old")
    new = ClientKey(access_key_id="AKIANEW", secret_access_key="new")

    async def believed(key: ClientKey) -> dict[str, bool]:
        logs = FileLogStore(tmp_path / "logs")
        executor = MockExecutor(home=tmp_path, sink=logs)
        async with running(
            tmp_path, settings=Settings(), port=1, key=key, executor=executor
        ) as yard:
            return {
                name: yard.keys.secret_for(name, None) is not None
                for name in ("AKIAOLD", "AKIANEW")
            }

    assert asyncio.run(believed(old)) == {"AKIAOLD": True, "AKIANEW": False}
    assert asyncio.run(believed(new)) == {"AKIAOLD": False, "AKIANEW": True}

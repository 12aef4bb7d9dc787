"""Every store passes the same exercises: SQLite on a file, SQLite in memory."""

import asyncio
from pathlib import Path

import pytest

from batchyard.store.port import Store
from batchyard.store.sqlite import open_memory_store, open_store
from conformance.ports.store_exercise import EXERCISES, Exercise


def open_one(kind: str, directory: Path) -> Store:
    return open_store(directory) if kind == "file" else open_memory_store()


@pytest.mark.parametrize("kind", ["file", "memory"])
@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda e: e.__name__)
def test_store(exercise: Exercise, kind: str, tmp_path: Path) -> None:
    async def go() -> None:
        store = open_one(kind, tmp_path)
        try:
            await exercise(store)
        finally:
            await store.close()

    asyncio.run(go())

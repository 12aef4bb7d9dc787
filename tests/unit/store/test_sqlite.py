"""What only a file can do: outlive its process, be locked, be refused, run out of disk."""

import asyncio
import contextlib
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from batchyard.kernel import events as ev
from batchyard.kernel.effects import StartAttempt
from batchyard.kernel.faults import SchemaMismatch, StoreUnavailable
from batchyard.kernel.ids import Realm
from batchyard.store.port import Transaction
from batchyard.store.sqlite import DATABASE, SqliteStore, open_memory_store, open_store
from conformance.ports import store_exercise
from conformance.ports import store_values as v

DEADLINE_S = 60.0
START = StartAttempt(job_id="a", attempt=1)


@contextlib.asynccontextmanager
async def opened(directory: Path, **options: object) -> AsyncIterator[SqliteStore]:
    store = open_store(directory, **options)  # type: ignore[arg-type]
    try:
        yield store
    finally:
        await store.close()


def test_everything_is_there_after_a_reopen(tmp_path: Path) -> None:
    async def go() -> None:
        async with opened(tmp_path, realm=Realm(account="123456789012", region="eu-west-1")) as s:
            await s.write(
                v.recording(
                    v.submitted(v.array("p", 3, seq=7), v.spec("up")),
                    ev.ChildSpawned(job=v.child("p", 1)),
                    ev.ChildMoved(job_id="p", index=1, source=None, target="RUNNABLE", at_ms=5),
                    v.placed("p:1"),
                    ev.QueueSaved(queue=v.queue("q", "ce")),
                    ev.ComputeEnvironmentSaved(compute_environment=v.environment("ce")),
                    ev.DefinitionSaved(definition=v.definition("d", 4)),
                    effects=(StartAttempt(job_id="p:1", attempt=1),),
                )
            )
            before = s.read_now(lambda r: (r.job("p"), r.job("p:1"), r.events_after(0, limit=99)))
            yard_id = s.read_now(lambda r: r.meta("yard_id"))
        async with opened(tmp_path) as s:
            assert s.realm == Realm(account="123456789012", region="eu-west-1")
            after = s.read_now(lambda r: (r.job("p"), r.job("p:1"), r.events_after(0, limit=99)))
            assert after == before
            assert s.read_now(lambda r: r.meta("yard_id")) == yard_id
            assert s.read_now(lambda r: r.next_seq()) == 8
            ((outbox_id, effect),) = s.read_now(lambda r: r.pending_effects())
            assert effect == StartAttempt(job_id="p:1", attempt=1)
            assert await s.write(lambda tx: tx.queues_of("ce")) == ["q"]
            assert await s.write(lambda tx: tx.latest_revision("d")) == 4
            assert await s.write(lambda tx: tx.spec("p")) == v.spec("up")
            assert await s.write(lambda tx: tx.next_seq()) == 8
            (new_id,) = await s.write(
                v.recording(v.started("p:1"), effects=(StartAttempt(job_id="p:1", attempt=2),))
            )
            assert new_id > outbox_id
            store_exercise.check_rows_are_the_fold_of_their_events(s)

    asyncio.run(go())


def test_a_second_server_is_refused_and_told_which_process_holds_the_store(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from batchyard.store.sqlite import open_store;"
        "from batchyard.kernel.faults import StoreUnavailable\n"
        "try: open_store(Path(sys.argv[1]))\n"
        "except StoreUnavailable as e: print(e.message, '|', e.hint)"
    )

    async def go() -> None:
        async with opened(tmp_path):
            other = subprocess.run(
                [sys.executable, "-c", code, str(tmp_path)],
                capture_output=True,
                text=True,
                timeout=DEADLINE_S,
                check=True,
            )
            assert f"process {os.getpid()}" in other.stdout
            assert "Stop that server" in other.stdout
            with pytest.raises(StoreUnavailable, match="in use"):
                open_store(tmp_path)
        async with opened(tmp_path):
            pass

    asyncio.run(go())


def test_another_account_or_region_is_refused(tmp_path: Path) -> None:
    async def go() -> None:
        async with opened(tmp_path, realm=Realm(region="eu-west-1")):
            pass
        with pytest.raises(SchemaMismatch, match="eu-west-1"):
            open_store(tmp_path, realm=Realm(region="us-west-2"))
        async with opened(tmp_path, realm=Realm(region="eu-west-1")):
            pass

    asyncio.run(go())


def test_a_directory_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreUnavailable, match="cannot be used") as caught:
        open_store(tmp_path / "file")
    assert "Choose a directory" in caught.value.hint


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / DATABASE).write_bytes(b"not a database at all" * 100)
    for _ in range(2):  # The lock is let go of each time.
        with pytest.raises(StoreUnavailable, match="cannot be opened"):
            open_store(tmp_path)


def test_the_secrets_are_readable_by_the_owner_alone(tmp_path: Path) -> None:
    async def go() -> None:
        async with opened(tmp_path) as store:
            await store.write(v.recording(v.submitted(v.job("a"))))
            for path in tmp_path.iterdir():
                assert path.stat().st_mode & 0o077 == 0, path

    asyncio.run(go())


def test_writes_survive_only_with_full_synchronisation(tmp_path: Path) -> None:
    async def go() -> None:
        async with opened(tmp_path) as store:

            def pragma(name: str) -> object:
                return store._connection.execute(f"PRAGMA {name}").fetchone()[0]

            def look(_tx: object) -> tuple[object, object]:
                return pragma("journal_mode"), pragma("synchronous")

            assert await store.write(look) == ("wal", 2)

    asyncio.run(go())


def test_the_memory_store_leaves_nothing_behind() -> None:
    async def go() -> Path:
        store = open_memory_store()
        directory = store._directory
        assert (directory / DATABASE).exists()
        await store.close()
        return directory

    assert not asyncio.run(go()).exists()


class BreakOnce:
    """Fails the next commit the way a full disk does."""

    def __init__(self) -> None:
        self.armed = False

    def __call__(self, name: str, /) -> None:
        if self.armed and name == "store.before_commit":
            self.armed = False
            raise sqlite3.OperationalError("database or disk is full")


def test_a_failed_commit_fails_its_whole_group_and_nothing_else(tmp_path: Path) -> None:
    async def go() -> None:
        disk = BreakOnce()
        async with opened(tmp_path, failpoints=disk) as store:
            saved = v.recording(v.submitted(v.job("a")), ev.QueueSaved(queue=v.queue("q")))
            await store.write(saved)
            disk.armed = True
            group = await store_exercise.grouped(
                store,
                v.recording(v.placed("a"), effects=(START,)),
                v.recording(v.submitted(v.job("b", seq=2))),
                v.recording(ev.QueueRemoved(name="q")),
            )
            assert len(group) == 3
            for failed in group:
                assert isinstance(failed, StoreUnavailable)
                assert "disk is full" in failed.message
                assert "free space" in failed.hint
            # What the writer remembers is what is on disk.
            assert await store.write(lambda tx: tx.job("a")) == v.job("a")
            assert await store.write(lambda tx: tx.queue_names()) == ["q"]
            assert await store.write(lambda tx: tx.next_seq()) == 2
            await store.write(v.recording(v.placed("a"), effects=(START,)))
            assert len(store.read_now(lambda r: r.pending_effects())) == 1
            store_exercise.check_rows_are_the_fold_of_their_events(store)

    asyncio.run(go())


def test_a_loop_that_is_gone_disturbs_nobody(tmp_path: Path) -> None:
    reached, go_on = threading.Event(), threading.Event()
    store = open_store(tmp_path)

    def hold(tx: Transaction) -> None:
        reached.set()
        assert go_on.wait(DEADLINE_S)
        v.recording(v.submitted(v.job("a")))(tx)

    async def leave() -> None:
        waiting = asyncio.ensure_future(store.write(hold))
        assert await asyncio.to_thread(reached.wait, DEADLINE_S)
        waiting.cancel()

    async def come() -> None:
        go_on.set()
        try:
            assert await store.write(lambda tx: tx.job("a")) == v.job("a")
        finally:
            await store.close()

    asyncio.run(leave())
    asyncio.run(come())


def test_a_broken_constraint_is_reported_and_leaves_nothing(tmp_path: Path) -> None:
    """The schema mirrors the state machine: an array parent never runs."""

    async def go() -> None:
        async with opened(tmp_path) as store:
            impossible = v.array("p", 2, status="RUNNING")
            with pytest.raises(StoreUnavailable, match="jobs_array_never_runs"):
                await store.write(v.recording(v.submitted(impossible)))
            await store.write(v.recording(v.submitted(v.array("p", 2))))
            store_exercise.check_rows_are_the_fold_of_their_events(store)

    asyncio.run(go())


def test_a_damaged_schema_version_is_refused(tmp_path: Path) -> None:
    async def go() -> None:
        async with opened(tmp_path):
            pass

    asyncio.run(go())
    with contextlib.closing(sqlite3.connect(tmp_path / DATABASE)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
    for _ in range(2):  # The lock is let go of each time.
        with pytest.raises(SchemaMismatch, match="9999") as caught:
            open_store(tmp_path)
        assert "newer Batchyard" in caught.value.hint


def test_another_programs_database_is_refused(tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / DATABASE)) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    with pytest.raises(SchemaMismatch, match="not one of Batchyard"):
        open_store(tmp_path)

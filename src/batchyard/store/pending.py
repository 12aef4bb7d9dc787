"""Writes that a group has decided and SQLite has not seen yet, and their flush.

A row that changes many times within a group (the parent of an array whose children end together)
is encoded and written once. A callable that fails before its writes were flushed is undone by
forgetting them.
"""

import sqlite3
from collections.abc import Collection
from enum import IntEnum

from batchyard.kernel.definition import JobDefinition
from batchyard.kernel.environment import ComputeEnvironment, JobQueue
from batchyard.kernel.events import Key, Row
from batchyard.kernel.job import Job
from batchyard.store.codec import Codec
from batchyard.store.statements import Statements

CountKey = tuple[str, str, str]
"""Queue, kind, status."""


class Change(IntEnum):
    """How much of a job's row is different from what is on disk; the greater includes the less."""

    TOUCHED = 0
    """Only the document."""
    MOVED = 1
    """Also an indexed column."""
    NEW = 2


class Pending:
    """An ordered set of writes; `absorb` adds those of the next callable of the group."""

    def __init__(self) -> None:
        self.jobs: dict[str, tuple[Change, Job]] = {}
        self.shares: dict[str, str] = {}
        self.catalogue: dict[Key, Row | None] = {}
        self.specs: list[tuple[str, bytes]] = []
        self.dependencies: list[tuple[str, str, str]] = []
        self.events: list[tuple[int, int, str, str, str, bytes]] = []
        self.effects: list[tuple[int, int, bytes]] = []
        self.done: list[tuple[int]] = []
        self.counts: dict[CountKey, int] = {}
        """Absolute, not deltas."""
        self.counters: dict[str, int] = {}
        self.meta: dict[str, str] = {}
        self.access_keys: list[tuple[str, str, str, int]] = []

    def __bool__(self) -> bool:
        return any(vars(self).values())

    def put_job(self, job: Job, change: Change) -> None:
        before = self.jobs.get(job.job_id)
        if before is not None and before[0] > change:
            change = before[0]
        self.jobs[job.job_id] = (change, job)

    def absorb(self, later: "Pending") -> None:
        """Add the writes of a callable that came after; `later` must not be used again."""
        for change, job in later.jobs.values():
            self.put_job(job, change)
        self.shares.update(later.shares)
        self.catalogue.update(later.catalogue)
        self.specs += later.specs
        self.dependencies += later.dependencies
        self.events += later.events
        self.effects += later.effects
        self.done += later.done
        self.counts.update(later.counts)
        self.counters.update(later.counters)
        self.meta.update(later.meta)
        self.access_keys += later.access_keys

    def flush(self, connection: sqlite3.Connection, sql: Statements, codec: Codec) -> None:
        """Hand every write to SQLite, inside the transaction that is open, and forget it."""
        if self.jobs:
            self._flush_jobs(connection, sql, codec)
        _many(connection, sql.insert_spec, self.specs)
        _many(connection, sql.insert_dependency, self.dependencies)
        _many(connection, sql.insert_event, self.events)
        # ORDER: an effect may be acknowledged by a later callable of the same group.
        _many(connection, sql.insert_effect, self.effects)
        _many(connection, sql.delete_effect, self.done)
        for key, row in self.catalogue.items():
            _flush_catalogue(connection, sql, codec, key=key, row=row)
        _many(connection, sql.put_count, [(*key, n) for key, n in self.counts.items()])
        _many(connection, sql.put_counter, self.counters.items())
        _many(connection, sql.put_meta, self.meta.items())
        _many(connection, sql.put_access_key, self.access_keys)
        for writes in vars(self).values():
            writes.clear()

    def _flush_jobs(self, connection: sqlite3.Connection, sql: Statements, codec: Codec) -> None:
        encode = codec.encode
        new: list[tuple[object, ...]] = []
        moved: list[tuple[object, ...]] = []
        touched: list[tuple[object, ...]] = []
        for change, job in self.jobs.values():
            doc = encode(job)
            if change is Change.NEW:
                new.append(_job_columns(job, self.shares.get(job.job_id), doc))
            elif change is Change.MOVED:
                moved.append((job.status, job.started_at_ms, job.stopped_at_ms, doc, job.job_id))
            else:
                touched.append((doc, job.job_id))
        _many(connection, sql.insert_job, new)
        _many(connection, sql.move_job, moved)
        _many(connection, sql.touch_job, touched)


def _many(
    connection: sqlite3.Connection, statement: str, parameters: Collection[tuple[object, ...]]
) -> None:
    if parameters:
        connection.executemany(statement, parameters)


def _job_columns(job: Job, share: str | None, doc: bytes) -> tuple[object, ...]:
    """In the order of `statements.JOB_COLUMNS`."""
    definition_name, _, revision = job.definition.rpartition(":")
    return (
        job.job_id,
        job.root_id,
        job.index if job.kind == "child" else None,
        job.kind,
        job.queue,
        job.name,
        job.name.lower(),
        definition_name,
        int(revision),
        job.status,
        job.seq,
        job.created_at_ms,
        job.started_at_ms,
        job.stopped_at_ms,
        share,
        doc,
    )


def _flush_catalogue(
    connection: sqlite3.Connection,
    sql: Statements,
    codec: Codec,
    *,
    key: Key,
    row: Row | None,
) -> None:
    kind, name = key
    match row:
        case JobQueue():
            connection.execute(sql.put_queue, (name, codec.encode(row)))
        case ComputeEnvironment():
            connection.execute(sql.put_compute_environment, (name, codec.encode(row)))
        case JobDefinition():
            connection.execute(
                sql.put_definition, (row.name, row.revision, row.status, codec.encode(row))
            )
        case None if kind == "queue":
            connection.execute(sql.delete_queue, (name,))
        case None if kind == "compute_environment":
            connection.execute(sql.delete_compute_environment, (name,))
        case _:
            raise AssertionError(f"{kind} {name} is not part of the catalogue")

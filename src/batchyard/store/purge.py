"""Forgetting jobs that ended long ago, a portion at a time."""

import sqlite3
from typing import Protocol

from batchyard.kernel.job import JobSpec
from batchyard.store.pending import CountKey
from batchyard.store.statements import Statements


class Purgeable(Protocol):
    """The part of a transaction that a purge needs."""

    connection: sqlite3.Connection
    sql: Statements

    def spec(self, root_id: str) -> JobSpec: ...

    def forget_job(self, job_id: str) -> None: ...

    def count(self, key: CountKey, delta: int) -> None: ...


def purge(transaction: Purgeable, *, before_ms: int, limit: int) -> int:
    """Delete rows that ended before a moment, children before their parent.

    Cost: O(rows deleted), at most `limit` and one parent.
    """
    execute, sql = transaction.connection.execute, transaction.sql
    gone = 0
    for job_id, queue, kind, status in execute(sql.select_ended, (before_ms, limit)).fetchall():
        if gone >= limit:
            break
        if kind == "array":
            children = execute(sql.select_child_rows, (job_id, limit - gone)).fetchall()
            for child_id, child_queue, child_kind, child_status in children:
                _forget(transaction, child_id, (child_queue, child_kind, child_status))
            gone += len(children)
            if gone >= limit:
                # There may be more children; the parent must not go before them.
                break
        for edge in transaction.spec(job_id).depends_on:
            execute(sql.delete_edge, (edge.job_id, job_id))
        execute(sql.delete_spec, (job_id,))
        _forget(transaction, job_id, (queue, kind, status))
        gone += 1
    return gone


def _forget(transaction: Purgeable, job_id: str, counted_as: CountKey) -> None:
    execute, sql = transaction.connection.execute, transaction.sql
    execute(sql.delete_edges_from, (job_id,))
    execute(sql.delete_events_of_job, (job_id,))
    execute(sql.delete_job, (job_id,))
    transaction.count(counted_as, -1)
    transaction.forget_job(job_id)

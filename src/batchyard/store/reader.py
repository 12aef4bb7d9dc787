"""Queries of the API and the loops, on one snapshot of a read-only connection."""

import sqlite3
from collections.abc import Iterable, Iterator
from typing import Literal

from batchyard.kernel.definition import JobDefinition
from batchyard.kernel.effects import Effect
from batchyard.kernel.environment import ComputeEnvironment, JobQueue
from batchyard.kernel.events import Kind
from batchyard.kernel.ids import Realm
from batchyard.kernel.job import Job, JobSpec
from batchyard.kernel.states import Status
from batchyard.store.codec import Codec
from batchyard.store.listing import Listing
from batchyard.store.port import AccessKey, Cursor, JobCount, JobPage, JobQuery, Recorded
from batchyard.store.statements import Statements


class SqliteReader:
    """Implements `port.Reader`."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        *,
        sql: Statements,
        listing: Listing,
        codec: Codec,
        realm: Realm,
    ) -> None:
        self.realm = realm
        self._connection = connection
        self._sql = sql
        self._listing = listing
        self._codec = codec

    def job(self, job_id: str) -> Job | None:
        doc = self._one(self._sql.select_job, job_id)
        return None if doc is None else self._codec.job(doc)

    def jobs(self, job_ids: Iterable[str]) -> dict[str, Job]:
        found = ((job_id, self.job(job_id)) for job_id in dict.fromkeys(job_ids))
        return {job_id: job for job_id, job in found if job is not None}

    def spec(self, root_id: str) -> JobSpec | None:
        doc = self._one(self._sql.select_spec, root_id)
        return None if doc is None else self._codec.spec(doc)

    def specs(self, root_ids: Iterable[str]) -> dict[str, JobSpec]:
        found = ((root_id, self.spec(root_id)) for root_id in dict.fromkeys(root_ids))
        return {root_id: spec for root_id, spec in found if spec is not None}

    def list_jobs(self, query: JobQuery, *, cursor: Cursor | None = None, limit: int) -> JobPage:
        if query.queue is not None:
            queues = [query.queue]
        else:
            queues = sorted({count.queue for count in self.job_counts()})
        # One more than asked tells whether another page follows.
        found = self._listing.find(
            self._connection, query, queues=queues, cursor=cursor, limit=limit + 1
        )
        page = found[:limit]
        more = len(found) > limit and page
        return JobPage(
            jobs=[self._codec.job(doc) for _, _, doc in page],
            next=Cursor(created_at_ms=page[-1][0], seq=page[-1][1]) if more else None,
        )

    def children(
        self, parent_id: str, *, status: Status | None = None, after: int = -1, limit: int
    ) -> list[Job]:
        if status is None:
            found = self._connection.execute(self._sql.select_children, (parent_id, after, limit))
        else:
            found = self._connection.execute(
                self._sql.select_children_by_status, (parent_id, status, after, limit)
            )
        return [self._codec.job(doc) for _, doc in found]

    def job_counts(self) -> list[JobCount]:
        return [
            JobCount(queue=queue, kind=kind, status=status, count=count)
            for queue, kind, status, count in self._connection.execute(self._sql.select_counts)
        ]

    def queues(self) -> list[JobQueue]:
        found = self._connection.execute(self._sql.select_queues)
        return [self._codec.queue(doc) for (doc,) in found]

    def compute_environments(self) -> list[ComputeEnvironment]:
        found = self._connection.execute(self._sql.select_compute_environments)
        return [self._codec.compute_environment(doc) for (doc,) in found]

    def definition(self, key: str) -> JobDefinition | None:
        name, _, revision = key.rpartition(":")
        if not revision.isdecimal():
            return None
        doc = self._one(self._sql.select_definition, name, int(revision))
        return None if doc is None else self._codec.definition(doc)

    def definitions(
        self,
        *,
        name: str | None = None,
        status: Literal["ACTIVE", "INACTIVE"] | None = None,
        after: str | None = None,
        limit: int,
    ) -> list[JobDefinition]:
        start = None
        if after is not None:
            after_name, _, after_revision = after.rpartition(":")
            start = (after_name, int(after_revision))
        found = self._listing.find_definitions(
            self._connection, name=name, status=status, after=start, limit=limit
        )
        return [self._codec.definition(doc) for doc in found]

    def events_of(self, kind: Kind, name: str) -> list[Recorded]:
        return self._events(self._sql.select_events_of, kind, name)

    def events_after(self, seq: int, *, limit: int) -> list[Recorded]:
        return self._events(self._sql.select_events_after, seq, limit)

    def open_jobs(self) -> Iterator[Job]:
        for statement in (self._sql.select_open_top, self._sql.select_open_children_all):
            for (doc,) in self._connection.execute(statement):
                yield self._codec.job(doc)

    def live_attempts(self) -> list[Job]:
        found = self._connection.execute(self._sql.select_live)
        return [self._codec.job(doc) for (doc,) in found]

    def pending_effects(self) -> list[tuple[int, Effect]]:
        found = self._connection.execute(self._sql.select_outbox)
        return [(outbox_id, self._codec.effect(doc)) for outbox_id, doc in found]

    def next_seq(self) -> int:
        counters: dict[str, int] = dict(self._connection.execute(self._sql.select_counters))
        return counters.get("job", 0) + 1

    def access_key(self, access_key_id: str) -> AccessKey | None:
        found = self._connection.execute(self._sql.select_access_key, (access_key_id,)).fetchone()
        return None if found is None else _access_key(found)

    def access_keys(self) -> list[AccessKey]:
        return [_access_key(row) for row in self._connection.execute(self._sql.select_access_keys)]

    def meta(self, key: str) -> str | None:
        found = self._connection.execute(self._sql.select_meta, (key,)).fetchone()
        return None if found is None else str(found[0])

    def _one(self, statement: str, *parameters: object) -> bytes | None:
        found = self._connection.execute(statement, parameters).fetchone()
        return None if found is None else bytes(found[0])

    def _events(self, statement: str, *parameters: object) -> list[Recorded]:
        return [
            Recorded(seq=seq, at_ms=at_ms, event=self._codec.event(type_name, doc, spec_doc))
            for seq, at_ms, type_name, doc, spec_doc in self._connection.execute(
                statement, parameters
            )
        ]


def _access_key(row: tuple[str, str, str, int]) -> AccessKey:
    access_key_id, secret_access_key, arn, created_at_ms = row
    return AccessKey(
        access_key_id=access_key_id,
        secret_access_key=secret_access_key,
        arn=arn,
        created_at_ms=created_at_ms,
    )

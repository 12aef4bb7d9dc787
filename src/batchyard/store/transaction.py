"""The writer's side of SQLite: the view `decide` looks at, and the recording of what it decided.

One object serves the writer thread for its whole life; `begin` and `finish` or `undo` frame each
callable. Reads are answered from the cache; a query that must see unflushed rows flushes them
first, behind a savepoint, so that undoing one callable never touches another of its group.
"""

import sqlite3
from collections.abc import Callable, Iterable
from typing import TypeVar

from batchyard.kernel import ranges
from batchyard.kernel.decision import Decision
from batchyard.kernel.definition import JobDefinition
from batchyard.kernel.environment import ComputeEnvironment, JobQueue
from batchyard.kernel.events import Event, JobSubmitted, Key, Row
from batchyard.kernel.faults import InvariantBroken
from batchyard.kernel.ids import Realm
from batchyard.kernel.job import DependencyType, Job, JobSpec
from batchyard.kernel.ranges import Ranges
from batchyard.kernel.states import Status
from batchyard.store.cache import Catalogue, Recent
from batchyard.store.codec import Codec
from batchyard.store.pending import Change, CountKey, Pending
from batchyard.store.port import AccessKey
from batchyard.store.purge import purge
from batchyard.store.statements import Statements

V = TypeVar("V")

JOBS_CACHED = 50_000
"""About 50 MiB. Specs are larger and asked for less, so a tenth as many are kept."""


class SqliteTransaction:
    """Implements `port.Transaction`. Used by the writer thread only."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        *,
        sql: Statements,
        codec: Codec,
        realm: Realm,
        clock: Callable[[], int],
        jobs_cached: int,
    ) -> None:
        self.realm = realm
        self.connection = connection
        self.sql = sql
        self._codec = codec
        self._clock = clock
        self._jobs: Recent[Job] = Recent(jobs_cached)
        self._specs: Recent[JobSpec] = Recent(jobs_cached // 10)
        self._catalogue = Catalogue()
        self._counts: dict[CountKey, int] = {}
        self._counters: dict[str, int] = {}
        self._counters_before: dict[str, int] = {}
        self._group = Pending()
        self._own = Pending()
        self._undo: list[Callable[[], None]] = []
        self._savepoint = False
        self.reload()

    # --- frame of a callable, called by the writer --------------------------------------------

    def reload(self) -> None:
        """Forget everything remembered and load the catalogue from disk: after a failed commit."""
        execute, codec = self.connection.execute, self._codec
        self._jobs.clear()
        self._specs.clear()
        self._group, self._own = Pending(), Pending()
        self._undo.clear()
        self._savepoint = False
        self._catalogue = catalogue = Catalogue()
        for (doc,) in execute(self.sql.select_queues):
            queue = codec.queue(doc)
            catalogue.queues[queue.name] = queue
        for (doc,) in execute(self.sql.select_compute_environments):
            environment = codec.compute_environment(doc)
            catalogue.compute_environments[environment.name] = environment
        for (doc,) in execute(self.sql.select_definitions):
            catalogue.put_definition(codec.definition(doc))
        self._counts = {(q, k, s): n for q, k, s, n in execute(self.sql.select_counts)}
        self._counters = dict(execute(self.sql.select_counters))
        self._counters_before = dict(self._counters)

    def finish(self) -> None:
        """The callable returned: its writes join the group."""
        if not (self._savepoint or self._own):
            return
        if self._savepoint:
            self.connection.execute("RELEASE own")
            self._savepoint = False
        self._group.absorb(self._own)
        self._own = Pending()
        self._undo.clear()
        self._counters_before = dict(self._counters)

    def undo(self) -> None:
        """The callable raised: nothing of it remains."""
        if self._savepoint:
            self.connection.execute("ROLLBACK TO own")
            self.connection.execute("RELEASE own")
            self._savepoint = False
        for step in reversed(self._undo):
            step()
        self._undo.clear()
        self._own = Pending()
        self._counters = dict(self._counters_before)

    def flush(self) -> None:
        """Hand the writes of the group to SQLite: before its commit."""
        self._group.flush(self.connection, self.sql, self._codec)

    def trim(self) -> None:
        """Let go of what was not used lately: after the commit, when all of it is on disk."""
        self._jobs.trim()
        self._specs.trim()

    # --- port.Transaction -----------------------------------------------------------------------

    def record(self, decision: Decision) -> tuple[int, ...]:
        if not (decision.events or decision.effects):
            return ()
        now_ms = self._clock()
        for event in decision.events:
            self._record_event(event, now_ms)
        for key, row in decision.rows.items():
            if key[0] == "job":
                self._record_job(key[1], row)
            else:
                self._record_in_catalogue(key, row)
        ids: list[int] = []
        for effect in decision.effects:
            ids.append(self._advance("outbox"))
            self._own.effects.append((ids[-1], now_ms, self._codec.encode(effect)))
        return tuple(ids)

    def acknowledge(self, outbox_ids: Iterable[int]) -> None:
        self._own.done += [(outbox_id,) for outbox_id in outbox_ids]

    def next_seq(self) -> int:
        return self._counters.get("job", 0) + 1

    def purge(self, *, before_ms: int, limit: int) -> int:
        self._show(self._group, self._own)
        self._protect()
        return purge(self, before_ms=before_ms, limit=limit)

    def meta(self, key: str) -> str | None:
        for pending in (self._own, self._group):
            if key in pending.meta:
                return pending.meta[key]
        found = self.connection.execute(self.sql.select_meta, (key,)).fetchone()
        return None if found is None else str(found[0])

    def put_meta(self, key: str, value: str) -> None:
        self._own.meta[key] = value

    def put_access_key(self, key: AccessKey) -> None:
        self._own.access_keys.append(
            (key.access_key_id, key.secret_access_key, key.arn, key.created_at_ms)
        )

    # --- kernel.view.View -----------------------------------------------------------------------

    def job(self, job_id: str) -> Job | None:
        job = self._jobs.get(job_id)
        if job is None:
            # What is not on disk yet is always in the cache, so no flush is needed.
            found = self.connection.execute(self.sql.select_job, (job_id,)).fetchone()
            if found is not None:
                job = self._codec.job(found[0])
                self._jobs.put(job_id, job)
        return job

    def spec(self, root_id: str) -> JobSpec:
        spec = self._specs.get(root_id)
        if spec is None:
            found = self.connection.execute(self.sql.select_spec, (root_id,)).fetchone()
            if found is None:
                raise InvariantBroken(
                    f"job {root_id} has no spec",
                    hint="The store is damaged: keep a copy of its directory and report this.",
                )
            spec = self._codec.spec(found[0])
            self._specs.put(root_id, spec)
        return spec

    def queue(self, name: str) -> JobQueue | None:
        return self._catalogue.queues.get(name)

    def queue_names(self) -> list[str]:
        return sorted(self._catalogue.queues)

    def compute_environment(self, name: str) -> ComputeEnvironment | None:
        return self._catalogue.compute_environments.get(name)

    def compute_environment_names(self) -> list[str]:
        return sorted(self._catalogue.compute_environments)

    def queues_of(self, compute_environment: str) -> list[str]:
        return self._catalogue.queues_of(compute_environment)

    def definition(self, name: str, revision: int) -> JobDefinition | None:
        return self._catalogue.definitions.get(name, {}).get(revision)

    def latest_revision(self, name: str) -> int:
        return self._catalogue.latest_revision(name)

    def latest_active(self, name: str) -> JobDefinition | None:
        return self._catalogue.latest_active(name)

    def dependents(self, upstream: str, after: str, limit: int) -> list[tuple[str, DependencyType]]:
        self._show(self._group.dependencies, self._own.dependencies)
        found = self.connection.execute(
            self.sql.select_dependents, (upstream, after, limit + 2)
        ).fetchall()
        # A dependent may be there under each of the three types: a page never parts them.
        last = limit
        while 0 < last < len(found) and found[last][0] == found[limit - 1][0]:
            last += 1
        return found[:last]

    def open_children(self, parent_id: str, after: int, limit: int) -> list[Job]:
        self._show(self._group.jobs, self._own.jobs)
        return self._found(self.sql.select_open_children, (parent_id, after, limit))

    def child_indexes(self, parent_id: str, status: Status) -> Ranges:
        self._show(self._group.jobs, self._own.jobs)
        rows = self.connection.execute(self.sql.select_child_indexes, (parent_id, status))
        return ranges.of(index for (index,) in rows)

    def open_jobs(self, queue: str, after: int, limit: int) -> list[Job]:
        self._show(self._group.jobs, self._own.jobs)
        return self._found(self.sql.select_open_of_queue, (queue, after, limit))

    # --- for purge ------------------------------------------------------------------------------

    def forget_job(self, job_id: str) -> None:
        self._jobs.drop(job_id)
        self._specs.drop(job_id)

    def count(self, key: CountKey, delta: int) -> None:
        before = self._counts.get(key, 0)
        self._counts[key] = self._own.counts[key] = before + delta
        self._undo.append(lambda: self._counts.__setitem__(key, before))

    # --- inside ---------------------------------------------------------------------------------

    def _show(self, group: object, own: object) -> None:
        """Let a query see unflushed writes; both are truthy where there are some it may need."""
        if group or own:
            if not self._savepoint:
                self._group.flush(self.connection, self.sql, self._codec)
            if own:
                self._protect()
                self._own.flush(self.connection, self.sql, self._codec)

    def _protect(self) -> None:
        if not self._savepoint:
            # ORDER: the group's writes go first, or undoing this callable would undo them too.
            self._group.flush(self.connection, self.sql, self._codec)
            self.connection.execute("SAVEPOINT own")
            self._savepoint = True

    def _found(self, statement: str, parameters: tuple[object, ...]) -> list[Job]:
        out: list[Job] = []
        for job_id, doc in self.connection.execute(statement, parameters).fetchall():
            job = self._jobs.get(job_id)
            if job is None:
                job = self._codec.job(doc)
                self._jobs.put(job_id, job)
            out.append(job)
        return out

    def _advance(self, counter: str, to: int | None = None) -> int:
        before = self._counters.get(counter, 0)
        value = before + 1 if to is None else max(before, to)
        self._counters[counter] = self._own.counters[counter] = value
        return value

    def _record_event(self, event: Event, now_ms: int) -> None:
        own, (kind, name) = self._own, event.key
        doc = self._codec.encode_event(event)
        own.events.append((self._advance("event"), now_ms, kind, name, type(event).__name__, doc))
        if isinstance(event, JobSubmitted):
            own.specs.append((name, self._codec.encode(event.spec)))
            own.dependencies += [
                (edge.job_id, name, edge.type) for edge in event.spec.depends_on if edge.job_id
            ]
            if event.spec.share_identifier is not None:
                own.shares[name] = event.spec.share_identifier
            self._advance("job", to=event.job.seq)
            self._specs.put(name, event.spec)
            self._undo.append(lambda: self._specs.drop(name))

    def _record_job(self, job_id: str, row: Row | None) -> None:
        if not isinstance(row, Job):
            raise InvariantBroken(f"a decision makes job {job_id} vanish; only a purge may do that")
        before = self.job(job_id)
        if before is None:
            self._own.put_job(row, Change.NEW)
            self.count((row.queue, row.kind, row.status), 1)
            self._undo.append(lambda: self._jobs.drop(job_id))
        else:
            moved = (
                row.status != before.status
                or row.started_at_ms != before.started_at_ms
                or row.stopped_at_ms != before.stopped_at_ms
            )
            self._own.put_job(row, Change.MOVED if moved else Change.TOUCHED)
            if row.status != before.status:
                self.count((before.queue, before.kind, before.status), -1)
                self.count((row.queue, row.kind, row.status), 1)
            self._undo.append(lambda: self._jobs.put(job_id, before))
        self._jobs.put(job_id, row)

    def _record_in_catalogue(self, key: Key, row: Row | None) -> None:
        catalogue, (kind, name) = self._catalogue, key
        if isinstance(row, JobDefinition):
            previous = self.definition(row.name, row.revision)
            if previous is None:
                stem, revision = row.name, row.revision
                self._undo.append(lambda: catalogue.drop_definition(stem, revision))
            else:
                self._undo.append(lambda: catalogue.put_definition(previous))
            catalogue.put_definition(row)
        elif kind == "queue" and (row is None or isinstance(row, JobQueue)):
            _swap(catalogue.queues, name, row, self._undo)
        elif kind == "compute_environment" and (row is None or isinstance(row, ComputeEnvironment)):
            _swap(catalogue.compute_environments, name, row, self._undo)
        else:
            raise InvariantBroken(f"a decision holds a row for {key} that is none: {row!r}")
        self._own.catalogue[key] = row


def _swap(rows: dict[str, V], name: str, row: V | None, undo: list[Callable[[], None]]) -> None:
    """Put or remove a row and remember how to go back."""
    before = rows.get(name)
    if before is None:
        undo.append(lambda: _discard(rows, name))
    else:
        undo.append(lambda: rows.__setitem__(name, before))
    if row is None:
        rows.pop(name, None)
    else:
        rows[name] = row


def _discard(rows: dict[str, V], name: str) -> None:
    rows.pop(name, None)

"""Every fixed statement, written in SQLAlchemy Core and compiled to text once per store.

Hot statements run thousands of times a second, so they go to the driver as text with positional
parameters (`?`, in the order of the columns named beside them).
"""

from collections.abc import Sequence

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from batchyard.store import tables as t

# SQLAlchemy would bind a parameter for the offset that was not asked for.
ZERO = sa.literal_column("0", sa.Integer)

JOB_COLUMNS = tuple(c.name for c in t.JOBS.columns if c.name != "row_id")


class Statements(msgspec.Struct, frozen=True, kw_only=True):
    """SQL text by purpose; parameters in the order of the comment."""

    insert_job: str
    """JOB_COLUMNS"""
    move_job: str
    """status, started_at_ms, stopped_at_ms, doc, job_id"""
    touch_job: str
    """doc, job_id: no index is concerned"""
    insert_spec: str
    """root_id, doc"""
    insert_dependency: str
    """upstream, downstream, type"""
    insert_event: str
    """seq, at_ms, kind, id, type, doc"""
    insert_effect: str
    """id, created_at_ms, doc"""
    delete_effect: str
    """id"""
    put_count: str
    """queue, kind, status, count"""
    put_counter: str
    """name, value"""
    put_queue: str
    """name, doc"""
    delete_queue: str
    """name"""
    put_compute_environment: str
    """name, doc"""
    delete_compute_environment: str
    """name"""
    put_definition: str
    """name, revision, status, doc"""
    put_meta: str
    """key, value"""
    put_access_key: str
    """access_key_id, secret_access_key, arn, created_at_ms"""
    select_job: str
    """job_id"""
    select_spec: str
    """root_id"""
    select_dependents: str
    """upstream, after, limit"""
    select_open_children: str
    """root_id, after, limit"""
    select_child_indexes: str
    """root_id, status"""
    select_open_of_queue: str
    """queue, after, limit"""
    select_children: str
    """root_id, after, limit"""
    select_children_by_status: str
    """root_id, status, after, limit"""
    select_open_top: str
    select_open_children_all: str
    select_live: str
    select_counts: str
    select_queues: str
    select_compute_environments: str
    select_definitions: str
    select_definition: str
    """name, revision"""
    select_events_of: str
    """kind, id"""
    select_events_after: str
    """seq, limit"""
    select_outbox: str
    select_counters: str
    select_meta: str
    """key"""
    select_access_key: str
    """access_key_id"""
    select_access_keys: str
    select_ended: str
    """stopped_at_ms, limit"""
    select_child_rows: str
    """root_id, limit"""
    delete_job: str
    """job_id"""
    delete_spec: str
    """root_id"""
    delete_events_of_job: str
    """job_id"""
    delete_edge: str
    """upstream, downstream"""
    delete_edges_from: str
    """upstream"""


def to_sql(statement: sa.ClauseElement, parameters: Sequence[str]) -> str:
    """SQLite's text of a statement whose parameters appear in exactly this order.

    Raises:
        AssertionError: the order of the parameters is another one: a defect of the statement.
    """
    compiled = statement.compile(dialect=sqlite.dialect(paramstyle="qmark"))
    order = list(getattr(compiled, "positiontup", None) or [])
    if order != list(parameters):
        raise AssertionError(f"{compiled}: parameters are {order}, not {list(parameters)}")
    return str(compiled)


def compile_statements() -> Statements:
    jobs = t.JOBS.c
    top = (sa.text(t.IS_TOP),)
    child = (sa.text(t.IS_CHILD), jobs.root_id == _p("root_id"))
    is_open = sa.text(t.IS_OPEN)
    found = (jobs.job_id, jobs.doc)
    event = (
        sa.select(
            t.EVENTS.c.seq, t.EVENTS.c.at_ms, t.EVENTS.c.type, t.EVENTS.c.doc, t.JOB_SPECS.c.doc
        )
        .select_from(
            t.EVENTS.outerjoin(
                t.JOB_SPECS,
                sa.and_(
                    t.EVENTS.c.type == sa.literal_column("'JobSubmitted'"),
                    t.JOB_SPECS.c.root_id == t.EVENTS.c.id,
                ),
            )
        )
        .order_by(t.EVENTS.c.seq)
    )
    return Statements(
        insert_job=_insert(t.JOBS, JOB_COLUMNS),
        move_job=to_sql(
            sa.update(t.JOBS)
            .values({n: _p(n) for n in ("status", "started_at_ms", "stopped_at_ms", "doc")})
            .where(jobs.job_id == _p("key")),
            ("status", "started_at_ms", "stopped_at_ms", "doc", "key"),
        ),
        touch_job=to_sql(
            sa.update(t.JOBS).values(doc=_p("doc")).where(jobs.job_id == _p("key")),
            ("doc", "key"),
        ),
        insert_spec=_insert(t.JOB_SPECS, ("root_id", "doc")),
        insert_dependency=_put(t.DEPENDENCIES),
        insert_event=_insert(t.EVENTS, _names(t.EVENTS)),
        insert_effect=_insert(t.OUTBOX, _names(t.OUTBOX)),
        delete_effect=_delete(t.OUTBOX, "id"),
        put_count=_put(t.JOB_COUNTS),
        put_counter=_put(t.COUNTERS),
        put_queue=_put(t.QUEUES),
        delete_queue=_delete(t.QUEUES, "name"),
        put_compute_environment=_put(t.COMPUTE_ENVIRONMENTS),
        delete_compute_environment=_delete(t.COMPUTE_ENVIRONMENTS, "name"),
        put_definition=_put(t.DEFINITIONS),
        put_meta=_put(t.META),
        put_access_key=_put(t.ACCESS_KEYS),
        select_job=to_sql(sa.select(jobs.doc).where(jobs.job_id == _p("job_id")), ("job_id",)),
        select_spec=to_sql(
            sa.select(t.JOB_SPECS.c.doc).where(t.JOB_SPECS.c.root_id == _p("root_id")),
            ("root_id",),
        ),
        select_dependents=to_sql(
            sa.select(t.DEPENDENCIES.c.downstream, t.DEPENDENCIES.c.type)
            .where(
                t.DEPENDENCIES.c.upstream == _p("upstream"),
                t.DEPENDENCIES.c.downstream > _p("after"),
            )
            .order_by(t.DEPENDENCIES.c.downstream, t.DEPENDENCIES.c.type)
            .limit(_n("limit"))
            .offset(ZERO),
            ("upstream", "after", "limit"),
        ),
        select_open_children=to_sql(
            sa.select(*found)
            .where(*child, is_open, jobs.idx > _p("after"))
            .order_by(jobs.idx)
            .limit(_n("limit"))
            .offset(ZERO),
            ("root_id", "after", "limit"),
        ),
        select_child_indexes=to_sql(
            sa.select(jobs.idx).where(*child, jobs.status == _p("status")).order_by(jobs.idx),
            ("root_id", "status"),
        ),
        select_open_of_queue=to_sql(
            sa.select(*found)
            .where(*top, is_open, jobs.queue == _p("queue"), jobs.seq > _p("after"))
            .order_by(jobs.seq)
            .limit(_n("limit"))
            .offset(ZERO),
            ("queue", "after", "limit"),
        ),
        select_children=to_sql(
            sa.select(*found)
            .where(*child, jobs.idx > _p("after"))
            .order_by(jobs.idx)
            .limit(_n("limit"))
            .offset(ZERO),
            ("root_id", "after", "limit"),
        ),
        select_children_by_status=to_sql(
            sa.select(*found)
            .where(*child, jobs.status == _p("status"), jobs.idx > _p("after"))
            .order_by(jobs.idx)
            .limit(_n("limit"))
            .offset(ZERO),
            ("root_id", "status", "after", "limit"),
        ),
        # ORDER: each of the two matches one partial index; together they are every open row.
        select_open_top=to_sql(
            sa.select(jobs.doc).where(*top, is_open).order_by(jobs.queue, jobs.seq), ()
        ),
        select_open_children_all=to_sql(
            sa.select(jobs.doc)
            .where(sa.text(t.IS_CHILD), is_open)
            .order_by(jobs.root_id, jobs.idx),
            (),
        ),
        select_live=to_sql(sa.select(jobs.doc).where(sa.text(t.IS_LIVE)).order_by(jobs.job_id), ()),
        select_counts=to_sql(
            sa.select(*t.JOB_COUNTS.c).where(t.JOB_COUNTS.c.count > sa.literal_column("0")), ()
        ),
        select_queues=to_sql(sa.select(t.QUEUES.c.doc).order_by(t.QUEUES.c.name), ()),
        select_compute_environments=to_sql(
            sa.select(t.COMPUTE_ENVIRONMENTS.c.doc).order_by(t.COMPUTE_ENVIRONMENTS.c.name), ()
        ),
        select_definitions=to_sql(sa.select(t.DEFINITIONS.c.doc), ()),
        select_definition=to_sql(
            sa.select(t.DEFINITIONS.c.doc).where(
                t.DEFINITIONS.c.name == _p("name"), t.DEFINITIONS.c.revision == _p("revision")
            ),
            ("name", "revision"),
        ),
        select_events_of=to_sql(
            event.where(t.EVENTS.c.kind == _p("kind"), t.EVENTS.c.id == _p("id")), ("kind", "id")
        ),
        select_events_after=to_sql(
            event.where(t.EVENTS.c.seq > _p("seq")).limit(_n("limit")).offset(ZERO),
            ("seq", "limit"),
        ),
        select_outbox=to_sql(sa.select(t.OUTBOX.c.id, t.OUTBOX.c.doc).order_by(t.OUTBOX.c.id), ()),
        select_counters=to_sql(sa.select(*t.COUNTERS.c), ()),
        select_meta=to_sql(sa.select(t.META.c.value).where(t.META.c.key == _p("key")), ("key",)),
        select_access_key=to_sql(
            sa.select(*t.ACCESS_KEYS.c).where(t.ACCESS_KEYS.c.access_key_id == _p("key")),
            ("key",),
        ),
        select_access_keys=to_sql(
            sa.select(*t.ACCESS_KEYS.c).order_by(t.ACCESS_KEYS.c.created_at_ms), ()
        ),
        select_ended=to_sql(
            sa.select(jobs.job_id, jobs.queue, jobs.kind, jobs.status)
            .where(
                *top, sa.text("stopped_at_ms IS NOT NULL"), jobs.stopped_at_ms < _p("stopped_at_ms")
            )
            .order_by(jobs.stopped_at_ms)
            .limit(_n("limit"))
            .offset(ZERO),
            ("stopped_at_ms", "limit"),
        ),
        select_child_rows=to_sql(
            sa.select(jobs.job_id, jobs.queue, jobs.kind, jobs.status)
            .where(*child)
            .order_by(jobs.idx)
            .limit(_n("limit"))
            .offset(ZERO),
            ("root_id", "limit"),
        ),
        delete_job=_delete(t.JOBS, "job_id"),
        delete_spec=_delete(t.JOB_SPECS, "root_id"),
        delete_events_of_job=to_sql(
            sa.delete(t.EVENTS).where(sa.text("kind = 'job'"), t.EVENTS.c.id == _p("id")), ("id",)
        ),
        delete_edge=_delete(t.DEPENDENCIES, "upstream", "downstream"),
        delete_edges_from=_delete(t.DEPENDENCIES, "upstream"),
    )


def _p(name: str) -> sa.BindParameter[object]:
    return sa.bindparam(name)


def _n(name: str) -> sa.BindParameter[int]:
    return sa.bindparam(name, type_=sa.Integer)


def _names(table: sa.Table) -> tuple[str, ...]:
    return tuple(column.name for column in table.columns)


def _insert(table: sa.Table, columns: Sequence[str]) -> str:
    return to_sql(sa.insert(table).values({name: _p(name) for name in columns}), columns)


def _put(table: sa.Table) -> str:
    """Insert or replace a whole row."""
    statement = sqlite.insert(table).values({name: _p(name) for name in _names(table)})
    key = [column.name for column in table.primary_key.columns]
    rest = {n: statement.excluded[n] for n in _names(table) if n not in key}
    upsert = (
        statement.on_conflict_do_update(index_elements=key, set_=rest)
        if rest
        else statement.on_conflict_do_nothing()
    )
    return to_sql(upsert, _names(table))


def _delete(table: sa.Table, *columns: str) -> str:
    return to_sql(sa.delete(table).where(*(table.c[name] == _p(name) for name in columns)), columns)

"""The schema as SQLAlchemy Core metadata. How it came to be stands in `migrations/`.

The columns of a row beside `doc` exist to be searched or constrained; `doc` is the whole value.
"""

import sqlalchemy as sa

from batchyard.kernel.states import STATUSES

METADATA = sa.MetaData()

# ORDER: SQLite uses a partial index only where a query repeats its condition word for word.
IS_OPEN = "status NOT IN ('SUCCEEDED', 'FAILED')"
IS_LIVE = "status IN ('STARTING', 'RUNNING')"
IS_TOP = "idx IS NULL"
IS_CHILD = "idx IS NOT NULL"

_STATUS_LIST = ", ".join(f"'{status}'" for status in STATUSES)


def _where(*conditions: str) -> sa.TextClause:
    return sa.text(" AND ".join(conditions))


JOBS = sa.Table(
    "jobs",
    METADATA,
    sa.Column("row_id", sa.Integer, primary_key=True),
    sa.Column("job_id", sa.Text, nullable=False, unique=True),
    sa.Column("root_id", sa.Text, nullable=False),
    sa.Column("idx", sa.Integer),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("queue", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("name_lower", sa.Text, nullable=False),
    sa.Column("definition_name", sa.Text, nullable=False),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("seq", sa.BigInteger, nullable=False),
    sa.Column("created_at_ms", sa.BigInteger, nullable=False),
    sa.Column("started_at_ms", sa.BigInteger),
    sa.Column("stopped_at_ms", sa.BigInteger),
    sa.Column("share_identifier", sa.Text),
    sa.Column("doc", sa.LargeBinary, nullable=False),
    # AWS: "Job states" and "Array jobs": a parent runs nothing itself; only the ended have stopped.
    sa.CheckConstraint(f"status IN ({_STATUS_LIST})", name="jobs_status"),
    sa.CheckConstraint("kind IN ('single', 'array', 'child')", name="jobs_kind"),
    sa.CheckConstraint("(kind = 'child') = (idx IS NOT NULL)", name="jobs_child_has_index"),
    sa.CheckConstraint(
        "kind <> 'array' OR status NOT IN ('RUNNABLE', 'STARTING', 'RUNNING')",
        name="jobs_array_never_runs",
    ),
    sa.CheckConstraint(
        f"(stopped_at_ms IS NOT NULL) = NOT ({IS_OPEN})", name="jobs_stopped_when_ended"
    ),
)
sa.Index(
    "jobs_by_status",
    JOBS.c.queue,
    JOBS.c.status,
    JOBS.c.created_at_ms,
    JOBS.c.seq,
    sqlite_where=_where(IS_TOP),
)
sa.Index(
    "jobs_by_time",
    JOBS.c.queue,
    JOBS.c.created_at_ms,
    JOBS.c.seq,
    sqlite_where=_where(IS_TOP),
)
sa.Index(
    "jobs_by_name",
    JOBS.c.queue,
    JOBS.c.name_lower,
    JOBS.c.created_at_ms,
    JOBS.c.seq,
    sqlite_where=_where(IS_TOP),
)
sa.Index(
    "jobs_by_definition",
    JOBS.c.queue,
    JOBS.c.definition_name,
    JOBS.c.created_at_ms,
    JOBS.c.seq,
    sqlite_where=_where(IS_TOP),
)
sa.Index(
    "jobs_by_share",
    JOBS.c.queue,
    JOBS.c.share_identifier,
    JOBS.c.created_at_ms,
    JOBS.c.seq,
    sqlite_where=_where(IS_TOP, "share_identifier IS NOT NULL"),
)
sa.Index("jobs_open", JOBS.c.queue, JOBS.c.seq, sqlite_where=_where(IS_TOP, IS_OPEN))
sa.Index("jobs_live", JOBS.c.job_id, sqlite_where=_where(IS_LIVE))
sa.Index(
    "jobs_ended",
    JOBS.c.stopped_at_ms,
    sqlite_where=_where(IS_TOP, "stopped_at_ms IS NOT NULL"),
)
sa.Index(
    "children_by_status",
    JOBS.c.root_id,
    JOBS.c.status,
    JOBS.c.idx,
    sqlite_where=_where(IS_CHILD),
)
sa.Index("children_by_index", JOBS.c.root_id, JOBS.c.idx, sqlite_where=_where(IS_CHILD))
sa.Index("children_open", JOBS.c.root_id, JOBS.c.idx, sqlite_where=_where(IS_CHILD, IS_OPEN))

JOB_SPECS = sa.Table(
    "job_specs",
    METADATA,
    sa.Column("row_id", sa.Integer, primary_key=True),
    sa.Column("root_id", sa.Text, nullable=False, unique=True),
    sa.Column("doc", sa.LargeBinary, nullable=False),
)

JOB_COUNTS = sa.Table(
    "job_counts",
    METADATA,
    sa.Column("queue", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, primary_key=True),
    sa.Column("status", sa.Text, primary_key=True),
    sa.Column("count", sa.Integer, nullable=False),
    sa.CheckConstraint("count >= 0", name="job_counts_count"),
    sqlite_with_rowid=False,
)

DEPENDENCIES = sa.Table(
    "dependencies",
    METADATA,
    sa.Column("upstream", sa.Text, primary_key=True),
    sa.Column("downstream", sa.Text, primary_key=True),
    sa.Column("type", sa.Text, primary_key=True),
    sa.CheckConstraint("type IN ('PLAIN', 'N_TO_N', 'SEQUENTIAL')", name="dependencies_type"),
    sqlite_with_rowid=False,
)

EVENTS = sa.Table(
    "events",
    METADATA,
    sa.Column("seq", sa.Integer, primary_key=True),
    sa.Column("at_ms", sa.BigInteger, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("id", sa.Text, nullable=False),
    sa.Column("type", sa.Text, nullable=False),
    sa.Column("doc", sa.LargeBinary, nullable=False),
)
sa.Index("events_by_row", EVENTS.c.kind, EVENTS.c.id)

OUTBOX = sa.Table(
    "outbox",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("created_at_ms", sa.BigInteger, nullable=False),
    sa.Column("doc", sa.LargeBinary, nullable=False),
)

QUEUES = sa.Table(
    "queues",
    METADATA,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("doc", sa.LargeBinary, nullable=False),
)

COMPUTE_ENVIRONMENTS = sa.Table(
    "compute_environments",
    METADATA,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("doc", sa.LargeBinary, nullable=False),
)

DEFINITIONS = sa.Table(
    "definitions",
    METADATA,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("revision", sa.Integer, primary_key=True),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("doc", sa.LargeBinary, nullable=False),
    sa.CheckConstraint("status IN ('ACTIVE', 'INACTIVE')", name="definitions_status"),
)

COUNTERS = sa.Table(
    "counters",
    METADATA,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("value", sa.BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
"""Highest numbers ever given out, so that a purge never makes one come back."""

META = sa.Table(
    "meta",
    METADATA,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)

ACCESS_KEYS = sa.Table(
    "access_keys",
    METADATA,
    sa.Column("access_key_id", sa.Text, primary_key=True),
    sa.Column("secret_access_key", sa.Text, nullable=False),
    sa.Column("arn", sa.Text, nullable=False),
    sa.Column("created_at_ms", sa.BigInteger, nullable=False),
)

"""The first schema.

Frozen text: it must stay what it was when it was written, whatever `tables` becomes.
"""

from alembic import op

revision = "0001"
down_revision = None

STATEMENTS = (
    """
    CREATE TABLE access_keys (
        access_key_id TEXT NOT NULL,
        secret_access_key TEXT NOT NULL,
        arn TEXT NOT NULL,
        created_at_ms BIGINT NOT NULL,
        PRIMARY KEY (access_key_id)
    )
    """,
    """
    CREATE TABLE compute_environments (
        name TEXT NOT NULL,
        doc BLOB NOT NULL,
        PRIMARY KEY (name)
    )
    """,
    """
    CREATE TABLE counters (
        name TEXT NOT NULL,
        value BIGINT NOT NULL,
        PRIMARY KEY (name)
    )
     WITHOUT ROWID
    """,
    """
    CREATE TABLE definitions (
        name TEXT NOT NULL,
        revision INTEGER NOT NULL,
        status TEXT NOT NULL,
        doc BLOB NOT NULL,
        PRIMARY KEY (name, revision),
        CONSTRAINT definitions_status CHECK (status IN ('ACTIVE', 'INACTIVE'))
    )
    """,
    """
    CREATE TABLE dependencies (
        upstream TEXT NOT NULL,
        downstream TEXT NOT NULL,
        type TEXT NOT NULL,
        PRIMARY KEY (upstream, downstream, type),
        CONSTRAINT dependencies_type CHECK (type IN ('PLAIN', 'N_TO_N', 'SEQUENTIAL'))
    )
     WITHOUT ROWID
    """,
    """
    CREATE TABLE events (
        seq INTEGER NOT NULL,
        at_ms BIGINT NOT NULL,
        kind TEXT NOT NULL,
        id TEXT NOT NULL,
        type TEXT NOT NULL,
        doc BLOB NOT NULL,
        PRIMARY KEY (seq)
    )
    """,
    """
    CREATE INDEX events_by_row ON events (kind, id)
    """,
    """
    CREATE TABLE job_counts (
        queue TEXT NOT NULL,
        kind TEXT NOT NULL,
        status TEXT NOT NULL,
        count INTEGER NOT NULL,
        PRIMARY KEY (queue, kind, status),
        CONSTRAINT job_counts_count CHECK (count >= 0)
    )
     WITHOUT ROWID
    """,
    """
    CREATE TABLE job_specs (
        row_id INTEGER NOT NULL,
        root_id TEXT NOT NULL,
        doc BLOB NOT NULL,
        PRIMARY KEY (row_id),
        UNIQUE (root_id)
    )
    """,
    """
    CREATE TABLE jobs (
        row_id INTEGER NOT NULL,
        job_id TEXT NOT NULL,
        root_id TEXT NOT NULL,
        idx INTEGER,
        kind TEXT NOT NULL,
        queue TEXT NOT NULL,
        name TEXT NOT NULL,
        name_lower TEXT NOT NULL,
        definition_name TEXT NOT NULL,
        revision INTEGER NOT NULL,
        status TEXT NOT NULL,
        seq BIGINT NOT NULL,
        created_at_ms BIGINT NOT NULL,
        started_at_ms BIGINT,
        stopped_at_ms BIGINT,
        share_identifier TEXT,
        doc BLOB NOT NULL,
        PRIMARY KEY (row_id),
        CONSTRAINT jobs_status CHECK (
            status IN ('SUBMITTED', 'PENDING', 'RUNNABLE', 'STARTING', 'RUNNING',
                'SUCCEEDED', 'FAILED')
        ),
        CONSTRAINT jobs_kind CHECK (kind IN ('single', 'array', 'child')),
        CONSTRAINT jobs_child_has_index CHECK ((kind = 'child') = (idx IS NOT NULL)),
        CONSTRAINT jobs_array_never_runs CHECK (
            kind <> 'array' OR status NOT IN ('RUNNABLE', 'STARTING', 'RUNNING')
        ),
        CONSTRAINT jobs_stopped_when_ended CHECK (
            (stopped_at_ms IS NOT NULL) = NOT (status NOT IN ('SUCCEEDED', 'FAILED'))
        ),
        UNIQUE (job_id)
    )
    """,
    """
    CREATE INDEX children_by_index ON jobs (root_id, idx) WHERE idx IS NOT NULL
    """,
    """
    CREATE INDEX children_by_status ON jobs (root_id, status, idx) WHERE idx IS NOT NULL
    """,
    """
    CREATE INDEX children_open
    ON jobs (root_id, idx)
    WHERE idx IS NOT NULL AND status NOT IN ('SUCCEEDED', 'FAILED')
    """,
    """
    CREATE INDEX jobs_by_definition
    ON jobs (queue, definition_name, created_at_ms, seq)
    WHERE idx IS NULL
    """,
    """
    CREATE INDEX jobs_by_name ON jobs (queue, name_lower, created_at_ms, seq) WHERE idx IS NULL
    """,
    """
    CREATE INDEX jobs_by_share
    ON jobs (queue, share_identifier, created_at_ms, seq)
    WHERE idx IS NULL AND share_identifier IS NOT NULL
    """,
    """
    CREATE INDEX jobs_by_status ON jobs (queue, status, created_at_ms, seq) WHERE idx IS NULL
    """,
    """
    CREATE INDEX jobs_by_time ON jobs (queue, created_at_ms, seq) WHERE idx IS NULL
    """,
    """
    CREATE INDEX jobs_ended ON jobs (stopped_at_ms) WHERE idx IS NULL AND stopped_at_ms IS NOT NULL
    """,
    """
    CREATE INDEX jobs_live ON jobs (job_id) WHERE status IN ('STARTING', 'RUNNING')
    """,
    """
    CREATE INDEX jobs_open
    ON jobs (queue, seq)
    WHERE idx IS NULL AND status NOT IN ('SUCCEEDED', 'FAILED')
    """,
    """
    CREATE TABLE meta (
        "key" TEXT NOT NULL,
        value TEXT NOT NULL,
        PRIMARY KEY ("key")
    )
    """,
    """
    CREATE TABLE outbox (
        id INTEGER NOT NULL,
        created_at_ms BIGINT NOT NULL,
        doc BLOB NOT NULL,
        PRIMARY KEY (id)
    )
    """,
    """
    CREATE TABLE queues (
        name TEXT NOT NULL,
        doc BLOB NOT NULL,
        PRIMARY KEY (name)
    )
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)

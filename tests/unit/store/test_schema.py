"""The schema made new, the schema made by migrations, and the plans of the queries on it."""

import contextlib
import re
import sqlite3
from pathlib import Path

import pytest
import sqlalchemy as sa

from batchyard.store import migrate, schema, tables
from batchyard.store.listing import _compile
from batchyard.store.port import Cursor, JobQuery, Match
from batchyard.store.statements import Statements, compile_statements, to_sql


def made_new(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    schema.prepare(connection, path, meta=dict)
    return connection


def dump(connection: sqlite3.Connection) -> list[tuple[str, str, str]]:
    found = connection.execute("SELECT type, name, sql FROM sqlite_master")
    return sorted((kind, name, re.sub(r"\s+", "", sql or "")) for kind, name, sql in found)


def test_migrations_and_tables_agree(tmp_path: Path) -> None:
    migrate.upgrade(tmp_path / "migrated.db")
    with (
        contextlib.closing(made_new(tmp_path / "new.db")) as new,
        contextlib.closing(sqlite3.connect(tmp_path / "migrated.db")) as migrated,
    ):
        assert dump(new) == dump(migrated)
        version = "SELECT * FROM alembic_version"
        assert new.execute(version).fetchall() == migrated.execute(version).fetchall()


def test_head_is_the_newest_migration() -> None:
    assert migrate.known_revisions()[-1] == schema.HEAD


def test_an_older_file_is_migrated(tmp_path: Path) -> None:
    """A file whose version stands before the first step goes through every step."""
    path = tmp_path / "old.db"
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(schema.VERSION_TABLE)
        assert schema._version(connection, path) == ""
    migrate.upgrade(path)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        assert schema.prepare(connection, path, meta=dict) is False


def test_prepare_is_repeatable(tmp_path: Path) -> None:
    with contextlib.closing(made_new(tmp_path / "new.db")) as connection:
        before = dump(connection)
        assert schema.prepare(connection, tmp_path / "new.db", meta=dict) is False
        assert dump(connection) == before


def test_a_crash_while_the_schema_is_made_leaves_an_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "new.db"

    def dies() -> dict[str, str]:
        raise KeyboardInterrupt

    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        with pytest.raises(KeyboardInterrupt):
            schema.prepare(connection, path, meta=dies)
        assert dump(connection) == []
        assert schema.prepare(connection, path, meta=dict) is True


INDEX_OF = {
    "select_job": "sqlite_autoindex_jobs_1",
    "select_spec": "sqlite_autoindex_job_specs_1",
    "select_dependents": "PRIMARY KEY",
    "select_open_children": "children_open",
    "select_child_indexes": "children_by_status",
    "select_open_of_queue": "jobs_open",
    "select_children": "children_by_index",
    "select_children_by_status": "children_by_status",
    "select_open_top": "jobs_open",
    "select_open_children_all": "children_open",
    "select_live": "jobs_live",
    "select_definition": "sqlite_autoindex_definitions_1",
    "select_events_of": "events_by_row",
    "select_events_after": "INTEGER PRIMARY KEY",
    "select_ended": "jobs_ended",
    "select_child_rows": "children_by_index",
    "move_job": "sqlite_autoindex_jobs_1",
    "touch_job": "sqlite_autoindex_jobs_1",
    "delete_job": "sqlite_autoindex_jobs_1",
    "delete_events_of_job": "events_by_row",
    "delete_edges_from": "PRIMARY KEY",
}


def plan(connection: sqlite3.Connection, statement: str, parameters: object) -> str:
    found = connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)  # type: ignore[arg-type]
    return "; ".join(str(row[3]) for row in found)


@pytest.fixture(scope="module")
def statements() -> Statements:
    return compile_statements()


@pytest.mark.parametrize("name", INDEX_OF)
def test_statement_walks_its_index(tmp_path: Path, name: str, statements: Statements) -> None:
    statement = getattr(statements, name)
    with contextlib.closing(made_new(tmp_path / "new.db")) as connection:
        how = plan(connection, statement, [1] * statement.count("?"))
    first = how.split(";")[0]
    assert INDEX_OF[name] in first
    assert "TEMP B-TREE" not in how


@pytest.mark.parametrize(
    ("query", "index"),
    [
        (JobQuery(statuses=("RUNNING",)), "jobs_by_status (queue=? AND status=?"),
        (JobQuery(), "jobs_by_time (queue=?"),
        (JobQuery(created_before_ms=1), "jobs_by_time (queue=? AND created_at_ms<?"),
        (JobQuery(created_after_ms=1), "jobs_by_time (queue=? AND created_at_ms>?"),
        (JobQuery(name=Match(text="x")), "jobs_by_name (queue=? AND name_lower=?"),
        (
            JobQuery(definition=Match(text="x")),
            "jobs_by_definition (queue=? AND definition_name=?",
        ),
        (JobQuery(share=Match(text="x")), "jobs_by_share (queue=? AND share_identifier=?"),
    ],
)
@pytest.mark.parametrize("cursor", [None, Cursor(created_at_ms=1, seq=1)])
def test_listing_walks_an_index_in_order(
    tmp_path: Path, query: JobQuery, index: str, cursor: Cursor | None
) -> None:
    with contextlib.closing(made_new(tmp_path / "new.db")) as connection:
        statement = _compile(query, cursor)
        names = dict.fromkeys(re.findall(r":(\w+)", statement), 1)
        how = plan(connection, statement, names)
    assert index in how
    assert "TEMP B-TREE" not in how


def test_a_statement_whose_parameters_are_out_of_order_is_a_defect() -> None:
    columns = tables.META.c
    statement = sa.select(columns.value).where(columns.key == sa.bindparam("a"))
    with pytest.raises(AssertionError, match="parameters are"):
        to_sql(statement, ("b",))

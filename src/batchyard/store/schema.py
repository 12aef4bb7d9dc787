"""Bringing a database file to the schema this code knows: made new, migrated, or refused.

A new file gets the schema straight from `tables` (a test holds it equal to what the migrations
make), so the migration tool is loaded only when an older file must change.
"""

import sqlite3
from collections.abc import Callable
from pathlib import Path

from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateIndex, CreateTable

from batchyard.kernel.faults import SchemaMismatch
from batchyard.store import tables as t

HEAD = "0001"
"""The newest revision in `migrations/versions`."""

VERSION_TABLE = """
CREATE TABLE alembic_version (
    version_num VARCHAR(32) NOT NULL,
    CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
)
"""


def prepare(
    connection: sqlite3.Connection, path: Path, *, meta: Callable[[], dict[str, str]]
) -> bool:
    """Make sure the file has the schema of `HEAD`; True when it was empty.

    Args:
        connection: Open on `path`, in autocommit.
        path: The database file.
        meta: First contents of the table `meta` for a new file.

    Raises:
        SchemaMismatch: the file was written by a newer Batchyard, or by something else.
    """
    # ORDER: one transaction, so that a crash leaves an empty file and never half a schema.
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = _version(connection, path)
        if version is None:
            _create(connection)
            connection.executemany("INSERT INTO meta (key, value) VALUES (?, ?)", meta().items())
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    if version is not None and version != HEAD:
        _migrate(path, version)
    return version is None


def create_statements() -> list[str]:
    """The DDL of `tables`, in an order that works."""
    dialect = sqlite.dialect()
    out: list[str] = []
    for table in t.METADATA.sorted_tables:
        out.append(str(CreateTable(table).compile(dialect=dialect)))
        indexes = sorted(table.indexes, key=lambda index: str(index.name))
        out += [str(CreateIndex(index).compile(dialect=dialect)) for index in indexes]
    return out


def _create(connection: sqlite3.Connection) -> None:
    for statement in create_statements():
        connection.execute(statement)
    connection.execute(VERSION_TABLE)
    connection.execute("INSERT INTO alembic_version VALUES (?)", (HEAD,))


def _version(connection: sqlite3.Connection, path: Path) -> str | None:
    names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    if not names:
        return None
    if "alembic_version" not in names:
        raise SchemaMismatch(
            f"{path} is a database, but not one of Batchyard",
            hint="Choose another data directory.",
        )
    found = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    return str(found[0]) if found else ""


def _migrate(path: Path, version: str) -> None:
    # Loaded late: alembic costs more than everything else a start does.
    from batchyard.store.migrate import known_revisions, upgrade

    if version not in known_revisions():
        raise SchemaMismatch(
            f"{path} has schema {version!r}, which this Batchyard (schema {HEAD!r}) does not know",
            hint="It was written by a newer Batchyard: install that version or a later one.",
        )
    upgrade(path)

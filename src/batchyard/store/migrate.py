"""Driving alembic from code: no ini file, no command line."""

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory


def known_revisions() -> list[str]:
    """Oldest first."""
    walk = ScriptDirectory.from_config(_config()).walk_revisions()
    return [script.revision for script in walk][::-1]


def upgrade(path: Path, *, to: str = "head") -> None:
    """Bring a file to a revision, all steps in one transaction."""
    engine = sa.create_engine(sa.URL.create("sqlite", database=str(path)))
    # ORDER: the driver would otherwise commit before each CREATE; a crash must undo all of it.
    sa.event.listen(engine, "connect", _take_control)
    sa.event.listen(engine, "begin", _begin)
    config = _config()
    try:
        with engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, to)
    finally:
        engine.dispose()


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    return config


def _take_control(connection: sa.pool.PoolProxiedConnection, _record: object) -> None:
    connection.isolation_level = None  # type: ignore[attr-defined] # of sqlite3.Connection


def _begin(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")

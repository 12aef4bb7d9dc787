"""The queries whose text depends on what is asked: jobs and definitions by filters, in pages."""

import sqlite3
from collections.abc import Iterator

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from batchyard.kernel.states import Status
from batchyard.store import tables as t
from batchyard.store.port import Cursor, JobQuery, Match
from batchyard.store.statements import ZERO

Found = tuple[int, int, bytes]
"""created_at_ms, seq, doc."""

Shape = tuple[bool | None, ...]

LAST_CHARACTER = "\U0010ffff"


class Listing:
    """Keeps the text of each shape of query; the number of shapes is small and fixed."""

    def __init__(self) -> None:
        self._texts: dict[Shape, str] = {}

    def find(
        self,
        connection: sqlite3.Connection,
        query: JobQuery,
        *,
        queues: list[str],
        cursor: Cursor | None,
        limit: int,
    ) -> list[Found]:
        """The first `limit` jobs after the cursor, newest first.

        One statement per queue and state: each walks its own index and stops at the limit.
        """
        parameters = _parameters(query, cursor, limit)
        text = self._text(query, cursor)
        statuses: tuple[Status | None, ...] = query.statuses or (None,)
        found: list[Found] = []
        for queue in queues:
            for status in dict.fromkeys(statuses):
                parameters["queue"], parameters["status"] = queue, status
                found += connection.execute(text, parameters)
        if len(queues) > 1 or len(statuses) > 1:
            found.sort(key=lambda row: (row[0], row[1]), reverse=True)
        return found[:limit]

    def find_definitions(
        self,
        connection: sqlite3.Connection,
        *,
        name: str | None,
        status: str | None,
        after: tuple[str, int] | None,
        limit: int,
    ) -> list[bytes]:
        """Documents by name, newest revision first."""
        shape: Shape = (name is not None, status is not None, after is not None)
        text = self._texts.get(shape)
        if text is None:
            text = self._texts[shape] = _compile_definitions(*shape)
        after_name, after_revision = after or ("", 0)
        parameters = {
            "name": name,
            "status": status,
            "after_name": after_name,
            "after_revision": after_revision,
            "limit": limit,
        }
        return [doc for (doc,) in connection.execute(text, parameters)]

    def _text(self, query: JobQuery, cursor: Cursor | None) -> str:
        shape: Shape = (
            bool(query.statuses),
            *(None if m is None else m.prefix for m in (query.name, query.definition, query.share)),
            query.revision is not None,
            query.created_before_ms is not None,
            query.created_after_ms is not None,
            cursor is not None,
        )
        text = self._texts.get(shape)
        if text is None:
            text = self._texts[shape] = _compile(query, cursor)
        return text


def _compile(query: JobQuery, cursor: Cursor | None) -> str:
    jobs = t.JOBS.c
    conditions: list[sa.ColumnElement[bool] | sa.TextClause] = [
        sa.text(t.IS_TOP),
        jobs.queue == sa.bindparam("queue"),
    ]
    if query.statuses:
        conditions.append(jobs.status == sa.bindparam("status"))
    conditions += _matches(jobs.name_lower, "name", query.name)
    conditions += _matches(jobs.definition_name, "definition", query.definition)
    conditions += _matches(jobs.share_identifier, "share", query.share)
    if query.share is not None:
        conditions.append(sa.text("share_identifier IS NOT NULL"))
    if query.revision is not None:
        conditions.append(jobs.revision == sa.bindparam("revision"))
    if query.created_before_ms is not None:
        conditions.append(jobs.created_at_ms < sa.bindparam("created_before_ms"))
    if query.created_after_ms is not None:
        conditions.append(jobs.created_at_ms > sa.bindparam("created_after_ms"))
    if cursor is not None:
        here = sa.tuple_(sa.bindparam("cursor_created_at_ms"), sa.bindparam("cursor_seq"))
        conditions.append(sa.tuple_(jobs.created_at_ms, jobs.seq) < here)
    statement = (
        sa.select(jobs.created_at_ms, jobs.seq, jobs.doc)
        .where(*conditions)
        .order_by(jobs.created_at_ms.desc(), jobs.seq.desc())
        .limit(sa.bindparam("limit", type_=sa.Integer))
        .offset(ZERO)
    )
    return str(statement.compile(dialect=sqlite.dialect(paramstyle="named")))


def _compile_definitions(name: bool | None, status: bool | None, after: bool | None) -> str:
    columns = t.DEFINITIONS.c
    conditions: list[sa.ColumnElement[bool]] = []
    if name:
        conditions.append(columns.name == sa.bindparam("name"))
    if status:
        conditions.append(columns.status == sa.bindparam("status"))
    if after:
        older = sa.and_(
            columns.name == sa.bindparam("after_name"),
            columns.revision < sa.bindparam("after_revision"),
        )
        conditions.append(sa.or_(columns.name > sa.bindparam("after_name"), older))
    statement = (
        sa.select(columns.doc)
        .where(*conditions)
        .order_by(columns.name, columns.revision.desc())
        .limit(sa.bindparam("limit", type_=sa.Integer))
        .offset(ZERO)
    )
    return str(statement.compile(dialect=sqlite.dialect(paramstyle="named")))


def _matches(
    column: sa.ColumnElement[str], name: str, match: Match | None
) -> Iterator[sa.ColumnElement[bool]]:
    if match is None:
        return
    if match.prefix:
        yield column >= sa.bindparam(name)
        yield column < sa.bindparam(f"{name}_end")
    else:
        yield column == sa.bindparam(name)


def _parameters(query: JobQuery, cursor: Cursor | None, limit: int) -> dict[str, object]:
    out: dict[str, object] = {
        "limit": limit,
        "revision": query.revision,
        "created_before_ms": query.created_before_ms,
        "created_after_ms": query.created_after_ms,
    }
    if cursor is not None:
        out |= {"cursor_created_at_ms": cursor.created_at_ms, "cursor_seq": cursor.seq}
    texts = {"name": query.name, "definition": query.definition, "share": query.share}
    for name, match in texts.items():
        if match is not None:
            text = match.text.lower() if name == "name" else match.text
            out |= {name: text, f"{name}_end": text + LAST_CHARACTER}
    return out

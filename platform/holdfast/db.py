"""Two ways to a psycopg connection: the caller's own, through Django, and one of the engine's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, cast

import psycopg
from django.db import connection as django_connection
from django.db import connections
from psycopg.pq import Format
from psycopg.rows import TupleRow

Conn = psycopg.Connection[TupleRow]

#: SQLSTATE of a write on a session that may only read: the server is a replica, or was told to take no writes.
READ_ONLY: Final = "25006"
#: What PostgreSQL says (first characters of the SQLSTATE) when the same statement may well succeed later: rolled back
#: by a deadlock, disk full or too many connections, a lock not given, cancelled by an operator, an error of the
#: system, read-only for a while.
PASSING: Final = ("40", "53", "55", "57", "58", READ_ONLY)


def sqlstate(error: BaseException | None) -> str:
    """The SQLSTATE of an error of psycopg's, or of Django's around one; empty when there is none."""
    while error is not None and not isinstance(error, psycopg.Error):
        error = error.__cause__
    return (error.sqlstate or "") if error is not None else ""


def is_passing(error: BaseException) -> bool:
    """Whether the server lives, refuses now, and may well not refuse later."""
    return sqlstate(error).startswith(PASSING)


def drop_callers_if_read_only(error: BaseException) -> None:
    """A session keeps the default with which it began: one that may only read would refuse writes for as long as the
    pool keeps it. The next one may be better off."""
    if sqlstate(error) == READ_ONLY and django_connection.connection is not None:
        django_connection.connection.close()  # first, or a pool would take it back
        django_connection.close()


_TIME_OID: Final = psycopg.adapters.types["timestamptz"].oid
#: Django gives its connections a loader of its own in Python, which costs a page with ten thousand times a tenth of a
#: second. psycopg's, in C, gives the same values, for Django's sessions are in UTC.
_TIME_LOADER: Final = psycopg.adapters.get_loader(_TIME_OID, Format.TEXT)


class _ServerBound:
    """Executes on Django's connection with parameters bound by the server: Django's own cursors bind in the client,
    which spells an array of a thousand payloads into the statement and plans it anew each time."""

    __slots__ = ("_connection",)

    def __init__(self, connection: Conn) -> None:
        self._connection = connection

    def execute(self, query: Any, params: Any = None, *, prepare: bool | None = None) -> psycopg.Cursor[TupleRow]:
        cursor = psycopg.Cursor(self._connection)
        if _TIME_LOADER is not None:
            cursor.adapters.register_loader(_TIME_OID, _TIME_LOADER)
        return cursor.execute(query, params, prepare=prepare)

    def cursor(self) -> psycopg.Cursor[TupleRow]:
        """For COPY, which is no statement with parameters."""
        return psycopg.Cursor(self._connection)


@contextmanager
def callers() -> Iterator[Conn]:
    """Django's connection of this thread, inside whatever transaction the caller has open."""
    django_connection.ensure_connection()
    with django_connection.wrap_database_errors:
        yield cast(Conn, _ServerBound(cast(Conn, django_connection.connection)))


def rows(query: str, **params: Any) -> list[dict[str, Any]]:
    """The rows of a statement on Django's connection of this thread, by the names of its columns."""
    with django_connection.cursor() as cursor:
        cursor.execute(query, params)
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


#: The engine's statements look up rows by keys that they are given. Its tables are empty one moment and hold a million
#: rows the next, and a plan that was made and kept for the empty table would walk through all of them: so the planner
#: is told which ways never to take. A statement that has no other way takes them all the same.
_PLANS = "-c enable_seqscan=off -c enable_nestloop=off -c enable_mergejoin=off -c jit=off"

#: A process that is frozen in the middle of a transaction would hold its row locks for as long as it is frozen. This
#: does not see one that is frozen in the middle of a pipeline: `end_frozen` of queues/sql/workers.sql is for those.
_FROZEN = "-c idle_in_transaction_session_timeout=4000"


def connect(name: str) -> Conn:
    """A new connection of the engine's own, in autocommit; `name` is shown in pg_stat_activity."""
    wrapper = connections["default"]
    params = dict(wrapper.get_connection_params())
    for ours in ("cursor_factory", "context", "pool", "prepare_threshold", "server_side_binding"):
        params.pop(ours, None)
    params["application_name"] = f"holdfast {name}"
    params["options"] = f"{params.get('options', '')} {_PLANS} {_FROZEN}".strip()
    return psycopg.connect(**params, autocommit=True, prepare_threshold=1)


class Statements:
    """Stands in for a cursor in a pipeline, and gives each statement one of its own. In one that is shared, the result
    of an earlier statement, which a full output buffer of the server's brings early, passes for that of the last."""

    def __init__(self, conn: Conn) -> None:
        self._conn = conn

    def execute(self, query: Any, params: Any = None, *, prepare: bool | None = None) -> psycopg.Cursor[TupleRow]:
        self._last = self._conn.execute(query, params, prepare=prepare)
        return self._last

    @property
    def connection(self) -> Conn:
        return self._conn

    def fetchall(self) -> list[TupleRow]:
        """Of the last statement."""
        return self._last.fetchall()

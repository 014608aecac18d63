"""Statements that are given up when they take too long: nobody waits for a page for ever, and PostgreSQL is not kept
busy for somebody who has left."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from django.db import OperationalError, connection, transaction

from holdfast import db

#: Milliseconds after which a page's look is given up.
PATIENCE: Final = 5_000
_QUERY_CANCELED: Final = "57014"


class TooLong(Exception):
    """PostgreSQL has given a statement up after PATIENCE."""


@contextmanager
def patience(milliseconds: int = PATIENCE) -> Iterator[None]:
    """Statements inside are given up after so long. Raises TooLong."""
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SHOW statement_timeout")
            before = cursor.fetchone()[0]
            cursor.execute("SELECT set_config('statement_timeout', %s, true)", [str(milliseconds)])
            yield
            cursor.execute("SELECT set_config('statement_timeout', %s, true)", [before])
    except OperationalError as error:
        if db.sqlstate(error) != _QUERY_CANCELED:
            raise
        raise TooLong from None

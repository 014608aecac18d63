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
_SET: Final = "SELECT set_config('statement_timeout', %s, true), set_config('enable_seqscan', %s, true)"


class TooLong(Exception):
    """PostgreSQL has given a statement up after PATIENCE."""


@contextmanager
def patience(milliseconds: int = PATIENCE, *, by_index: bool = False) -> Iterator[None]:
    """Statements inside are given up after so long. Raises TooLong.

    Args:
        by_index: all of them have an index. Of a value that it does not know, PostgreSQL may think that it is frequent,
            and that a walk through the whole table would soon meet one.
    """
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT current_setting('statement_timeout'), current_setting('enable_seqscan')")
            before = cursor.fetchone()
            cursor.execute(_SET, [str(milliseconds), "off" if by_index else before[1]])
            yield
            cursor.execute(_SET, before)
    except OperationalError as error:
        if db.sqlstate(error) != _QUERY_CANCELED:
            raise
        raise TooLong from None

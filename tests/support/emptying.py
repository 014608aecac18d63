"""Tables are emptied after a test that commits: those that hold something, and no others.

Django truncates every table after each such test, which makes some three hundred files anew, and then stores content
types and permissions again, which nobody had changed. Here a table is truncated when its file is not empty (also of
rows that were deleted since), so that what the next test finds is the same.
"""

from __future__ import annotations

from typing import Final

from django.db import connection
from django.test import TransactionTestCase

#: What migrations write and no test touches: `test_emptying.py` looks.
KEPT: Final = ("django_migrations", "django_content_type", "auth_permission")

_USED: Final = """
SELECT quote_ident(relname) FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND relname <> ALL(%s) AND pg_relation_size(oid) > 0
"""


def empty() -> list[str]:
    """Empties the tables that hold something, and says which."""
    with connection.cursor() as cursor:
        cursor.execute(_USED, [list(KEPT)])
        used = [name for (name,) in cursor.fetchall()]
        if used:
            cursor.execute(f"TRUNCATE {', '.join(used)} CASCADE")  # nothing refers to a table from among those kept
    return used


def install() -> None:
    """From here on Django's own test case does it like that, and with it every test that commits."""
    TransactionTestCase._fixture_teardown = lambda case: empty()  # type: ignore[method-assign]

"""Counting what a page asks of PostgreSQL, whichever way it asks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from holdfast import db


@contextmanager
def counted() -> Iterator[list[str]]:
    """What the block executes, Django's statements and those of `holdfast.db`; filled when the block is over."""
    direct: list[str] = []
    found: list[str] = []
    execute = db._ServerBound.execute

    def counted(self: Any, query: Any, *args: Any, **kwargs: Any) -> Any:
        direct.append(str(query))
        return execute(self, query, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch, CaptureQueriesContext(connection) as captured:
        patch.setattr(db._ServerBound, "execute", counted)
        yield found
    found += [query["sql"] for query in captured.captured_queries] + direct


def listing(found: list[str]) -> str:
    """Statements, one a line."""
    return "\n".join(f"  {' '.join(text.split())[:160]}" for text in found)


@contextmanager
def statements(exactly: int) -> Iterator[None]:
    """Fails unless the block executes so many statements."""
    with counted() as found:
        yield
    assert len(found) == exactly, f"{len(found)} statements instead of {exactly}:\n{listing(found)}"

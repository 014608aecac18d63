"""The statements of `runs/sql`, loaded once. Tables of flow are reached by pieces of `queues.store` within them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from holdfast import sql
from queues import store as queue_store

_PIECES = {"add_incoming": queue_store.ADD_INCOMING, "add_ready": queue_store.ADD_READY}
SQL = sql.load(Path(__file__).parents[1] / "sql", _PIECES)


def columns(rows: Sequence[tuple[Any, ...]], *names: str) -> dict[str, list[Any]]:
    """Rows as the arrays that a statement unnests."""
    return dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))

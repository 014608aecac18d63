"""Columns of the list of runs and of its files, as addresses have them: `?columns=task,queue,why`.

The list and the file have one set of names. Status and run stand in every list, whatever is asked for.
"""

from __future__ import annotations

from typing import Final

from runs.errors import InvalidFilter
from runs.filters import Params, Reader
from runs.models import Run
from runs.reasons import Reason

#: Of the list: the name in addresses, and the words above it.
CHOICES: Final = (
    ("queue", "Queue"),
    ("why", "Why, or what went wrong"),
    ("tags", "Tags"),
    ("concurrency_key", "Concurrency key"),
    ("version", "Version"),
    ("started_at", "Started"),
    ("seconds", "Took"),
    ("created_at", "Created"),
)
ALWAYS: Final = ("id", "task", "status")
LISTED: Final = (*ALWAYS, *(name for name, _ in CHOICES))
#: Of a list whose address asks for none.
USUAL: Final = ("queue", "why", "seconds", "created_at")
#: Of a file whose address asks for none.
FILED: Final = (
    "id", "task", "queue", "status", "attempt", "max_attempts", "priority", "created_at", "started_at", "finished_at",
    "seconds", "tags", "concurrency_key", "idempotency_key", "version", "error_type", "error_message", "parent_id",
)  # fmt: skip
#: What a file may have. Why a run waits is asked of the queues, page by page, so only who wants it has it.
FILEABLE: Final = (*FILED, "why")


def asked(params: Params, offered: tuple[str, ...]) -> tuple[str, ...]:
    """The columns that `columns` names, in its order; none when it names none.

    Raises:
        InvalidFilter: one is not offered; the message has those that are.
    """
    reader = Reader(params)
    parts = [part.strip() for value in reader.values("columns") for part in value.split(",")]
    reader.done()
    names = tuple(dict.fromkeys(part for part in parts if part))
    if strange := [name for name in names if name not in offered]:
        message = f"has {strange[0][:60]!r}, which is no column here; write some of {', '.join(offered)}"
        raise InvalidFilter(f"columns {message}.", errors=[{"field": "columns", "message": message}])
    return names


def pairs(names: tuple[str, ...]) -> list[tuple[str, str]]:
    """The query parameters that ask for them, for links; none for none."""
    return [("columns", ",".join(names))] if names else []


def of_file(names: tuple[str, ...]) -> tuple[str, ...]:
    """Those of the file of a list with these columns: what the list always shows comes first."""
    return (*ALWAYS, *(name for name in names if name not in ALWAYS)) if names else ()


def why(run: Run, reason: Reason | None) -> str:
    """Why a run does not get on and what went wrong, as the list says it on one line."""
    error = run.error if isinstance(run.error, dict) and run.status != "completed" else {}
    wrong = f"{str(error.get('type') or 'Error').rpartition('.')[2]}: {error.get('message') or ''}" if error else ""
    held = f"{reason.words}{f' {reason.at.isoformat()}' if reason.at else ''}" if reason else ""
    return " after ".join(part for part in (held, wrong) if part)

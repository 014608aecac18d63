"""The steps of a very long run, for a page that holds only those in sight: a page of them by sequence, and an overview
of all of them in some hundred groups of consecutive ones."""

from __future__ import annotations

import uuid
from typing import Any, Final

from holdfast import db
from runs.live import Message, plain
from runs.store import SQL

#: Steps of one page.
PAGE: Final = 200
#: Groups of the overview.
GROUPS: Final = 200
#: Steps that the overview looks at, the latest: half a second's work for PostgreSQL.
MOST: Final = 200_000
#: Failures whose places are told, the first, and waits that are long enough to be folded.
MAX_FAILURES: Final = 100
MAX_WAITS: Final = 200


def page(run_id: uuid.UUID, after: int) -> Message:
    """The next PAGE snapshots after a sequence: {items}."""
    return {"items": [plain(row) for row in db.rows(SQL.live_snapshots, run=run_id, after=after, limit=PAGE)]}


def overview(run_id: uuid.UUID) -> Message:
    """All snapshots at a glance, in JSON:

    first, last  their lowest and highest sequence; 0 when there is none
    from         the first one that the overview has: not `first` where there are more than MOST
    steps        finished steps among them
    failed       failed tries among them; `failures` has the sequences of the first MAX_FAILURES
    attempts     [{number, first, last}]: whose they are
    groups       [{first, last, count, failed, from, to}]: consecutive ones, their number and their span of time
    waits        [{started_at, finished_at}]: the longest waits
    """
    ends = db.rows(SQL.live_snapshot_ends, run=run_id)[0]
    first, last = ends["first"] or 0, ends["last"] or 0
    begin = max(first, last - MOST + 1)
    size = max(1, -(-(last - begin + 1) // GROUPS))
    rows = db.rows(SQL.live_snapshot_groups, run=run_id, begin=begin, last=last, size=size) if last else []
    span = {"run": run_id, "begin": begin, "last": last}
    failures = db.rows(SQL.live_failures, **span, limit=MAX_FAILURES) if any(row["failed"] for row in rows) else []
    waits = db.rows(SQL.live_long_waits, **span, limit=MAX_WAITS) if any(row["waits"] for row in rows) else []
    return {
        "first": first,
        "last": last,
        "from": begin,
        "steps": sum(row["steps"] for row in rows),
        "failed": sum(row["failed"] for row in rows),
        "failures": [row["sequence"] for row in failures],
        "attempts": _attempts(rows),
        "groups": [_group(row) for row in rows],
        "waits": [plain(row) for row in waits],
    }


def _attempts(rows: list[dict[str, Any]]) -> list[Message]:
    found: dict[int, Message] = {}
    for row in rows:
        of = found.setdefault(row["attempt"], {"number": row["attempt"], "first": row["first"], "last": row["last"]})
        of["first"], of["last"] = min(of["first"], row["first"]), max(of["last"], row["last"])
    return [found[number] for number in sorted(found)]


def _group(row: dict[str, Any]) -> Message:
    return plain({name: row[name] for name in ("first", "last", "count", "failed", "from", "to")})

"""Entries of the flow, as an enqueue makes them, for tests that need no runs."""

from __future__ import annotations

from uuid import UUID

from holdfast import db
from queues import store
from queues.models import Queue


def fill(
    queue: Queue,
    key: str | None = None,
    count: int = 1,
    *,
    priority: int = 0,
    lane: int | None = 0,
    age: float = 0.0,
    units: int = 1,
) -> list[UUID]:
    """So many entries, the first in line first, in a lane or (None) in the first two by turns; `age` is how many
    seconds ago they became ready."""
    with db.callers() as conn:
        ids = [row[0] for row in conn.execute("SELECT uuidv7() FROM generate_series(1, %s)", [count])]
        conn.execute(
            f"""WITH incoming AS (
                SELECT i.id AS entry_id, %(queue)s::bigint AS queue_id,
                       coalesce(%(lane)s, (i.nth - 1) %% 2)::smallint AS lane,
                       %(priority)s::smallint AS priority, %(key)s::varchar AS concurrency_key,
                       %(units)s::int AS units, NULL::timestamptz AS due_at
                FROM unnest(%(ids)s::uuid[]) WITH ORDINALITY AS i (id, nth)
            ), {store.ADD_INCOMING} SELECT count(*) FROM incoming""",
            {"queue": queue.pk, "lane": lane, "priority": priority, "key": key, "ids": ids, "units": units},
        )
        conn.execute(
            "UPDATE queues_entry SET ready_at = ready_at - make_interval(secs => %(age)s), "
            "counts_from = counts_from - make_interval(secs => %(age)s) WHERE entry_id = ANY(%(ids)s)",
            {"age": age, "ids": ids},
        )
    return ids

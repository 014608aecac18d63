"""Who keeps rows of the line that are done with from being cleared away, asked of PostgreSQL."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest
from django.utils import timezone

from holdfast import db
from queues import horizon
from queues.models import Entry, Lane
from runs.causes import selectors
from tests.support import stored
from tests.support.people import signed_in
from tests.support.waiting import eventually

pytestmark = pytest.mark.usefixtures("registered")
#: Seconds until the transactions of other tests are over: some take a minute, and more on a slow machine.
OTHERS = 300.0


def pass_by(count: int) -> None:
    """So many entries come into the line, and are done with."""
    now, queue = timezone.now(), stored.queue("kelp")
    Entry.objects.bulk_create(
        Entry(entry_id=uuid.uuid4(), queue=queue, lane=Lane.THREAD, ready_at=now, counts_from=now) for _ in range(count)
    )
    Entry.objects.all().delete()


def test_the_session_with_the_oldest_snapshot_is_named_and_blamed_when_it_costs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(horizon, "COSTLY", 200)
    monkeypatch.setattr(horizon, "LONG", 0.0)
    stored.worker()
    began = timezone.now()
    with db.connect("backup") as backup, db.connect("another") as another:
        pid = backup.info.backend_pid
        for session in (backup, another):
            session.execute("SET idle_in_transaction_session_timeout = 0")
            session.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
            session.execute("SELECT count(*) FROM queues_entry")
        pass_by(200)

        def counted() -> horizon.Horizon | None:
            """With nobody before us: other tests' sessions write into the same cluster."""
            found = horizon.horizon()
            return found if found.dead >= 200 and f"(process {pid})" in found.holder else None

        held = eventually(counted, "the rows are counted, and whoever came before is done", OTHERS)
        assert f"(process {pid})" in held.holder
        assert held.since is not None
        assert began - timedelta(seconds=1) < held.since < timezone.now()
        assert "transaction" in [said.cause.key for said in selectors.story().said]
        assert "rows of the line cannot be cleared away" in signed_in("viewer").get("/").content.decode()


def test_one_that_has_written_counts_too_and_one_that_is_over_does_not() -> None:
    with db.connect("writes") as writes:
        writes.execute("SET idle_in_transaction_session_timeout = 0")
        writes.execute("BEGIN")
        writes.execute("SELECT pg_current_xact_id()")
        ours = f"(process {writes.info.backend_pid})"
        # Other tests write into the same cluster: sessions that began before are the older ones until they end.
        eventually(lambda: ours in horizon.horizon().holder, "it is the oldest that is left", OTHERS)
        writes.rollback()
        assert ours not in horizon.horizon().holder

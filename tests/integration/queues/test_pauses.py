"""Pauses that end by themselves, queues that drain, and changes that are taken back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.utils import timezone

from holdfast.access.grants import Actor
from holdfast.access.models import AuditEntry
from holdfast.access.selectors import database_now
from queues import services, store
from queues.declare import Queue as Declared
from queues.errors import InvalidChange
from queues.models import Queue
from queues.pauses import pauses
from queues.rate import Rate
from queues.store import Conn
from runs.engine import upkeep
from tests.support.flow import fill
from tests.support.people import signed_in

ACTOR = Actor.local()
HTMX = {"HX-Request": "true"}


@pytest.fixture
def shop(conn: Conn) -> Queue:
    return Queue.objects.create(name="shop")


def leased(conn: Conn, worker: int) -> set[UUID]:
    found: set[UUID] = set()
    while True:
        with conn.transaction():
            grants, more, *_ = store.lease(conn, worker=worker, pools=["default"], coroutines=9, threads=0)
        found |= {g.entry_id for g in grants}
        if not more:
            return found


def test_a_pause_for_a_time_ends_by_itself(conn: Conn, shop: Queue, worker: int) -> None:
    ids = {*fill(shop), *fill(shop, "a")}
    queue = services.queue_pause("shop", ACTOR, "deploy", seconds=60)
    assert queue.paused_until - queue.paused_at == timedelta(seconds=60)
    assert leased(conn, worker) == set()
    assert store.pools_with_entries(conn) == set()
    upkeep.end_pauses(conn)
    assert Queue.objects.get().paused
    conn.execute("SELECT set_config('holdfast.clock_offset', '61 seconds', false)")
    assert store.pools_with_entries(conn) == {"default"}
    assert leased(conn, worker) == ids, "to the second, though nobody has resumed it yet"


def test_the_scheduler_says_that_a_pause_is_over(conn: Conn, shop: Queue) -> None:
    services.queue_pause("shop", ACTOR, "deploy", seconds=60)
    Queue.objects.update(paused_until=timezone.now() - timedelta(seconds=1))
    upkeep.end_pauses(conn)
    upkeep.end_pauses(conn)
    queue = Queue.objects.get()
    assert (queue.paused, queue.paused_until, queue.pause_reason) == (False, None, "")
    entry = AuditEntry.objects.get(action="queues.resume")
    assert (entry.actor_label, entry.actor_kind) == ("scheduler", "system")


def test_a_queue_that_drains_works_off_what_was_there(conn: Conn, shop: Queue, worker: int) -> None:
    before = {*fill(shop, count=2), *fill(shop, "a", 2)}
    services.queue_pause("shop", ACTOR, "move", drain=True)
    after = {*fill(shop, count=2, priority=50), *fill(shop, "a", 1, priority=50), *fill(shop, "b", 1)}
    assert leased(conn, worker) == before
    assert leased(conn, worker) == set()
    services.queue_resume("shop", ACTOR)
    assert leased(conn, worker) == after


def test_a_pause_may_be_changed_into_one_for_a_time_or_into_a_drain(shop: Queue) -> None:
    first = services.queue_pause("shop", ACTOR, "deploy")
    assert services.queue_pause("shop", ACTOR, "again").pause_reason == "deploy", "it is paused already"
    timed = services.queue_pause("shop", ACTOR, "an hour", seconds=3_600)
    assert (timed.paused_at, timed.pause_reason) == (first.paused_at, "an hour")
    drained = services.queue_pause("shop", ACTOR, "move", drain=True)
    assert drained.drains
    assert drained.paused_at > first.paused_at


@pytest.mark.parametrize("drain", [False, True])
def test_a_pause_without_an_end_over_one_for_a_time_is_none_that_ends(conn: Conn, shop: Queue, drain: bool) -> None:
    first = services.queue_pause("shop", ACTOR, "restart", seconds=60, drain=drain)
    queue = services.queue_pause("shop", ACTOR, "database is corrupt", drain=drain)
    assert (queue.paused_until, queue.pause_reason) == (None, "database is corrupt")
    assert queue.paused_at == first.paused_at, "it was paused all the time"
    upkeep.end_pauses(conn)
    assert Queue.objects.get().paused
    assert AuditEntry.objects.filter(action="queues.pause").count() == 2


def test_a_pause_after_one_that_is_over_and_not_ended_yet_begins_now(conn: Conn, shop: Queue, worker: int) -> None:
    services.queue_pause("shop", ACTOR, "move", seconds=60, drain=True)
    Queue.objects.update(
        paused_at=timezone.now() - timedelta(seconds=61), paused_until=timezone.now() - timedelta(seconds=1)
    )
    before = {*fill(shop, count=2)}
    again = services.queue_pause("shop", ACTOR, "move", drain=True)
    assert timezone.now() - again.paused_at < timedelta(seconds=30)
    fill(shop, count=2, priority=50)
    assert leased(conn, worker) == before, "what came before this pause is worked off"


@pytest.mark.parametrize("seconds", [0, -1, 0.5, True, "60", 10**12, float("nan")])
def test_seconds_that_cannot_be_are_refused(shop: Queue, seconds: Any) -> None:
    with pytest.raises(InvalidChange, match="seconds from 1 to"):
        services.queue_pause("shop", ACTOR, seconds=seconds)
    assert not Queue.objects.get().paused


# ── taken back ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_last_change_is_undone_and_undone_again(shop: Queue) -> None:
    services.queue_update("shop", ACTOR, concurrency_limit=4, rate="10 per minute")
    services.queue_update("shop", ACTOR, concurrency_limit=9, key_weights={"gold": 2})
    queue = services.queue_undo("shop", ACTOR, "too much")
    assert (queue.concurrency_limit, queue.rate, queue.key_weights) == (4, Rate(10, per="minute"), {})
    assert queue.edited == ["concurrency_limit", "rate"]
    again = services.queue_undo("shop", ACTOR)
    assert (again.concurrency_limit, again.key_weights) == (9, {"gold": 2})
    entry = AuditEntry.objects.filter(action="queues.undo").first()
    assert ((entry.before or {})["concurrency_limit"], (entry.after or {})["concurrency_limit"]) == (4, 9)


@pytest.fixture
def declared(conn: Conn) -> Iterator[Callable[..., None]]:
    """A process starts whose code declares the queue so."""

    def declare(**settings: Any) -> None:
        Declared.declared.pop("shop", None)
        with conn.transaction():
            store.declare_queue(conn, Declared("shop", **settings))

    yield declare
    Declared.declared.pop("shop", None)


def test_what_nobody_had_edited_becomes_what_code_declares_now(declared: Callable[..., None]) -> None:
    declared(concurrency_limit=5, key_concurrency_limit=2)
    services.queue_update("shop", ACTOR, concurrency_limit=3)
    declared(concurrency_limit=8, key_concurrency_limit=4, rate="7 per minute")
    queue = services.queue_undo("shop", ACTOR)
    assert (queue.concurrency_limit, queue.key_concurrency_limit, queue.edited) == (8, 4, [])
    assert queue.rate == Rate(7, per="minute")
    again = services.queue_undo("shop", ACTOR)
    assert (again.concurrency_limit, again.key_concurrency_limit) == (3, 4)
    assert again.edited == ["concurrency_limit"]


def test_a_pause_is_undone_and_so_is_a_resume(shop: Queue) -> None:
    paused = services.queue_pause("shop", ACTOR, "deploy", seconds=900)
    assert not services.queue_undo("shop", ACTOR).paused
    again = services.queue_undo("shop", ACTOR)
    assert (again.paused_at, again.paused_until, again.pause_reason) == (
        paused.paused_at,
        paused.paused_until,
        "deploy",
    )


def test_what_was_never_changed_cannot_be_undone(shop: Queue) -> None:
    with pytest.raises(InvalidChange, match="nothing to undo"):
        services.queue_undo("shop", ACTOR)


def test_the_row_offers_to_undo_what_was_just_changed(shop: Queue) -> None:
    client = signed_in("admin")
    assert "Undo the change" not in client.get("/queues/").content.decode()
    changed = client.post("/queues/shop/limit/", {"concurrency_limit": "9"}, headers=HTMX).content.decode()
    assert "Undo the change" in changed
    back = client.post("/queues/shop/undo/", headers=HTMX).content.decode()
    assert "no limit" in back
    assert Queue.objects.get().concurrency_limit is None


def test_a_pause_for_minutes_and_a_drain_are_asked_for_on_the_page(shop: Queue) -> None:
    client = signed_in("operator")
    page = client.post("/queues/shop/pause/", {"minutes": "1.5", "drain": "on"}, headers=HTMX).content.decode()
    assert "drains" in page
    assert ', ends <time class="nowrap"' in page, "not: until in 59 s"
    assert "Undo the change" not in page, "operators do not edit"
    queue = Queue.objects.get()
    assert queue.paused_until - queue.paused_at == timedelta(seconds=90)
    for wrong in ("0", "-1", "many", "99999999"):
        refused = client.post("/queues/shop/pause/", {"minutes": wrong}, headers=HTMX)
        assert refused.status_code == 422
        assert "Write minutes from 0.017 (one second) to 44,640" in refused.content.decode()


# ── what looks back ──────────────────────────────────────────────────────────────────────────────────────────────────


def told(name: str) -> list[tuple[bool, bool]]:
    """Of each pause of a queue: whether it has begun, and whether it goes on."""
    now = database_now()
    return [(pause.start <= now, pause.end > now) for pause in pauses(name).get(name, [])]


def test_the_log_says_when_a_queue_was_paused(shop: Queue) -> None:
    assert told("shop") == []
    services.queue_pause("shop", ACTOR, "down")
    assert told("shop") == [(True, True)]
    services.queue_pause("shop", ACTOR, "down", seconds=3_600)
    [pause] = pauses()["shop"]
    assert timedelta(minutes=59) < pause.end - pause.start < timedelta(minutes=61)
    services.queue_resume("shop", ACTOR)
    assert told("shop") == [(True, False)]
    services.queue_undo("shop", ACTOR)
    assert told("shop")[-1] == (True, True), "the undo has paused it again"
    services.queue_resume("shop", ACTOR)
    services.queue_update("shop", ACTOR, concurrency_limit=7)
    services.queue_undo("shop", ACTOR)
    assert told("shop")[-1] == (True, False), "what was undone was a limit"
    assert pauses("nothing") == {}


def test_a_pause_of_which_the_log_knows_the_end_alone_began_as_that_says(shop: Queue) -> None:
    began, over = database_now() - timedelta(hours=2), database_now() - timedelta(hours=1)
    AuditEntry.objects.create(
        at=over,
        actor_kind="user",
        action="queues.resume",
        object_type="queue",
        object_id="shop",
        before={"paused_at": began.isoformat(), "paused_until": None},
        after={"paused_at": None, "paused_until": None},
    )
    assert pauses("shop") == {"shop": [(began, over)]}

"""Breakers over HTTP, on the page and on the command line; what they count, without any worker."""

from __future__ import annotations

import io
import json
import threading
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.test import Client

from holdfast import db
from holdfast.access.models import AuditEntry
from queues import selectors, store
from queues.breaker import Breaker as Declared
from queues.breaker import NamedBreaker
from queues.declare import Queue as DeclaredQueue
from queues.models import Breaker
from queues.naming import QueueDeclarationError
from queues.store import Calls, Conn
from tests.support.people import signed_in
from tests.support.waiting import eventually

HTMX = {"HX-Request": "true"}


@pytest.fixture
def openai(conn: Conn) -> str:
    """A breaker that opens at half of ten calls, for ten seconds; two probes."""
    declared = Declared.declared.get("unit-openai") or Declared("unit-openai", min_calls=10, cooldown=10, probes=2)
    store.declare_breaker(conn, declared)
    return declared.name


def say(conn: Conn, name: str, calls: Calls | None = None, *probes: tuple[int, bool]) -> str:
    """What calls and probes came to; how it stands after that."""
    counts = {name: calls} if calls else {}
    store.report_calls(conn, source=1, counts=counts, probes=[(name, epoch, failed) for epoch, failed in probes])
    views, _ = store.judge_breakers(conn, [name])
    return views[0].state


def at(conn: Conn, seconds: float) -> None:
    conn.execute("SELECT set_config('holdfast.clock_offset', %s, false)", [f"{seconds} seconds"])


def test_it_opens_at_the_share_of_failures_and_not_before_there_are_calls_enough(conn: Conn, openai: str) -> None:
    assert say(conn, openai, Calls(9, 9)) == "closed"
    assert say(conn, openai, Calls(10, 0)) == "closed", "nine of nineteen"
    assert say(conn, openai, Calls(1, 1)) == "open", "ten of twenty"


def test_failures_that_have_left_the_window_count_no_more(conn: Conn, openai: str) -> None:
    say(conn, openai, Calls(9, 9))
    at(conn, 31)
    assert say(conn, openai, Calls(9, 9)) == "closed"


def test_probes_of_two_processes_that_report_at_once_both_count(conn: Conn, openai: str) -> None:
    say(conn, openai, Calls(10, 10))
    at(conn, 11)
    say(conn, openai)
    epoch = store.take_probe(conn, openai)
    assert epoch is not None
    reported = threading.Event()

    def fails() -> None:
        with db.connect("second") as other:
            at(other, 11)
            reported.set()
            say(other, openai, None, (epoch, True))

    second = threading.Thread(target=fails)
    with conn.transaction():
        store.report_calls(conn, source=1, counts={}, probes=[(openai, epoch, False)])
        second.start()
        reported.wait(10)
        eventually(lambda: waits_for_lock(conn), "the second waits for the first")
    second.join()
    assert Breaker.objects.get(name=openai).state == "open"


def waits_for_lock(conn: Conn) -> bool:
    found = conn.execute(
        "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    )
    return found.fetchone() is not None


def test_after_the_cooldown_so_many_probes_and_no_more_are_let_through(conn: Conn, openai: str) -> None:
    assert say(conn, openai, Calls(10, 10)) == "open"
    assert store.take_probe(conn, openai) is None
    at(conn, 11)
    assert say(conn, openai) == "half_open"
    first, second = store.take_probe(conn, openai), store.take_probe(conn, openai)
    assert first is not None
    assert first == second
    assert store.take_probe(conn, openai) is None
    assert say(conn, openai, Calls(1), (first, False)) == "half_open"
    assert say(conn, openai, Calls(1), (first, False)) == "closed"
    assert say(conn, openai, Calls(9, 9)) == "closed", "its window begins anew"


def test_one_probe_that_fails_opens_it_for_another_cooldown(conn: Conn, openai: str) -> None:
    say(conn, openai, Calls(10, 10))
    at(conn, 11)
    say(conn, openai)
    probe = store.take_probe(conn, openai)
    assert probe is not None
    assert say(conn, openai, Calls(1, 1), (probe, True)) == "open"
    at(conn, 16)
    assert say(conn, openai) == "open"
    at(conn, 22)
    assert say(conn, openai) == "half_open"
    assert say(conn, openai, None, (probe, False), (probe, False)) == "half_open", "late probes count no more"


def test_probes_that_never_come_back_are_asked_anew(conn: Conn, openai: str) -> None:
    say(conn, openai, Calls(10, 10))
    at(conn, 11)
    say(conn, openai)
    assert store.take_probe(conn, openai)
    assert store.take_probe(conn, openai)
    at(conn, 22)
    assert say(conn, openai) == "half_open"
    assert store.take_probe(conn, openai) is not None


@pytest.mark.parametrize(
    ("field", "value"),
    [("name", ""), ("failure_rate", 0), ("failure_rate", 2), ("min_calls", 0), ("min_calls", 1.5), ("window", 10**9),
     ("cooldown", True), ("probes", "3"), ("retry_budget", -1), ("slow", float("nan")), ("cooldown", None)],
)  # fmt: skip
def test_nonsense_is_refused_at_import(field: str, value: Any) -> None:
    with pytest.raises(QueueDeclarationError):
        Declared(**{"name": "unit-nonsense", field: value})
    assert "unit-nonsense" not in Declared.declared


# ── people ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_page_shows_it_and_holds_it_open(conn: Conn, openai: str) -> None:
    say(conn, openai, Calls(20, 3, 1, 2))
    client: Client = signed_in("operator")
    page = client.get("/queues/").content.decode()
    assert openai in page
    held = client.post(f"/queues/breakers/{openai}/force/", {"state": "open", "reason": "unpaid"}, headers=HTMX)
    assert "held by operator-person: unpaid" in " ".join(held.content.decode().split())
    assert say(conn, openai) == "open"
    assert client.post(f"/queues/breakers/{openai}/release/", headers=HTMX).status_code == 200
    assert say(conn, openai) == "closed"
    actions = AuditEntry.objects.filter(object_type="breaker").values_list("action", flat=True)
    assert list(actions) == ["breakers.release", "breakers.force"]
    wrong = client.post(f"/queues/breakers/{openai}/force/", {"state": "ajar"}, headers=HTMX)
    assert wrong.status_code == 422
    assert "write open or closed" in wrong.content.decode()
    assert client.post("/queues/breakers/nothing/force/", {"state": "open"}, headers=HTMX).status_code == 404
    assert client.get(f"/queues/breakers/{openai}/force/").status_code == 405


def test_a_viewer_holds_nothing(openai: str) -> None:
    client = signed_in("viewer")
    assert client.post(f"/queues/breakers/{openai}/force/", {"state": "open"}).status_code == 403
    assert "Hold open" not in client.get("/queues/").content.decode()
    assert Breaker.objects.get().forced == ""


def test_the_command_line(openai: str) -> None:
    def said(*words: str) -> str:
        out = io.StringIO()
        call_command("breakers", *words, stdout=out)
        return out.getvalue()

    assert "closed" in said("list")
    assert "is held open" in said("open", openai, "--reason", "unpaid")
    assert json.loads(said("list", "--json"))[0]["forced_reason"] == "unpaid"
    assert "Calls decide again" in said("release", openai)
    assert "is held closed" in said("close", openai)
    with pytest.raises(CommandError, match="unit-openai"):
        said("open", "unit-opeani")


def test_one_that_is_only_named_leaves_what_another_process_declares(conn: Conn, openai: str) -> None:
    store.declare_breaker(conn, NamedBreaker(openai))
    assert Breaker.objects.get(name=openai).cooldown == 10
    store.declare_breaker(conn, NamedBreaker("unit-named"))
    assert Breaker.objects.get(name="unit-named").cooldown == 30


def test_a_queue_says_by_which_breaker_it_is_protected(conn: Conn) -> None:
    guarded = DeclaredQueue.declared.get("unit-shown") or DeclaredQueue("unit-shown", breaker="unit-openai")
    store.declare_queue(conn, guarded)
    assert 'href="#breaker-unit-openai"' in signed_in("viewer").get("/queues/").content.decode()
    assert selectors.describe(selectors.queue_get("unit-shown"))["breaker"] == "unit-openai"

"""Groups of errors on their pages: listed, judged, resolved, snoozed."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from holdfast import db
from holdfast.access.grants import Actor
from holdfast.access.models import AuditEntry
from holdfast.demo.history.incidents import before
from runs.errorgroups import selectors, services
from runs.errorgroups.model import ErrorGroup
from runs.errorgroups.selectors import MAX_LOOKED, Asked, UnknownErrorGroup
from runs.errorgroups.states import State
from runs.errors import InvalidFilter, InvalidOption, WrongState
from runs.models import Task
from runs.store import SQL
from tests.support import stored
from tests.support.people import signed_in

pytestmark = pytest.mark.django_db
ACTOR = Actor.local()


def text_of(client: Client, path: str) -> str:
    response = client.get(path)
    assert response.status_code == 200, path
    return response.content.decode().replace("&#x27;", "'")


def listed(**asked: str) -> list[str]:
    return [group.fingerprint for group in selectors.page(Asked.parse(**asked)).items]


def state(fingerprint: str = "f00d") -> State:
    return selectors.group_get(fingerprint).state


def old(count: int = 1, **fields: Any) -> ErrorGroup:
    """A group that has been there for ten days."""
    stored.failures(hours_ago=240, **fields)
    return stored.failures(count, **fields)


def test_an_empty_list_teaches_and_a_full_one_tells_what_fails_where() -> None:
    client = signed_in("viewer")
    assert "One bug is one line" in text_of(client, "/errors/")
    stored.failures(3, step="send", version="abc123", ends=1)
    page = text_of(client, "/errors/")
    for words in ("ValueError", "no order #", "sums", "in send", "abc123", ">new</span>", "at most 3 in six hours"):
        assert words in page, words
    assert 'href="/errors/f00d/"' in page


def test_its_runs_are_redriven_as_a_canary_by_who_may_retry() -> None:
    stored.failures(3, example=stored.run("failed", error={**stored.error(), "fingerprint": "f00d"}).pk)
    assert "Redrive" not in text_of(signed_in("viewer"), "/errors/f00d/")
    client = signed_in("operator")
    (asked,) = re.findall(r'href="(/bulk/new/[^"]+)"', text_of(client, "/errors/f00d/"))
    question = text_of(client, asked.replace("&amp;", "&"))
    assert re.search(r'value="canary" checked', question)
    assert "1 run" in question


def test_it_is_asked_by_state_task_and_time_and_each_tab_says_how_many() -> None:
    stored.task("other")
    old(fingerprint="steady")
    stored.failures(fingerprint="fresh", name="other")
    stored.failures(fingerprint="long-ago", hours_ago=200)
    services.error_resolve(old(fingerprint="done").pk, actor=ACTOR)
    services.error_snooze(old(fingerprint="asleep").pk, duration="1d", actor=ACTOR)
    assert set(listed()) == {"steady", "fresh"}
    assert set(listed(state="all")) == {"steady", "fresh", "done", "asleep"}
    assert set(listed(state="all", span="30d")) == {"steady", "fresh", "done", "asleep", "long-ago"}
    for name, found in {"new": "fresh", "steady": "steady", "resolved": "done", "snoozed": "asleep"}.items():
        assert listed(state=name) == [found]
    assert listed(task="other") == ["fresh"]
    assert listed(task="nothing") == []
    page = text_of(signed_in("viewer"), "/errors/?state=new&task=other")
    assert re.search(r'<a href="\?state=snoozed&amp;task=other">Snoozed <span class="count">0</span>', page)
    assert re.search(r'aria-current="page">New <span class="count">1</span>', page)


def test_a_list_of_one_task_counts_what_that_task_has_met() -> None:
    stored.task("other")
    stored.failures(5, step="a")
    stored.failures(2, name="other", step="b")
    [group] = selectors.page(Asked.parse(task="other")).items
    assert (group.tries, group.steps) == (2, ["b"])
    assert selectors.group_get("f00d").tries == 7


def test_a_list_goes_on_page_by_page_and_looks_further_when_little_fits() -> None:
    for number in range(7):
        stored.failures(fingerprint=f"f{number}", hours_ago=number / 60)
    pages, cursor = [], ""
    while True:
        page = selectors.page(Asked.parse(cursor=cursor), limit=3)
        pages.append([group.fingerprint for group in page.items])
        if page.next is None:
            break
        cursor = str(page.next)
    assert pages == [["f0", "f1", "f2"], ["f3", "f4", "f5"], ["f6"]]
    now = timezone.now()
    ErrorGroup.objects.bulk_create(
        ErrorGroup(
            fingerprint=f"g{number:04}", type="E", message="m", tasks=["t"], first_seen=now,
            last_seen=now + timedelta(seconds=number),
        )
        for number in range(MAX_LOOKED)
    )  # fmt: skip
    first = selectors.page(Asked.parse(state="resolved"))
    assert (first.items, first.searched_to, sum(first.counts.values())) == ([], now, MAX_LOOKED)
    assert "Look further" in text_of(signed_in("viewer"), "/errors/?state=resolved")
    second = selectors.page(Asked.parse(state="new", cursor=str(first.next)))
    assert len(second.items) == 7
    assert second.counts == {}


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("span=1y", "span is '1y'; write one of 24h, 7d, 30d"),
        ("state=odd", "state is 'odd'; write one of new"),
        ("task=%00", "task holds a control character"),
        ("cursor=x", "cursor is no cursor"),
        ("cursor=9999999999999999999999-f00d", "cursor is no cursor"),
        ("cursor=1-%00", "cursor is no cursor"),
    ],
)
def test_what_is_asked_wrongly_is_said_and_nothing_fails(query: str, words: str) -> None:
    answer = signed_in("viewer").get(f"/errors/?{query}")
    assert answer.status_code == 422
    assert words in answer.content.decode().replace("&#x27;", "'")


def test_the_page_tells_since_when_where_and_shows_the_latest_example() -> None:
    stored.failures(4, step="send", version="v1", ends=1)
    stored.failures(2, version="v2", hours_ago=3)
    trace = 'Traceback (most recent call last):\n  File "/srv/shop/tasks.py", line 3, in work\n    <b>\n'
    error = {**stored.error("order 17 <script>"), "fingerprint": "f00d", "traceback": trace, "step": "send#1"}
    failed = stored.run("failed", error=error)
    again = stored.run("retrying", error={**error, "message": "order 18"}, age=10)
    page = text_of(signed_in("viewer"), "/errors/f00d/")
    assert f'href="/runs/{again.pk}/"' in page
    assert f'href="/runs/{failed.pk}/"' in page
    for words in ("order 18", 'class="ours"', "&lt;b&gt;", "in send#1", "outside of steps", "v2", "1 run<"):
        assert words in page, words
    assert "/runs/?q=error:f00d" in page
    assert "Resolve" not in page, "a viewer judges nothing"
    figure = json.loads(signed_in("operator").get("/errors/f00d/chart/?span=24h").content)
    assert sum(figure["data"][0]["y"]) == 6


def test_an_example_of_runs_that_have_gone_on_is_found_in_their_attempts_and_tries() -> None:
    error = {**stored.error(), "fingerprint": "f00d"}
    healed = stored.run("completed")
    stored.attempt(healed, 1, "failed", error=error)
    stored.failures(example=healed.pk)
    found = selectors.example(selectors.group_get("f00d"))
    assert found is not None
    assert (found.run.pk, found.error) == (healed.pk, error)
    tried = stored.run("completed")
    stored.snapshots(tried, 1, 3)
    stored.snapshots(tried, 4, 4, kind="failure", error=error)
    stored.failures(example=tried.pk)
    found = selectors.example(selectors.group_get("f00d"))
    assert found is not None
    assert found.run.pk == tried.pk
    assert selectors.example(stored_without_run()) is None
    assert "The runs that have met it are gone" in text_of(signed_in("viewer"), "/errors/lonely/")


def stored_without_run() -> selectors.Group:
    stored.failures(fingerprint="lonely")
    return selectors.group_get("lonely")


def test_an_error_that_is_no_group_leads_to_its_runs_or_nowhere() -> None:
    client = signed_in("viewer")
    stored.run("failed", error={**stored.error(), "fingerprint": "older"})
    answer = client.get("/errors/older/")
    assert (answer.status_code, answer["Location"]) == (302, "/runs/?q=error:older")
    for nothing in ("none", "a" * 65, "%00", "a b", "'"):
        assert client.get(f"/errors/{nothing}/").status_code == 404
        assert client.get(f"/errors/{nothing}/chart/").status_code == 404
    assert client.get("/errors/none/chart/?span=1y").status_code == 422


def test_what_is_resolved_stays_so_until_a_version_meets_it_that_had_not() -> None:
    Task.objects.filter(pk=stored.task().pk).update(version="v2")
    old(3, version="v1")
    client = signed_in("operator")
    assert client.post("/errors/f00d/resolve/", {"reason": "fixed"})["Location"] == "/errors/f00d/"
    group = ErrorGroup.objects.get(pk="f00d")
    assert (group.resolved_in, group.resolved_seen, group.resolved_by) == (["v2"], ["v1"], "operator-person")
    assert state() == State.RESOLVED
    stored.failures(2, version="v1")
    assert state() == State.RESOLVED, "workers of the old version may still be there"
    assert "fixed" in text_of(client, "/errors/f00d/")
    stored.failures(1, version="v2")
    assert state() == State.REGRESSED
    assert "It was resolved, and is back" in text_of(client, "/errors/f00d/")
    services.error_resolve("f00d", actor=ACTOR)
    assert state() == State.RESOLVED
    stored.failures(1, version="v2")
    assert state() == State.RESOLVED, "v2 had met it when it was resolved again"
    client.post("/errors/f00d/reopen/")
    assert state().is_open
    told = AuditEntry.objects.filter(object_type="error").order_by("id").values_list("action", "object_id", "reason")
    assert list(told) == [
        ("errors.resolve", "f00d", "fixed"),
        ("errors.resolve", "f00d", ""),
        ("errors.reopen", "f00d", ""),
    ]
    with pytest.raises(WrongState):
        services.error_reopen("f00d", actor=ACTOR)
    again = client.post("/errors/f00d/reopen/", follow=True)
    assert "there is nothing to reopen" in again.content.decode()


def test_a_snooze_lasts_for_its_time_or_its_failed_tries() -> None:
    old(3)
    client = signed_in("operator")
    client.post("/errors/f00d/snooze/", {"duration": "4h", "tries": "1,0", "reason": "known"})
    group = ErrorGroup.objects.get(pk="f00d")
    assert (group.snoozed_for, group.snoozed_base, group.reason) == (10, 3, "known")
    assert group.snoozed_until is not None
    assert state() == State.SNOOZED
    assert "10 times again (0 so far): known" in text_of(client, "/errors/f00d/")
    stored.failures(9)
    assert state() == State.SNOOZED
    stored.failures(1)
    assert state() != State.SNOOZED
    services.error_snooze("f00d", duration="1h", actor=ACTOR)
    assert state() == State.SNOOZED
    ErrorGroup.objects.update(snoozed_until=timezone.now() - timedelta(seconds=1))
    assert state() != State.SNOOZED
    assert AuditEntry.objects.filter(action="errors.snooze").count() == 2


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"duration": "", "tries": ""}, "is missing, and so is tries"),
        ({"duration": "1y"}, "Select a valid choice"),
        ({"duration": "1d", "tries": "many"}, "write a whole number"),
        ({"duration": "1d", "tries": "0"}, "whole number from 1"),
        ({"duration": "1d", "tries": "9" * 15}, "whole number from 1"),
        ({"duration": "1d", "reason": "bell \x07"}, "control character"),
        ({"duration": "1d", "reason": "x" * 501}, "at most 500"),
        ({"duration": "1d\x00"}, "Nothing was done"),
    ],
)
def test_a_snooze_that_cannot_be_is_refused_in_words(asked: dict[str, str], words: str) -> None:
    stored.failures()
    answer = signed_in("operator").post("/errors/f00d/snooze/", asked, follow=True)
    assert answer.status_code == 200
    assert words in answer.content.decode()
    assert ErrorGroup.objects.get().snoozed_at is None


@pytest.mark.parametrize("duration", ["0s", "91d", "soon", "1d\x00", "9" * 400 + "d"])
def test_durations_are_bounded(duration: str) -> None:
    stored.failures()
    with pytest.raises(InvalidOption, match=r"^duration is"):
        services.error_snooze("f00d", duration=duration, actor=ACTOR)


@pytest.mark.parametrize("verb", ["resolve", "reopen", "snooze"])
def test_each_action_asks_for_its_grant_and_for_a_post(verb: str) -> None:
    stored.failures()
    viewer = signed_in("viewer")
    assert viewer.post(f"/errors/f00d/{verb}/").status_code == 403
    assert signed_in("operator").get(f"/errors/f00d/{verb}/").status_code == 405
    assert signed_in(None).get("/errors/").status_code == 403
    developer = signed_in("developer")
    for nothing in ("%00", "a" * 65):
        assert developer.post(f"/errors/{nothing}/{verb}/", {"duration": "1d"}).status_code == 404
    gone = developer.post(f"/errors/gone/{verb}/", {"duration": "1d"})
    assert gone.status_code == 303


def test_nobody_knows_an_error_that_was_never_met() -> None:
    for name in ("gone", "", "a/b", "\x00"):
        with pytest.raises(UnknownErrorGroup):
            selectors.group_get(name)
        with pytest.raises(UnknownErrorGroup):
            services.error_resolve(name, actor=ACTOR)
    with pytest.raises(InvalidFilter):
        Asked.parse(task="x" * 500)


def test_the_front_page_and_the_page_of_a_run_lead_to_the_group() -> None:
    failed = stored.run("failed", error={**stored.error(), "fingerprint": "f00d"})
    client = signed_in("viewer")
    assert 'href="/errors/f00d/"' in text_of(client, "/")
    assert 'href="/errors/f00d/"' in text_of(client, f"/runs/{failed.pk}/")


def test_what_people_say_of_errors_is_among_the_changes() -> None:
    stored.failures()
    services.error_resolve("f00d", actor=ACTOR, reason="fixed")
    page = text_of(signed_in("viewer"), "/changes/?kind=errors")
    assert "resolved error" in page
    assert 'href="/errors/f00d/"' in page


def test_a_seeded_history_shows_its_outage_and_the_bad_deploy_that_was_mended() -> None:
    from django.core.management import call_command

    call_command("seed", "--small", verbosity=0)
    entry = AuditEntry.objects.get(action="demo.seed")
    found = before((entry.after or {})["end"])
    outage = selectors.group_get(found.outage.fingerprint)
    assert set(outage.tasks) == set(found.outage.tasks)
    assert outage.steps == ["ask-model"]
    assert outage.tries > 60
    bad = selectors.group_get(found.bad_deploy.fingerprint)
    assert (bad.state, bad.versions) == (State.RESOLVED, [found.bad_deploy.version])
    client = signed_in("viewer")
    page = text_of(client, "/errors/")
    assert "ConnectError" in page
    assert found.bad_deploy.fingerprint not in page
    figure = json.loads(client.get(f"/errors/{found.bad_deploy.fingerprint}/chart/").content)
    assert [note["text"] for note in figure["layout"]["annotations"]] == ["deploy", "deploy"]


def test_runs_under_way_are_counted_by_their_index_alone() -> None:
    queue = stored.task().queue
    with db.callers() as conn:
        conn.execute(
            """INSERT INTO runs_run (id, task_id, queue_id, status, payload, error, created_at, finished_at, trace_id)
            SELECT uuidv7(), 'sums', %s, CASE WHEN n %% 9 = 0 THEN 'retrying' ELSE 'failed' END, '{}',
                   jsonb_build_object('fingerprint', 'g' || n %% 50), now(), CASE WHEN n %% 9 > 0 THEN now() END, ''
            FROM generate_series(1, 4500) n""",
            [queue.pk],
        )
        conn.execute("ANALYZE runs_run")
        asked = {"fingerprints": ["g7", "g8"], "most": 1_001}
        plan = "\n".join(row[0] for row in conn.execute(f"EXPLAIN {SQL.error_open}", asked).fetchall())
        found = dict(conn.execute(SQL.error_open, asked).fetchall())
    assert "run_open_by_error" in plan
    assert found == {"g7": 10, "g8": 10}

"""Causes of the verdict: acknowledged, snoozed, over; what was ruled out; over HTTP and on the command line."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from io import StringIO
from urllib.parse import parse_qsl, urlsplit

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.utils import timezone

from holdfast.access import services as access
from holdfast.access.errors import InvalidInput
from holdfast.access.grants import Actor
from holdfast.access.models import REASON_LENGTH, AuditEntry
from queues import tickets
from queues.models import Breaker, BreakerState, Queue, Sample
from runs.causes import selectors, services, watch
from runs.causes.model import CauseNote
from runs.causes.notes import AWAY
from runs.causes.selectors import UnknownCause
from runs.errors import InvalidOption, WrongState
from runs.filters import RunFilter
from runs.models import Run
from runs.selectors import runs_page
from tests.support import stored
from tests.support.api import Caller, problem
from tests.support.people import signed_in

pytestmark = pytest.mark.django_db
ACTOR = Actor.local()
KEY = "saturated:llm"


def saturated(depth: int = 6) -> Queue:
    """The queue llm has no slot left, and so many runs wait in it."""
    stored.worker()
    queue = stored.queue("llm", concurrency_limit=1)
    stored.task("ask", "llm")
    stored.held(stored.run("running", "ask"), stored.worker("busy"))
    for _ in range(depth):
        stored.run("queued", "ask")
    return queue


def standing(key: str = KEY) -> str:
    return str(selectors.story().cause(key).standing)


def text_of(client: Client, path: str = "/") -> str:
    response = client.get(path)
    assert response.status_code == 200
    return response.content.decode().replace("&#x27;", "'")


def looked_at(text: str) -> dict[str, str]:
    """The state of each check that the page shows as green, or not."""
    found = re.findall(r'<li data-check="(\w+)"(?: data-status="(\w+)")?>', text)
    return dict(found)


def test_a_cause_leads_to_its_runs_and_viewers_may_say_nothing_of_it() -> None:
    saturated()
    text = text_of(signed_in("viewer"))
    assert 'href="/runs/?queue=llm&amp;q=is:ready">Queue llm runs 1 of 1, and 6 wait for a slot</a>' in text
    assert "/acknowledge/" not in text


def test_the_runs_of_a_full_queue_are_all_that_wait_for_its_slots() -> None:
    """Also what is to be tried again: an entry, although the run is called retrying until a worker has it."""
    saturated(depth=2)
    Run.objects.filter(status="queued").update(status="retrying")
    later = stored.run("retrying", "ask")
    stored.run("queued", "ask")
    cause = selectors.story().cause(KEY)
    assert cause.cause.words == "llm runs 1 of 1, and 3 wait for a slot"
    query = dict(parse_qsl(urlsplit(cause.cause.address).query))
    found = {run.pk for run in runs_page(RunFilter.parse(query)).items}
    assert len(found) == 3
    assert later.pk not in found, "its time has not come"


def test_what_failed_lately_is_what_its_cause_leads_to() -> None:
    """Whoever takes all that fit for a retry takes the number that the sentence says."""
    stored.worker()
    for age in (300, 400, 500, 7_200):
        stored.run("failed", "sync", age=age)
    stored.ended(3, "failed", "sync")
    cause = selectors.story().cause("failing:sync").cause
    assert cause.words == "3 of 3 runs of sync failed in the last 15 minutes"
    query = dict(parse_qsl(urlsplit(cause.address).query))
    assert len(runs_page(RunFilter.parse(query)).items) == 3


def test_an_acknowledged_cause_stays_in_sight_and_in_the_verdict() -> None:
    saturated()
    client = signed_in("operator")
    page = text_of(client)
    assert f"manage.py verdict acknowledge {KEY}" in page
    assert "/api/v1/verdict/causes/saturated%3Allm/snooze" in page
    client.post(f"/causes/{KEY}/acknowledge/", {"reason": "adding slots"})
    page = text_of(client)
    assert "operator-person works on it" in page
    assert "adding slots" in page
    assert f'id="cause-{KEY}" data-standing="acknowledged">' in page, "it is calm"
    assert "Saturated: llm runs 1 of 1" in page
    entry = AuditEntry.objects.get(action="causes.acknowledge")
    assert (entry.object_id, entry.reason, entry.after["standing"]) == (KEY, "adding slots", "acknowledged")
    client.post(f"/causes/{KEY}/acknowledge/", {})
    assert "was acknowledged already, by operator-person" in text_of(client)


def test_a_snoozed_cause_is_folded_and_counts_no_longer() -> None:
    stored.run("queued")
    client = signed_in("operator")
    assert client.get("/verdict/").json()["down"] is True
    client.post("/causes/no-worker:default/snooze/", {"duration": "4h", "reason": "new host comes"})
    found = client.get("/verdict/").json()
    assert (found["down"], found["kind"]) == (False, "flowing")
    assert found["words"] == "Flowing: 0 running, 1 waits for a worker. 1 cause is snoozed."
    page = text_of(client)
    assert 'data-status="good" id="verdict"' not in page, "what nobody looks at is not green"
    assert "data-alert>" not in page
    assert "1 snoozed: the verdict leaves it out" in page
    assert "new host comes" in page
    client.post("/causes/no-worker:default/reopen/")
    assert client.get("/verdict/").json()["down"] is True
    assert AuditEntry.objects.filter(action__startswith="causes.").count() == 2


def test_a_task_that_is_snoozed_no_longer_makes_it_fail_but_another_one_does() -> None:
    stored.worker()
    stored.ended(9, "failed", "sync")
    stored.ended(50, "completed", "sums")
    services.cause_snooze("failing:sync", duration="1h", actor=ACTOR)
    assert selectors.story().verdict.kind == "idle"
    stored.ended(20, "failed", "sums")
    verdict = selectors.story().verdict
    assert verdict.words == "Failing: 20 of 70 runs failed in the last 15 minutes, all of sums."


def test_a_snooze_ends_with_its_time() -> None:
    saturated()
    services.cause_snooze(KEY, duration="1h", actor=ACTOR)
    assert standing() == "snoozed"
    past = timezone.now() - timedelta(minutes=1)
    CauseNote.objects.update(noted_at=past - timedelta(hours=1), until=past)
    assert standing() == "open"


def test_a_cause_that_is_twice_as_large_is_worse_whatever_was_said() -> None:
    saturated(depth=6)
    services.cause_acknowledge(KEY, actor=ACTOR)
    for _ in range(5):
        stored.run("queued", "ask")
    assert standing() == "acknowledged", "11 are not twice 6"
    stored.run("queued", "ask")
    assert standing() == "open"
    assert "but it has become worse: 12 instead of 6." in text_of(signed_in("viewer"))


def test_the_scheduler_ends_what_was_said_of_a_cause_that_went_away_and_not_at_once() -> None:
    queue = saturated()
    services.cause_snooze(KEY, duration="1d", actor=ACTOR)
    Queue.objects.filter(pk=queue.pk).update(concurrency_limit=9)
    watch.look()
    assert CauseNote.objects.count() == 1, "it may come back in a moment"
    CauseNote.objects.update(seen_at=timezone.now() - AWAY)
    watch.look()
    entry = AuditEntry.objects.get(action="causes.reopen")
    assert (entry.actor_label, entry.reason) == ("scheduler", "its cause is gone")
    Queue.objects.filter(pk=queue.pk).update(concurrency_limit=1)
    assert standing() == "open", "it came back: that is worse"


def test_the_scheduler_keeps_what_was_said_while_its_cause_is_there() -> None:
    saturated()
    services.cause_acknowledge(KEY, actor=ACTOR)
    CauseNote.objects.update(seen_at=timezone.now() - 2 * AWAY)
    watch.look()
    watch.look()
    assert standing() == "acknowledged"


def test_nothing_can_be_said_of_what_is_not_there() -> None:
    saturated()
    with pytest.raises(UnknownCause, match=r"There is no cause 'redis' now. There are: saturated:llm."):
        services.cause_acknowledge("redis", actor=ACTOR)
    with pytest.raises(WrongState, match="neither acknowledged nor snoozed"):
        services.cause_reopen(KEY, actor=ACTOR)
    for wrong in ("", "soon", "91d", "0s"):
        with pytest.raises(InvalidOption, match="duration"):
            services.cause_snooze(KEY, duration=wrong, actor=ACTOR)


@pytest.mark.parametrize("key", ["nonsense", "a%00b", "x" * 400, "failing:%F0%9F%A6%80"])
def test_a_strange_key_is_refused_and_breaks_nothing(key: str) -> None:
    client = signed_in("operator")
    for verb in ("acknowledge", "snooze", "reopen"):
        answer = client.post(f"/causes/{key}/{verb}/", {"duration": "1h"})
        assert (answer.status_code, answer["Location"]) == (303, "/")
    text = text_of(client)
    assert "There is no cause" in text
    assert CauseNote.objects.count() == 0


def test_a_reason_that_cannot_be_stored_is_refused_and_nothing_is_said() -> None:
    saturated()
    for wrong in ("a\x07b", "x" * (REASON_LENGTH + 1)):
        with pytest.raises(InvalidInput, match="reason"):
            services.cause_acknowledge(KEY, actor=ACTOR, reason=wrong)
    assert not CauseNote.objects.exists()


# ── what was ruled out ───────────────────────────────────────────────────────────────────────────────────────────


def test_what_is_well_is_told_with_its_number_and_what_is_not_known_is_never_green() -> None:
    stored.worker()
    text = text_of(signed_in("viewer"))
    assert "Workers: 1 alive, last heartbeat" in text
    assert "No queue is paused, of 0 queues" in text
    assert "Redis answers in" in text
    assert looked_at(text) == {
        "database": "good", "transactions": "good", "redis": "good", "scheduler": "", "workers": "good",
        "pools": "good", "suspended": "good", "heads": "good", "limits": "good", "paused": "good", "outcomes": "",
        "breakers": "good", "stuck": "",
    }  # fmt: skip
    assert "10 of 13 checks are well, 3 could not be made" in text


def test_a_pause_is_neither_green_nor_a_fault() -> None:
    stored.worker()
    stored.queue("llm", paused_at=timezone.now())
    found = {check.name: check for check in selectors.story().checks}
    assert (found["paused"].state, found["paused"].words) == ("held", "Queue llm is paused")
    assert selectors.story().said == []


def test_a_scheduler_whose_samples_have_ended_is_away() -> None:
    stored.worker()
    queue = stored.queue()
    for minutes, kinds in ((1, []), (9, ["scheduler"])):
        at = timezone.now() - timedelta(minutes=minutes, seconds=10)
        Sample.objects.all().delete()
        Sample.objects.create(minute=at, queue=queue, depth=0, running=0, paused=False)
        story = selectors.story()
        assert [said.cause.key for said in story.said] == kinds
        states = {check.name: check.state for check in story.checks}
        assert (states["scheduler"], states["stuck"]) == (("cause", "unmade") if kinds else ("good", "good"))
    assert selectors.story().verdict.words.startswith("Blind: no scheduler has looked for 9 m")


def test_without_redis_it_flows_slower_and_nobody_says_that_workers_are_not_suspended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stored.worker()
    nowhere = tickets.redis.Redis(port=1, socket_connect_timeout=1, retry=tickets.no_retry())
    monkeypatch.setattr(tickets, "connection", lambda: nowhere)
    story = selectors.story()
    assert story.verdict.words == (
        "Flowing, but slower: Redis does not answer, and workers find what is ready by polling."
    )
    states = {check.name: check.state for check in story.checks}
    assert (states["redis"], states["suspended"]) == ("cause", "unmade")


def test_an_open_breaker_is_a_cause_unless_somebody_holds_it_so() -> None:
    stored.worker()
    now = timezone.now()
    numbers = {"failure_rate": 0.5, "min_calls": 5, "window": 60, "slow_rate": 0.5, "cooldown": 30, "probes": 1}
    Breaker.objects.create(name="bank", state=BreakerState.OPEN, since=now, until=now + timedelta(minutes=1), **numbers)
    assert [said.cause.key for said in selectors.story().said] == ["breaker:bank"]
    Breaker.objects.update(forced=BreakerState.OPEN)
    story = selectors.story()
    assert story.said == []
    assert {c.words: c.state for c in story.checks}["Breaker bank is held open"] == "held"


def test_runs_in_the_hands_of_silent_workers_alone_do_not_flow() -> None:
    stored.worker(silent=True, running=2)
    stored.run("running")
    story = selectors.story()
    assert (story.verdict.kind, story.verdict.is_down) == ("blind", True)
    assert story.verdict.words == (
        "Blind: 1 of 1 workers is silent: what becomes of the 2 runs in their hands is not known."
    )


@pytest.mark.django_db(transaction=True)
def test_what_takes_too_long_to_read_is_told_and_makes_it_blind() -> None:
    stored.worker()
    with connection.cursor() as cursor:
        cursor.execute("SHOW statement_timeout")
        before = cursor.fetchone()[0]
        cursor.execute("SET statement_timeout = 1000")
    try:
        with stored.locked("runs_rollup"):
            story = selectors.story()
    finally:
        with connection.cursor() as cursor:
            cursor.execute("SELECT set_config('statement_timeout', %s, false)", [before])
    assert story.verdict.words.startswith("Blind: how runs ended could not be read: PostgreSQL gave it up")
    assert {check.name: check.state for check in story.checks}["outcomes"] == "unmade"


# ── over HTTP, and on the command line ───────────────────────────────────────────────────────────────────────────


def test_http_tells_the_same_and_takes_the_same() -> None:
    saturated()
    _, token = access.token_create(name="operator", role="operator", actor=ACTOR)
    caller = Caller({"Authorization": f"Bearer {token}"})
    found = caller.get("/verdict").json()
    assert (found["kind"], found["well"], found["down"]) == ("saturated", True, False)
    assert [(c["key"], c["standing"], c["page"]) for c in found["causes"]] == [
        (KEY, "open", "/runs/?queue=llm&q=is:ready")
    ]
    assert {check["name"] for check in found["ruled_out"]} >= {"redis", "workers", "paused"}
    said = caller.post(f"/verdict/causes/{KEY}/acknowledge", {"reason": "on it"}).json()
    assert (said["standing"], said["noted_by"], said["reason"]) == ("acknowledged", "token operator", "on it")
    said = caller.post(f"/verdict/causes/{KEY}/snooze", {"duration": "2h"}).json()
    assert said["standing"] == "snoozed"
    assert said["snoozed_until"]
    assert caller.get("/verdict").json()["kind"] == "flowing"
    assert caller.post(f"/verdict/causes/{KEY}/reopen").status_code == 204
    problem(caller.post(f"/verdict/causes/{KEY}/reopen"), 409, "wrong_state")
    problem(caller.post("/verdict/causes/redis/acknowledge"), 404, "unknown_cause")
    problem(caller.post(f"/verdict/causes/{KEY}/snooze", {"duration": "x"}), 422, "invalid_option", "duration")
    problem(caller.post("/verdict/causes/a%00b/snooze", {"duration": "1h"}), 422, "invalid_id", "key")


def cli(*arguments: str) -> tuple[int, str]:
    """The exit code of `manage.py verdict`, and what it prints."""
    out = StringIO()
    try:
        call_command("verdict", *arguments, stdout=out)
    except SystemExit as over:
        return int(str(over.code)), out.getvalue()
    return 0, out.getvalue()


def test_the_command_line_tells_by_its_exit_code_whether_somebody_has_to_look() -> None:
    stored.worker()
    code, said = cli()
    assert (code, said.splitlines()[0]) == (0, "Idle: nothing runs and nothing waits.")
    assert "  ok      Redis answers in" in said
    assert "  unknown Whether runs fail is not known" in said
    stored.ended(9, "failed")
    code, said = cli("--json")
    assert (code, json.loads(said)["kind"]) == (1, "failing")
    assert "is snoozed until" in cli("snooze", "failing:sums", "--for", "1h", "--reason", "known")[1]
    code, said = cli("show")
    assert code == 0
    assert "failing:sums: 9 of 9 runs of sums failed in the last 15 minutes (snoozed until" in said
    assert json.loads(cli("reopen", "failing:sums", "--json")[1]) == {"key": "failing:sums", "standing": "open"}
    assert cli("acknowledge", "failing:sums")[1] == "Cause failing:sums is acknowledged.\n"
    assert cli()[0] == 1, "somebody works on it, and it still fails"
    with pytest.raises(CommandError, match="There is no cause 'redis' now"):
        cli("acknowledge", "redis")

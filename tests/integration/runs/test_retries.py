"""Retries: real attempts are judged, and their next one is moved, by the page, the API and the command line."""

from __future__ import annotations

import io
import json
import re
import uuid
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import quote_plus

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from holdfast import db
from holdfast.access import services as access
from holdfast.access.grants import Actor
from holdfast.access.models import AuditEntry
from queues import services as queues
from queues.models import Entry, Timer
from runs.bulk.model import BulkJob
from runs.errorgroups.selectors import having
from runs.errors import InvalidFilter, InvalidOption, UnknownRun, WrongState
from runs.models import Run
from runs.retries import selectors
from runs.retries.selectors import Asked
from runs.retries.services import run_hurry, run_postpone
from runs.retries.verdict import Verdict
from runs.store import SQL
from tests.support import stored
from tests.support.api import Caller, problem
from tests.support.people import signed_in
from tests.support.processes import Fleet
from tests.support.runs import all_final, run, the
from tests.support.waiting import eventually

pytestmark = pytest.mark.django_db(transaction=True)
ACTOR = Actor.local()
NOBODY = uuid.UUID("01900000-0000-7000-8000-000000000000")


@pytest.fixture
def working(retrying: Fleet) -> Iterator[Fleet]:
    retrying.worker("worker-1")
    retrying.scheduler()
    yield retrying
    retrying.ledger.open_gate("retries")


@pytest.fixture
def api(db: None) -> Caller:
    _, token = access.token_create(name="all", role="admin", actor=ACTOR)
    return Caller({"Authorization": f"Bearer {token}"})


def struggling(name: str = "sums", *tries: str, steps: dict[int, int] | None = None, **fields: Any) -> Run:
    """A run whose attempts have ended with these messages; `steps`: so many steps that an attempt has finished."""
    messages = tries or ("no route",)
    of = stored.run(
        "retrying", name, attempt=len(messages), failures=len(messages), error=stored.error(messages[-1]),
        **{"next_at": timezone.now() + timedelta(minutes=5), **fields},
    )  # fmt: skip
    first = 1
    for number, message in enumerate(messages, 1):
        stored.attempt(of, number, "failed", error=stored.error(message))
        if made := (steps or {}).get(number, 0):
            stored.snapshots(of, first, first + made - 1, attempt=number)
            first += made
    return of


def verdicts(asked: Asked | None = None) -> dict[uuid.UUID, Verdict]:
    return {row.run.id: row.story.verdict for row in selectors.page(asked or Asked()).rows}


# --- what is judged ---------------------------------------------------------------------------------------------------


def test_attempts_that_come_further_are_progress_and_those_that_pay_for_one_error_burn(working: Fleet) -> None:
    gains, burns = the("gains").enqueue(), the("burns").enqueue()
    for found in (gains.id, burns.id):
        eventually(lambda of=found: run(of).attempt == 3 and run(of).status == "running", "its third attempt")  # type: ignore[misc]
    rows = {row.run.id: row for row in selectors.page(Asked()).rows}
    further, burning = rows[gains.id].story, rows[burns.id].story
    assert (further.verdict, burning.verdict) == (Verdict.PROGRESS, Verdict.BURNING)
    assert further.counted == [(1, 1), (2, 1), (3, 0)]
    assert further.facts.made == "page#2"
    assert (further.idle, further.streak, further.attempts_per_step) == (0, 2, 2.0)
    assert further.spent == {}, "nothing was used since the second page"
    assert burning.counted == [(1, 2), (2, 0), (3, 0)], "the state that is saved again is not new"
    assert (burning.idle, burning.streak, burning.new_steps) == (1, 2, 0)
    assert burning.spent == {"cost": 1, "tokens_in": 200}, "both failed tries since the checkpoint"
    summary = selectors.summary()
    assert (summary.burning, summary.counts[Verdict.PROGRESS], summary.looked_at, summary.more) == (1, 1, 2, False)
    [group] = summary.groups
    assert (group.name, group.runs, group.tasks, group.attempts) == ("ConnectionError", 1, ["burns"], 1)
    working.ledger.open_gate("retries")
    all_final([gains.id, burns.id])
    assert gains.result(timeout=60) == 4
    assert selectors.page(Asked()).rows == [], "what is over retries no more"


def test_a_run_that_has_not_failed_or_is_over_is_not_here(registered: None) -> None:
    stored.run("running")
    stored.run("failed", failures=3, attempt=3)
    lost = stored.run("queued", crashes=1, attempt=1)
    assert list(verdicts()) == [lost.id]


def test_a_state_that_is_saved_again_is_nothing_new_and_another_one_is() -> None:
    same, other = struggling("sums", "x", "x"), struggling("sums", "x", "x")
    for of, states in ((same, ["a", "b", "a", "b"]), (other, ["a", "b", "a", "c"])):
        for number, state in enumerate(states, 1):
            kind = {"kind": "checkpoint", "name": "checkpoint", "key": "", "state": state}
            stored.snapshots(of, number, number, **kind, attempt=(number + 1) // 2)
    assert verdicts() == {same.id: Verdict.BURNING, other.id: Verdict.PROGRESS}


def test_failed_tries_hooks_and_intents_are_nothing_new() -> None:
    of = struggling("sums", "x", "x", steps={1: 1})
    for sequence, fields in enumerate(
        ({"kind": "failure"}, {"kind": "intent"}, {"key": "hook:on_start#1", "name": "hook:on_start"}), 2
    ):
        stored.snapshots(of, sequence, sequence, attempt=2, **fields)
    [row] = selectors.page(Asked()).rows
    assert (row.story.verdict, row.story.facts.made_in) == (Verdict.BURNING, 1)


def test_they_are_chosen_by_task_queue_and_verdict_and_go_on_page_by_page(monkeypatch: pytest.MonkeyPatch) -> None:
    stored.task("others", "llm")
    burning = [struggling("sums", "x", "x") for _ in range(4)]
    early = struggling("others")
    assert set(verdicts(Asked(task="others"))) == set(verdicts(Asked(queue="llm"))) == {early.id}
    assert verdicts(Asked(queue="none")) == {}
    assert set(verdicts(Asked(verdict=Verdict.BURNING))) == {of.id for of in burning}
    first = selectors.page(Asked(), limit=4)
    assert first.next
    second = selectors.page(Asked(), cursor=first.next, limit=4)
    assert [row.run.id for row in (*first.rows, *second.rows)] == [early.id, *(of.id for of in reversed(burning))]
    assert (second.next, second.summary) == (None, None)
    monkeypatch.setattr(selectors, "LOOK", 2)
    found = selectors.page(Asked(verdict=Verdict.EARLY), limit=1)
    assert [row.run.id for row in found.rows] == [early.id]
    assert found.summary is not None
    assert found.summary.more
    older = selectors.page(Asked(verdict=Verdict.EARLY), cursor=found.next, limit=1)
    assert (older.rows, bool(older.next)) == ([], True), "it looked at two and goes on"


def test_what_is_asked_wrongly_is_named() -> None:
    for params, words in {
        "verdict": ({"verdict": "sideways"}, "verdict is 'sideways'; write one of progress, burning, early"),
        "name": ({"taks": "x"}, "taks is no parameter here; did you mean task?"),
        "text": ({"task": "a\x00b"}, "task holds a control character"),
    }.values():
        with pytest.raises(InvalidFilter, match=re.escape(words)):
            Asked.parse(params)


# --- when the next attempt is -----------------------------------------------------------------------------------------


def test_a_next_attempt_is_put_off_and_brought_forward(working: Fleet) -> None:
    handle = the("tries-much-later").enqueue()
    eventually(lambda: run(handle.id).status == "retrying", "its first attempt fails")
    due = run(handle.id).next_at
    assert due
    at = run_postpone(handle.id, delay=7_200, actor=ACTOR, reason="they are down")
    assert timedelta(hours=1) < at - due < timedelta(hours=2)
    assert run(handle.id).next_at == Timer.objects.get(entry_id=handle.id).due_at == at
    with pytest.raises(InvalidOption, match="would bring the next attempt forward"):
        run_postpone(handle.id, delay=60, actor=ACTOR)
    assert Timer.objects.get(entry_id=handle.id).due_at == at, "what was refused has changed nothing"
    run_hurry(handle.id, actor=ACTOR, reason="they are back")
    assert handle.result(timeout=60) == "at last"
    told = AuditEntry.objects.filter(object_id=str(handle.id)).order_by("id").values_list("action", "reason")
    assert list(told) == [("runs.postpone", "they are down"), ("runs.hurry", "they are back")]


def test_an_attempt_that_waits_for_a_slot_can_be_put_off_but_not_brought_forward(working: Fleet) -> None:
    handle = the("tries-much-later").enqueue()
    eventually(lambda: run(handle.id).status == "retrying", "its first attempt fails")
    queues.queue_pause("default", ACTOR, reason="look")
    run_hurry(handle.id, actor=ACTOR)
    assert Entry.objects.filter(entry_id=handle.id).exists()
    with pytest.raises(WrongState, match="its next attempt is due already"):
        run_hurry(handle.id, actor=ACTOR)
    run_postpone(handle.id, delay=900, actor=ACTOR)
    assert not Entry.objects.filter(entry_id=handle.id).exists()
    assert Timer.objects.get(entry_id=handle.id).due_at == run(handle.id).next_at
    queues.queue_resume("default", ACTOR)
    run_hurry(handle.id, actor=ACTOR)
    assert handle.result(timeout=60) == "at last"


@pytest.mark.parametrize("status", ["queued", "running", "waiting", "completed", "failed"])
def test_only_a_run_that_is_retrying_has_a_next_attempt(status: str) -> None:
    of = stored.run(status)
    for act in (lambda: run_hurry(of.id, actor=ACTOR), lambda: run_postpone(of.id, delay=60, actor=ACTOR)):
        with pytest.raises(WrongState, match=f"is {status}; only a run that is retrying"):
            act()
    assert Entry.objects.filter(entry_id=of.id).exists() is (status == "queued"), "its place in line is as it was"
    assert not AuditEntry.objects.filter(action__in=("runs.hurry", "runs.postpone")).exists()


@pytest.mark.parametrize("delay", [0, -1, "soon", None, True, float("nan"), float("inf"), 10**400, [], "1" * 400])
def test_a_delay_that_is_none_is_refused(delay: Any) -> None:
    of = struggling()
    with pytest.raises(InvalidOption, match="write seconds from 1 to"):
        run_postpone(of.id, delay=delay, actor=ACTOR)
    with pytest.raises(UnknownRun):
        run_postpone(NOBODY, delay=60, actor=ACTOR)


# --- page -------------------------------------------------------------------------------------------------------------


def text_of(path: str, status: int = 200, role: str = "operator", **headers: str) -> str:
    response = signed_in(role, f"{role}-{uuid.uuid4().hex[:6]}").get(path, headers=headers)
    assert response.status_code == status
    return response.content.decode().replace("&#x27;", "'")


def test_an_empty_page_teaches_and_a_full_one_answers() -> None:
    assert "Nothing retries" in text_of("/retries/")
    burning = struggling("sums", "no route", "no route", steps={1: 2}, priority=3)
    struggling("sums", "other")
    page = text_of("/retries/")
    assert "1 of 2 runs that failed and go on burn" in page
    assert "What they burn on" in page
    assert f"/runs/{burning.id}/" in page
    assert "<strong>2×</strong> ConnectionError" in page
    assert "too early to say" in page
    assert "Stop this one run" in page
    watched = text_of("/retries/", role="viewer")
    assert "Stop this one run" not in watched
    assert "Later" not in watched
    assert text_of("/retries/?verdict=progress").count("No run fits") == 1
    assert "<html" not in text_of("/retries/", HX_Request="true")
    assert "task holds a control character" in text_of("/retries/?task=%00", 422)
    assert "cursor is no cursor" in text_of("/retries/?cursor=7", 422)


def test_hostile_words_of_an_error_are_shown_as_they_are() -> None:
    struggling("sums", "<script>alert(1)</script>", "<script>alert(1)</script>")
    assert "<script>alert" not in text_of("/retries/")


def test_the_tile_on_now_leads_to_what_burns() -> None:
    assert 'href="/retries/"' in text_of("/")
    struggling("sums", "x", "x")
    page = text_of("/")
    assert 'href="/retries/?verdict=burning"' in page
    assert "1 burn: nothing new" in page


def test_more_than_a_page_of_them_goes_on_with_older_ones() -> None:
    for number in range(60):
        struggling(f"task-{number % 7}", "x", "x", steps={1: 3})
    assert "Older" in text_of("/retries/")


def test_the_buttons_do_it_say_so_and_lead_back_to_the_list_with_its_filters() -> None:
    client, of = signed_in("operator"), struggling()
    Timer.objects.create(entry_id=of.id, queue=of.queue, lane=0, due_at=of.next_at)
    later = {"delay": "7200", "reason": "down", "list": "?task=sums"}
    answer = client.post(f"/runs/{of.id}/postpone/", later)
    assert (answer.status_code, answer["Location"]) == (303, "/retries/?task=sums")
    assert run(of.id).next_at > of.next_at
    refused = client.post(f"/runs/{of.id}/postpone/", {"delay": "soon", "list": "nonsense=1"}, follow=True)
    assert "delay is &#x27;soon&#x27;" in refused.content.decode()
    assert client.post(f"/runs/{of.id}/hurry/", {"list": ""})["Location"] == "/retries/"
    assert Entry.objects.filter(entry_id=of.id).exists()
    assert client.post(f"/runs/{of.id}/stop/", {"reason": "enough"})["Location"] == f"/runs/{of.id}/"
    assert run(of.id).status == "cancelled"
    assert AuditEntry.objects.get(action="runs.cancel").reason == "enough"
    assert client.post(f"/runs/{NOBODY}/hurry/").status_code == 404
    assert client.get(f"/runs/{of.id}/hurry/").status_code == 405


@pytest.mark.parametrize("act", ["stop", "postpone", "hurry"])
def test_a_viewer_may_do_none_of_it(act: str) -> None:
    of = struggling()
    assert signed_in("viewer").post(f"/runs/{of.id}/{act}/", {"delay": "60"}).status_code == 403
    assert run(of.id).status == "retrying"


def test_a_group_is_stopped_put_off_or_redriven_as_a_whole_after_a_question(registered: None) -> None:
    of = struggling("sums", "no route", "no route")
    fingerprint = Run.objects.get(pk=of.id).error["fingerprint"]
    operator = signed_in("operator")
    page = operator.get("/retries/?task=sums").content.decode().replace("&amp;", "&")
    scope = f"q={quote_plus(having(fingerprint).having('task', ('sums',)).text)}"
    for query in (f"action=cancel&{scope}", f"action=postpone&{scope}", f"action=retry&pace=canary&{scope}"):
        assert f'href="/bulk/new/?{query}"' in page
        assert f'hx-get="/bulk/new/?{query}"' in page
    assert "/bulk/new/" not in text_of("/retries/", role="viewer")
    question = operator.get(f"/bulk/new/?action=postpone&{scope}", headers={"HX-Request": "true"}).content.decode()
    assert "Postpone 1 run?" in question
    assert "--delay 7200" in question
    assert '<option value="7200" selected>' in question
    search = f"{having(fingerprint).text} status:retrying"
    refused = operator.post("/bulk/", {"action": "postpone", "q": search, "delay": "soon"})
    assert refused.status_code == 422
    assert "write seconds from 1" in refused.content.decode()
    begun = operator.post(
        "/bulk/", {"action": "postpone", "q": search, "delay": "86400", "reason": "down"}, follow=True
    )
    assert "Delay of 1 run" in begun.content.decode()
    job = BulkJob.objects.get()
    assert (job.action, job.delay, job.reason, job.total) == ("postpone", 86_400, "down", 1)
    canary = operator.get(f"/bulk/new/?action=retry&pace=canary&{scope}").content.decode()
    assert "No run fits" in canary, "none of them has ended"


# --- API and command line ---------------------------------------------------------------------------------------------


def test_the_api_tells_and_does_the_same(api: Caller) -> None:
    of = struggling("sums", "x", "x", steps={1: 2})
    Timer.objects.create(entry_id=of.id, queue=of.queue, lane=0, due_at=of.next_at)
    found = api.get("/retries").json()
    [item] = found["items"]
    assert (item["id"], item["verdict"], item["same_error_streak"], item["attempts_without_progress"]) == (
        str(of.id), "burning", 2, 1,
    )  # fmt: skip
    assert item["attempts"] == [{"number": 1, "new_steps": 2}, {"number": 2, "new_steps": 0}]
    assert (item["attempts_per_new_step"], item["last_progress"]) == (None, "add#2")
    assert found["summary"]["burning"] == 1
    assert found["summary"]["groups"][0]["runs"] == 1
    assert api.get("/retries?verdict=progress").json()["items"] == []
    problem(api.get("/retries?verdict=%00"), 422, "invalid_filter", "verdict")
    problem(api.get("/retries?cursor=x"), 422, "invalid_filter", "cursor")
    problem(api.get("/retries?limit=1000"), 422, "invalid_filter", "limit")
    moved = api.post(f"/runs/{of.id}/postpone", {"delay": 7200}).json()
    assert moved["next_at"] > item["next_at"]
    problem(api.post(f"/runs/{of.id}/postpone", {"delay": "soon"}), 422, "invalid_option", "delay")
    problem(api.post(f"/runs/{of.id}/postpone", b'{"delay": 1e999}'), 422)
    assert api.post(f"/runs/{of.id}/hurry").status_code == 200
    problem(api.post(f"/runs/{of.id}/hurry"), 409, "wrong_state")
    problem(api.post(f"/runs/{NOBODY}/hurry"), 404, "unknown_run")


def said(*words: str) -> str:
    out = io.StringIO()
    call_command("runs", *words, stdout=out, stderr=io.StringIO())
    return out.getvalue()


def test_the_command_line_tells_and_does_the_same(registered: None) -> None:
    assert "No run that failed" in said("retries")
    of = struggling("sums", "x", "x")
    Timer.objects.create(entry_id=of.id, queue=of.queue, lane=0, due_at=of.next_at)
    shown = said("retries")
    assert "1 burn on ConnectionError: x" in shown
    assert re.search(rf"{of.id}  sums  burning  2 of 3 +2 +2 ", shown)
    assert json.loads(said("retries", "--verdict", "burning", "--json"))["items"][0]["id"] == str(of.id)
    assert "is retrying" in said("postpone", str(of.id), "--delay", "7200", "--reason", "down")
    assert json.loads(said("hurry", str(of.id), "--json"))["status"] == "retrying"
    for words in (
        ("retries", "--verdict", "x"),
        ("postpone", str(of.id), "--delay", "x"),
        ("hurry", str(NOBODY)),
        ("hurry", "x"),
    ):
        with pytest.raises(CommandError):
            said(*words)


@pytest.mark.parametrize("filtered", [False, True], ids=["all", "filtered"])
def test_the_lists_are_served_by_their_index(filtered: bool) -> None:
    """Few runs fail in a history of others, all of one task and queue: none of the others is passed."""
    queue = stored.task().queue
    with db.callers() as conn:
        conn.execute(
            """
            INSERT INTO runs_run (id, task_id, queue_id, status, payload, failures, created_at, finished_at, trace_id)
            SELECT uuidv7(), 'sums', %s, CASE WHEN n %% 100 = 0 THEN 'retrying' ELSE 'failed' END, '{}', 1, now(),
                   CASE WHEN n %% 100 > 0 THEN now() END, ''
            FROM generate_series(1, 5000) n""",
            [queue.pk],
        )
        conn.execute("ANALYZE runs_run")
        asked = {
            "task": "sums" if filtered else None, "queue": queue.pk if filtered else None, "before": None, "limit": 301,
        }  # fmt: skip
        plan = "\n".join(row[0] for row in conn.execute(f"EXPLAIN {SQL.struggling}", asked))
        found = conn.execute(SQL.struggling, asked).fetchall()
    assert "run_struggling" in plan
    assert len(found) == 50

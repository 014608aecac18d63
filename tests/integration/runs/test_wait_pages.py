"""Approvals, the page of one, the signed page, and what the page of a run shows of waits, children and replays."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from django.utils import timezone

from holdfast.access.models import AuditEntry
from runs import waitlinks
from runs.models import Run, Signal, Update, Wait
from tests.integration.runs.test_pages import FRAGMENT, MENU, WHO, page
from tests.support import stored
from tests.support.counting import statements
from tests.support.people import signed_in

pytestmark = pytest.mark.django_db

FORM = {
    "type": "object",
    "properties": {"title": {"type": "string", "minLength": 3}, "words": {"type": "integer", "default": 100}},
    "required": ["title"],
    "propertyOrder": ["title", "words"],
}


def asks(name: str = "Publish?", kind: str = "approval", **fields: Any) -> Wait:
    return stored.wait(stored.run("waiting", "publish"), kind, name, **fields)


def now(wait: Wait) -> Wait:
    return Wait.objects.get(pk=wait.pk)


# ── the list ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_without_approvals_the_page_teaches_how_a_run_asks() -> None:
    text = page(signed_in("viewer"), "/approvals/")
    assert "wait.aapproval(" in text
    assert 'id="badge-approvals"></span>' in text


def test_what_is_asked_is_listed_oldest_first_with_its_deadline_and_default() -> None:
    soon = timezone.now() + timedelta(hours=2, seconds=30)
    asks("Second?", age=50, due_at=soon, detail={"default": {"approved": False, "by": "timeout"}})
    asks("First <b>?", age=100)
    asks("Gone?", due_at=timezone.now() - timedelta(seconds=1))
    asks("pay", "token")
    text = page(signed_in("operator"), "/approvals/")
    assert text.index("First &lt;b&gt;?") < text.index("Second?")
    assert "is rejected <time" in text
    assert "in 2 h" in text
    assert "Gone?" not in text
    assert "publish" in text
    assert '<span class="count" id="badge-approvals">2<' in text


def test_the_list_takes_as_many_queries_for_much_as_for_little() -> None:
    client = signed_in("operator")
    for number in range(60):
        asks(f"Question {number}", detail={"group": "editors"})
    with statements(WHO + MENU + 2):
        text = page(client, "/approvals/")
    assert text.count('<tr id="wait-') == 50
    later = re.search(r'href="(\?cursor=[^"]+)"', text)
    assert later
    assert page(client, f"/approvals/{later[1]}").count('<tr id="wait-') == 10
    page(client, "/approvals/?cursor=nonsense", 404)


def test_the_fragment_of_the_list_is_the_part_that_changes() -> None:
    asks()
    text = page(signed_in("operator"), "/approvals/", **FRAGMENT)
    assert text.lstrip().startswith('<section class="panel" id="approvals"')
    assert "<html" not in text
    assert '<span class="count" id="badge-approvals" hx-swap-oob="true">1<' in text


def test_who_may_not_decide_sees_who_may() -> None:
    wait = asks(detail={"group": "editors"})
    assert f'action="/waits/{wait.pk}/"' not in page(signed_in("operator", "ben"), "/approvals/")
    assert "the group editors" in page(signed_in("viewer"), "/approvals/")
    member = signed_in("operator", "ada")
    User.objects.get(username="ada").groups.add(Group.objects.create(name="editors"))
    assert f'action="/waits/{wait.pk}/"' in page(member, "/approvals/")


# ── one approval ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_form_is_filled_in_and_approved() -> None:
    wait = asks(detail={"schema": FORM, "context": {"draft": "<kelp>"}})
    client = signed_in("operator")
    text = page(client, f"/waits/{wait.pk}/")
    assert text.index('name="payload/title"') < text.index('name="payload/words"')
    assert "&lt;kelp&gt;" in text
    posted = {"payload/title": "Kelp", "payload/words": "250", "comment": "good", "decision": "approve"}
    response = client.post(f"/waits/{wait.pk}/", posted)
    assert (response.status_code, response["Location"]) == (302, "/approvals/")
    form = {"title": "Kelp", "words": 250}
    assert now(wait).output == {"approved": True, "form": form, "by": "operator-person", "comment": "good"}
    assert "Publish?: approved." in page(client, "/approvals/")
    decided = page(client, f"/waits/{wait.pk}/")
    assert "Approved by operator-person" in decided
    assert "&quot;words&quot;: 250" in decided
    assert AuditEntry.objects.get(object_id=str(wait.pk)).reason == "good"


def test_what_does_not_fit_is_said_at_its_field_and_what_was_typed_is_kept() -> None:
    wait = asks(detail={"schema": FORM})
    posted = {"payload/title": "Ab", "payload/words": "many", "comment": "good", "decision": "approve"}
    response = signed_in("operator").post(f"/waits/{wait.pk}/", posted)
    text = response.content.decode()
    assert response.status_code == 422
    assert "Nothing was decided." in text
    assert re.search(r'id="payload-title-errors"><li>[^<]*too short', text)
    assert re.search(r'id="payload-words-errors"><li>[^<]*not of type', text)
    assert 'value="many"' in text
    assert "good</textarea>" in text
    assert now(wait).resolved_at is None


@pytest.mark.parametrize("posted", [{}, {"decision": "perhaps"}])
def test_a_form_that_is_sent_without_a_decision_decides_nothing(posted: dict[str, str]) -> None:
    wait = asks()
    response = signed_in("operator").post(f"/waits/{wait.pk}/", posted)
    assert response.status_code == 422
    assert "Choose Approve or Reject." in response.content.decode()
    assert now(wait).resolved_at is None


@pytest.mark.parametrize("comment", ["x" * 1001, "a\x00b"])
def test_a_comment_that_cannot_be_kept_is_refused_at_its_field(comment: str) -> None:
    wait = asks()
    response = signed_in("operator").post(f"/waits/{wait.pk}/", {"comment": comment, "decision": "reject"})
    assert response.status_code == 422
    assert 'id="comment-errors"' in response.content.decode()
    assert now(wait).resolved_at is None


def test_a_rejection_ignores_what_stands_in_the_form() -> None:
    wait = asks(detail={"schema": FORM})
    signed_in("operator").post(f"/waits/{wait.pk}/", {"payload/words": "many", "decision": "reject"})
    assert now(wait).output["approved"] is False


def test_a_form_that_is_a_list_is_drawn_and_read() -> None:
    wait = asks(detail={"schema": {"type": "array", "items": {"type": "integer"}}})
    client = signed_in("operator")
    assert 'data-array="payload/form"' in page(client, f"/waits/{wait.pk}/")
    posted = {"payload/form~shown": "1", "payload/form/0": "3", "payload/form/1": "x", "decision": "approve"}
    assert "not of type" in client.post(f"/waits/{wait.pk}/", posted).content.decode()
    client.post(f"/waits/{wait.pk}/", {**posted, "payload/form/1": "4"})
    assert now(wait).output["form"] == [3, 4]


def test_a_token_is_completed_with_its_type_and_leads_to_its_run() -> None:
    wait = asks("payment", "token", detail={"schema": {"type": "integer"}})
    client = signed_in("operator")
    assert "not of type" in client.post(f"/waits/{wait.pk}/", {"payload/value": "seven"}).content.decode()
    assert client.post(f"/waits/{wait.pk}/", {"payload/value": "7"})["Location"] == f"/runs/{wait.run_id}/"
    assert now(wait).output == 7
    free = asks("anything", "token")
    assert "write null" in client.post(f"/waits/{free.pk}/", {"payload/value": ""}).content.decode()
    assert "not JSON" in client.post(f"/waits/{free.pk}/", {"payload/value": "{"}).content.decode()
    client.post(f"/waits/{free.pk}/", {"payload/value": '{"paid": true}'})
    assert now(free).output == {"paid": True}
    assert "&quot;paid&quot;: true" in page(client, f"/waits/{free.pk}/")


def test_who_is_not_asked_is_told_who_is_and_refused() -> None:
    wait = asks(detail={"assignee": "ada"})
    client = signed_in("operator", "ben")
    text = page(client, f"/waits/{wait.pk}/")
    assert "<strong>ada</strong> is asked" in text
    assert waitlinks.sign(wait.pk) not in text
    response = client.post(f"/waits/{wait.pk}/", {"decision": "approve"})
    assert response.status_code == 403
    assert now(wait).resolved_at is None
    assert AuditEntry.objects.get(object_id=str(wait.pk)).action == "waits.refuse"


def test_two_people_decide_and_the_second_is_told() -> None:
    wait = asks()
    signed_in("operator", "ada").post(f"/waits/{wait.pk}/", {"decision": "approve"})
    response = signed_in("operator", "ben").post(f"/waits/{wait.pk}/", {"decision": "reject"})
    assert response.status_code == 409
    text = response.content.decode()
    assert re.search(r"approved by ada already \(\S+ \S+ UTC\); nothing was changed", text)
    assert "Approved by ada" in text
    assert now(wait).output["approved"] is True


def test_answering_needs_a_grant_and_a_post_and_a_kind_that_is_answered_here() -> None:
    wait = asks()
    viewer = signed_in("viewer")
    assert "needs the role operator" in page(viewer, f"/waits/{wait.pk}/")
    assert viewer.post(f"/waits/{wait.pk}/", {"decision": "approve"}).status_code == 403
    assert Client().get(f"/waits/{wait.pk}/")["Location"].startswith("/sign-in/")
    assert now(wait).resolved_at is None
    page(viewer, f"/waits/{asks('s', 'signal').pk}/", 404)
    page(viewer, "/waits/01900000-0000-7000-8000-000000000000/", 404)


# ── the signed page ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_signed_page_shows_the_question_and_takes_the_answer_of_whoever_has_it() -> None:
    wait = asks("Publish <b>?", detail={"schema": FORM, "context": {"draft": "kelp"}, "assignee": "ada"})
    path, somebody = f"/waits/{waitlinks.sign(wait.pk)}/", Client()
    for _ in range(2):  # looking changes nothing
        text = page(somebody, path)
        assert now(wait).resolved_at is None
    assert "Publish &lt;b&gt;?" in text
    assert "&quot;draft&quot;: &quot;kelp&quot;" in text
    assert str(wait.run_id) not in text
    assert "no-store" in somebody.get(path)["Cache-Control"]
    refused = somebody.post(path, {"payload/title": "x", "decision": "approve"})
    assert refused.status_code == 422
    assert "too short" in refused.content.decode()
    done = somebody.post(path, {"payload/title": "Kelp", "decision": "approve"})
    assert (done.status_code, done["Location"]) == (302, path)
    assert now(wait).resolved_by == "signed link"
    assert "Approved by signed link" in page(somebody, path)
    assert "<form" not in page(somebody, path)
    late = somebody.post(path, {"decision": "reject"})
    assert late.status_code == 409
    assert "approved by signed link already" in late.content.decode()


def test_a_signed_page_without_its_csrf_token_takes_nothing() -> None:
    wait = asks()
    path = f"/waits/{waitlinks.sign(wait.pk)}/"
    assert Client(enforce_csrf_checks=True).post(path, {"decision": "approve"}).status_code == 403
    assert now(wait).resolved_at is None


def test_fault_35_a_forged_page_is_a_404_and_an_expired_one_says_so() -> None:
    wait, other = asks(), asks()
    signature = waitlinks.sign(other.pk).partition(":")[2]
    for forged in (f"{wait.pk.hex}:{signature}", f"{wait.pk.hex}:", "x:y", wait.pk.hex + ":"):
        assert Client().get(f"/waits/{forged}/").status_code == 404
        assert Client().post(f"/waits/{forged}/", {"decision": "approve"}).status_code == 404
    late = asks(due_at=timezone.now() - timedelta(seconds=1), detail={"default": {"approved": False}})
    path = f"/waits/{waitlinks.sign(late.pk)}/"
    assert "Nobody answered in time: it is rejected" in page(Client(), path)
    assert Client().post(path, {"decision": "approve"}).status_code == 409
    gone = asks(resolved_at=timezone.now(), outcome="cancelled")
    assert "does not wait for this any more" in page(Client(), f"/waits/{waitlinks.sign(gone.pk)}/")
    assert not Wait.objects.filter(pk__in=[wait.pk, other.pk, late.pk]).exclude(resolved_at=None).exists()


# ── the run ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_page_of_a_waiting_run_shows_what_for_and_how_to_answer() -> None:
    run = stored.run("waiting", waiting_for={"what": "signal 'paid'", "count": 3})
    approval = stored.wait(run, "approval", "Publish?")
    stored.wait(run, "signal", "paid")
    stored.wait(run, "sleep", "", due_at=timezone.now() + timedelta(hours=1))
    text = page(signed_in("operator"), f"/runs/{run.id}/")
    assert "Waits for signal &#x27;paid&#x27; and 2 more" in text
    assert f'href="/waits/{approval.pk}/">Approve or reject' in text
    assert f'data-copy-text="http://testserver/waits/{waitlinks.sign(approval.pk)}/"' in text
    assert f'action="/runs/{run.id}/signal/"' in text
    seen = page(signed_in("viewer"), f"/runs/{run.id}/")
    assert "Publish?" in seen
    assert "/signal/" not in seen
    assert waitlinks.sign(approval.pk) not in seen


def test_a_signal_is_sent_from_the_page_of_the_run() -> None:
    run = stored.run("waiting")
    client = signed_in("operator")
    client.post(f"/runs/{run.id}/signal/", {"name": "paid", "payload": '{"cents": 99}'})
    client.post(f"/runs/{run.id}/signal/", {"name": "paid", "payload": " "})
    assert list(Signal.objects.order_by("id").values_list("payload", flat=True)) == [{"cents": 99}, None]
    client.post(f"/runs/{run.id}/signal/", {"name": "paid", "payload": "{"})
    assert "not JSON" in page(client, f"/runs/{run.id}/")
    assert Signal.objects.count() == 2
    assert signed_in("viewer").post(f"/runs/{run.id}/signal/", {"name": "paid"}).status_code == 403
    assert client.get(f"/runs/{run.id}/signal/").status_code == 405


def test_an_update_is_sent_from_the_page_of_the_run_which_shows_the_answer() -> None:
    run = stored.run("waiting")
    stored.wait(run, "update", "set-price")
    client = signed_in("operator")
    before = page(client, f"/runs/{run.id}/")
    assert f'action="/runs/{run.id}/update/"' in before
    assert 'hx-trigger="holdfast:run from:body, holdfast:updates from:body"' in before
    for number in (5, 6, 7, 8):
        client.post(f"/runs/{run.id}/update/", {"name": "set-price", "payload": str(number)})
    sent = list(Update.objects.order_by("id"))
    for update, (outcome, told) in zip(
        sent,
        [("replied", {"reply": {"old": 10}}), ("refused", {"reason": "<below> cost"}), ("abandoned", {})],
        strict=False,
    ):
        Update.objects.filter(pk=update.pk).update(outcome=outcome, answered_at=timezone.now(), **told)
    viewer = signed_in("viewer")
    assert 'hx-trigger="load, holdfast:run from:body, holdfast:updates from:body"' in page(viewer, f"/runs/{run.id}/")
    text = page(viewer, f"/runs/{run.id}/updates/")
    for words in ("{&quot;old&quot;: 10}", "refused: &lt;below&gt; cost", "none; the run ended", "none yet"):
        assert words in text
    assert viewer.post(f"/runs/{run.id}/update/", {"name": "set-price"}).status_code == 403
    client.post(f"/runs/{run.id}/update/", {"name": "set-price", "payload": "{"})
    assert "not JSON" in page(client, f"/runs/{run.id}/")
    assert Update.objects.count() == 4
    page(viewer, "/runs/01900000-0000-7000-8000-000000000000/updates/", 404)


def test_the_children_of_a_run_are_counted_and_the_first_are_listed() -> None:
    parent = stored.run("waiting")
    assert "Children" not in page(signed_in("viewer", "a"), f"/runs/{parent.id}/")
    made = [stored.run("completed" if n % 2 else "failed", "adds", parent_id=parent.id, age=100 - n) for n in range(60)]
    client = signed_in("viewer")
    text = page(client, f"/runs/{parent.id}/children/")
    assert "30 completed" in text
    assert "30 failed" in text
    assert f"/runs/?parent={parent.id}&amp;status=failed" in text
    assert re.findall(r'href="/runs/([0-9a-f-]{36})/"', text) == [str(run.id) for run in made[:50]]
    assert "50 of 60" in text
    with statements(WHO + 3):
        page(client, f"/runs/{parent.id}/children/")
    page(client, "/runs/01900000-0000-7000-8000-000000000000/children/", 404)


def test_the_cancel_of_a_running_run_says_that_it_is_stopped() -> None:
    assert "Stop this one run?" in page(signed_in("operator"), f"/runs/{stored.run('running').id}/")
    assert "Cancel this one run" in page(signed_in("operator", "b"), f"/runs/{stored.run('waiting').id}/")


def test_a_snapshot_of_a_wait_shows_what_it_brought() -> None:
    run = stored.run()
    stored.snapshots(run, 1, 1, kind="wait", output={"outcome": "completed", "value": 7})
    text = page(signed_in("viewer"), f"/runs/{run.id}/snapshots/1/")
    assert "What it brought" in text
    assert "&quot;value&quot;: 7" in text


# ── replay ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def typed(settings: Any) -> Run:
    """A run that failed, of a task with a form."""
    from runs import registration
    from tests.support.processes import TASKS

    settings.HOLDFAST_TASKS = [str(TASKS)]
    registration.discover()
    registration.register_all()
    return stored.run("failed", "typed", payload={"count": 3}, tags=["nightly"])


def test_a_replay_leads_to_the_new_run_and_that_to_the_old(typed: Run) -> None:
    client = signed_in("developer")
    assert f'action="/runs/{typed.id}/replay/"' in page(client, f"/runs/{typed.id}/")
    response = client.post(f"/runs/{typed.id}/replay/", {"reason": "once more"})
    new = Run.objects.exclude(pk=typed.pk).get()
    assert response["Location"] == f"/runs/{new.id}/"
    assert (new.payload, new.tags, new.replay_of) == ({"count": 3}, ["nightly"], typed.id)
    text = page(client, f"/runs/{new.id}/")
    assert "Replay of" in text
    assert f'href="/runs/{typed.id}/"' in text
    assert signed_in("operator").post(f"/runs/{typed.id}/replay/").status_code == 403
    assert "/replay/" not in page(signed_in("operator", "b"), f"/runs/{typed.id}/")


def test_a_payload_is_edited_before_it_is_replayed(typed: Run) -> None:
    client, path = signed_in("developer"), f"/tasks/typed/?payload_of={typed.id}"
    text = page(client, path)
    assert re.search(r'name="payload/count"[^>]* value="3"', text)
    assert "With the payload and options of" in text
    refused = client.post(path, {"payload/count": "x"})
    assert refused.status_code == 422
    assert 'value="nightly"' in text, "its options stand there, to be edited too"
    assert client.post(path, {"payload/count": "4", "reason": "x" * 501}).status_code == 422
    client.post(path, {"payload/count": "4", "options-priority": "7", "reason": "the input was wrong"})
    new = Run.objects.exclude(pk=typed.pk).get()
    assert (new.payload, new.tags, new.priority, new.replay_of) == ({"count": 4}, ["nightly"], 7, typed.id)
    assert AuditEntry.objects.get(action="runs.replay").reason == "the input was wrong"


@pytest.mark.parametrize("text", ["5", "01900000-0000-7000-8000-000000000000", "%00"])
def test_a_form_of_another_run_is_a_404(typed: Run, text: str) -> None:
    client = signed_in("developer")
    page(client, f"/tasks/typed/?payload_of={text}", 404)
    page(client, f"/tasks/typed/?payload_of={stored.run('failed').id}", 404)


def test_a_replay_of_a_task_that_is_gone_says_so() -> None:
    gone = stored.run("failed", "was-here")
    client = signed_in("developer")
    client.post(f"/runs/{gone.id}/replay/")
    assert "There is no task &#x27;was-here&#x27;" in page(client, f"/runs/{gone.id}/")
    assert Run.objects.count() == 1

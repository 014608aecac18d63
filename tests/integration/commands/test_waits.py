"""`waits`, and the verbs of `runs` that answer and replay."""

from __future__ import annotations

from typing import Any

import pytest
from django.utils import timezone

from holdfast.access.models import AuditEntry
from runs import waitlinks
from runs.models import Run, Signal, Update, Wait
from tests.integration.commands.test_runs_and_queues import NOBODY, _known, answered, mistake, said  # noqa: F401
from tests.support import stored

FORM = {"type": "object", "properties": {"title": {"type": "string"}}, "required": ["title"]}


def waiting(kind: str, **fields: Any) -> Wait:
    return stored.wait(stored.run("waiting", "echo"), kind, **fields)


def test_what_is_to_be_answered_is_listed_filtered_and_paged() -> None:
    assert said("waits", "list").strip() == "Nothing waits for an answer."
    asked, token = waiting("approval", name="Publish it?", age=20), waiting("token", name="payment", age=10)
    waiting("sleep")
    lines = said("waits", "list").splitlines()
    assert lines[0].split() == ["WAIT", "KIND", "SINCE", "(UTC)", "RUN", "TASK", "WHAT"]
    assert [line.split()[0] for line in lines[1:]] == [str(asked.pk), str(token.pk)]
    assert lines[1].endswith("echo  Publish it?")
    first = answered("waits", "list", "--limit", "1")
    assert [w["id"] for w in first["items"]] == [str(asked.pk)]
    assert [w["id"] for w in answered("waits", "list", "--cursor", first["next"])["items"]] == [str(token.pk)]
    assert [w["name"] for w in answered("waits", "list", "--kind", "token")["items"]] == ["payment"]
    assert "kind" in mistake("waits", "list", "--kind", "sleep")


def test_a_token_is_completed_by_id_or_signed_form_and_once(settings: Any) -> None:
    one, two = waiting("token", name="payment"), waiting("token", name="payment")
    assert said("waits", "complete", str(one.pk), '{"cents": 99}').strip() == (
        f"payment of run {one.run_id} is completed."
    )
    assert answered("waits", "complete", waitlinks.sign(two.pk), "1")["output"] == 1
    assert "(command line) already" in mistake("waits", "complete", str(one.pk), "2")
    assert "not JSON" in mistake("waits", "complete", str(one.pk), "{")
    assert NOBODY in mistake("waits", "complete", NOBODY, "1")
    assert "signature" in mistake("waits", "complete", f"{one.pk.hex}:forged", "1")
    settings.HOLDFAST_PUBLIC_URL = "https://holdfast.example.com"
    three = waiting("token", name="payment")
    [told] = answered("waits", "list")["items"]
    assert told["link"] == f"https://holdfast.example.com/waits/{waitlinks.sign(three.pk)}/"


def test_a_token_is_failed_for_good_or_not() -> None:
    one, two = waiting("token", name="film"), waiting("token", name="film")
    assert said("waits", "fail", str(one.pk), "the lamp broke").strip() == f"film of run {one.run_id} is failed."
    done = answered("waits", "fail", str(two.pk), "no such scene", "--for-good")
    assert done["output"] == {"message": "no such scene", "retry": False}
    assert "failed by" in mistake("waits", "fail", str(one.pk), "again")
    assert "1 to 2,000 characters" in mistake("waits", "fail", str(waiting("token").pk), "")
    assert "approve or reject it" in mistake("waits", "fail", str(waiting("approval").pk), "no")


def test_a_decision_is_made_with_form_and_comment() -> None:
    yes, no = waiting("approval", detail={"schema": FORM}), waiting("approval")
    assert "form.title" in mistake("waits", "approve", str(yes.pk), "--form", "{}")
    done = answered("waits", "approve", str(yes.pk), "--form", '{"title": "Kelp"}', "--comment", "good")
    assert (done["output"]["approved"], done["output"]["form"], done["output"]["comment"]) == (
        True,
        {"title": "Kelp"},
        "good",
    )
    assert said("waits", "reject", str(no.pk)).strip() == f"Publish? of run {no.run_id} is rejected."
    assert "rejected by" in mistake("waits", "approve", str(no.pk))
    assert list(AuditEntry.objects.filter(action__startswith="waits").values_list("action", "reason")[::-1]) == [
        ("waits.approve", "good"),
        ("waits.reject", ""),
        ("waits.refuse", ""),
    ]


def test_a_run_is_sent_a_signal() -> None:
    run = stored.run("waiting", "echo")
    assert said("runs", "signal", str(run.id), "paid").strip() == f"{run.id} has the signal paid; it is waiting."
    assert answered("runs", "signal", str(run.id), "paid", "[1]")["id"] == str(run.id)
    assert list(Signal.objects.order_by("id").values_list("payload", flat=True)) == [None, [1]]
    assert "completed" in mistake("runs", "signal", str(stored.run("completed", "echo").id), "paid")
    assert "not JSON" in mistake("runs", "signal", str(run.id), "paid", "yes")


def test_a_run_is_replayed_with_its_own_or_another_payload() -> None:
    old = answered("enqueue", "typed", '{"count": 3}', "--tag", "a")
    new = answered("runs", "replay", old["id"])
    assert (new["replay_of"], new["payload"], new["tags"]) == (old["id"], {"count": 3}, ["a"])
    text = said("runs", "replay", old["id"], "--payload", '{"count": 4}')
    latest = Run.objects.order_by("-id")[0]
    assert text.strip() == f"{latest.id} replays {old['id']} and is queued."
    assert latest.payload == {"count": 4}
    edited = answered("runs", "replay", old["id"], "--priority", "5", "--tag", "b", "--delay", "60")
    assert (edited["priority"], edited["tags"], edited["status"], edited["payload"]) == (
        5,
        ["b"],
        "scheduled",
        {"count": 3},
    )
    assert "priority" in mistake("runs", "replay", old["id"], "--priority", "5000")
    assert "payload.count" in mistake("runs", "replay", old["id"], "--payload", '{"count": "x"}')
    assert "null" in mistake("runs", "replay", old["id"], "--payload", "null")
    assert NOBODY in mistake("runs", "replay", NOBODY)
    assert Run.objects.count() == 4


def test_a_cancelled_run_says_what_it_is_now() -> None:
    run_id = answered("enqueue", "echo")["id"]
    assert said("runs", "cancel", run_id).strip() == f"{run_id} is cancelled."


@pytest.mark.parametrize("words", [("waits",), ("waits", "approve"), ("waits", "complete", NOBODY)])
def test_a_missing_word_is_a_usage_error(words: tuple[str, ...]) -> None:
    from django.core.management import CommandError

    with pytest.raises(CommandError):
        said(*words)


def test_a_run_is_asked_and_its_reply_is_printed() -> None:
    run = stored.run("waiting", "echo")
    asked = ("runs", "update", str(run.id), "set-price", '{"price": 5}', "--key", "k", "--timeout", "0")
    assert "has not answered update 'set-price' yet" in mistake(*asked)
    Update.objects.update(outcome="replied", reply={"old": 10}, answered_at=timezone.now())
    assert said(*asked).strip() == '{"old": 10}'
    assert answered(*asked)["reply"] == {"old": 10}
    Update.objects.update(outcome="refused", reason="below cost")
    assert "below cost" in mistake(*asked)
    assert "completed" in mistake("runs", "update", str(stored.run("completed", "echo").id), "set-price")

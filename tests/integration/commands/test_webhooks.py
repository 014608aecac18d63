"""`webhooks`, and the example of `platform/docs/webhooks.md`."""

from __future__ import annotations

import hashlib
import hmac
import json
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

import pytest
from django.test import Client
from django.utils import timezone

from holdfast.access.grants import Actor
from holdfast.redaction import MASK
from runs.models import Run
from runs.schedules.services import schedule_create
from runs.webhooks import retention
from runs.webhooks.model import Delivery, Webhook
from tests.integration.commands.test_runs_and_queues import _known, answered, mistake, said  # noqa: F401
from tests.support.processes import ROOT, TASKS, Fleet
from tests.support.runs import run
from tests.support.waiting import eventually

HIDDEN: Final = "xyz-1f00d-hidden"
ISSUE = ("--filter", "action == 'opened'", "--mapping", "{title: issue.title, number: issue.number}")


def github(secret: str, body: dict[str, object], delivery: str) -> Any:
    data = json.dumps(body).encode()
    mac = hmac.new(secret.encode(), data, hashlib.sha256).hexdigest()
    headers = {"X-Hub-Signature-256": f"sha256={mac}", "X-GitHub-Delivery": delivery}
    return Client().generic("POST", "/hooks/issues", data, "application/json", headers=headers)


def test_the_webhook_of_the_page_starts_runs(documented: Callable[[str], Fleet]) -> None:
    documented("webhooks.md").worker("worker-1")
    secret = answered("webhooks", "create", "issues", "docs-triage", "--scheme", "github", *ISSUE)["secret"]
    opened = {"action": "opened", "issue": {"title": "Kelp", "number": 7, "more": [1]}}
    told = json.loads(github(secret, opened, "a").content)
    assert told["outcome"] == "accepted"
    eventually(lambda: run(told["run_id"]).status == "completed", "the run is done")
    github(secret, {"action": "closed"}, "b")
    assert [row["outcome"] for row in answered("webhooks", "deliveries", "issues")] == ["filtered", "accepted"]
    Delivery.objects.filter(remote_id="a").update(received_at=timezone.now() - timedelta(days=31))
    assert retention.forget(30 * 86_400) == 1
    assert Delivery.objects.get().remote_id == "b"


def test_verbs_do_what_they_say_and_tell_no_secret_again() -> None:
    assert said("webhooks", "list").strip() == "There is no webhook yet."
    first = answered("webhooks", "create", "in", "echo")["secret"]
    assert "paused" in said("webhooks", "pause", "in")
    assert not Webhook.objects.get().enabled
    assert answered("webhooks", "resume", "in")["enabled"] is True
    second = answered("webhooks", "rotate", "in", "--overlap", "60")["secret"]
    assert second != first
    shown = said("webhooks", "list", "--json") + said("webhooks", "set", "in", "--window", "60", "--json")
    assert first not in shown
    assert second not in shown
    assert said("webhooks", "deliveries", "in").strip() == "Nothing has come yet."
    assert "is deleted" in said("webhooks", "delete", "in", "--reason", "over")
    assert not Webhook.objects.exists()


def test_deliveries_to_an_endpoint_are_shown_and_sent_again() -> None:
    answered("endpoints", "create", "crm", "https://example.org/")
    assert said("endpoints", "deliveries", "crm").strip() == "Nothing was sent yet."
    sent = answered("endpoints", "test", "crm")["run_id"]
    assert sent in said("endpoints", "deliveries", "crm")
    assert answered("endpoints", "deliveries", "crm")[0]["type"] == "test"
    assert "it is on its way already" in mistake("endpoints", "resend", "crm", sent)
    assert "write a UUID" in mistake("endpoints", "resend", "crm", "x")
    said("runs", "cancel", sent)
    assert answered("endpoints", "resend", "crm", sent) == {"run_id": sent}


@pytest.mark.django_db(transaction=True)
def test_from_a_shell_a_webhook_is_made_changed_and_its_deliveries_are_sent_again(
    child_environment: dict[str, str],
) -> None:
    def shell(*words: str, code: int = 0, tasks: str = str(TASKS)) -> Any:
        done = subprocess.run(
            [sys.executable, str(ROOT / "manage.py"), "webhooks", *words, "--json"],
            env={**child_environment, "HOLDFAST_TASKS": tasks},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == code, done.stderr
        assert len(done.stderr.splitlines()) == bool(code)
        return json.loads(done.stdout)

    secret = shell("create", "issues", "echo", "--scheme", "github")["secret"]
    run_id = json.loads(github(secret, {"value": 7}, "a").content)["run_id"]
    delivery = answered("webhooks", "deliveries", "issues")[0]["id"]
    assert shell("set", "issues", "--task", "typed")["task_id"] == "typed"
    assert shell("resend", delivery, code=1)["outcome"] == "refused"
    assert str(Delivery.objects.get().run_id) == run_id
    shell("set", "issues", "--task", "echo")
    assert shell("resend", delivery)["outcome"] == "accepted"
    assert shell("resend", delivery, code=1, tasks="")["outcome"] == "refused"
    assert [Delivery.objects.get().outcome, Run.objects.count()] == ["accepted", 2]


def test_what_is_shown_to_nobody_is_not_told_of_deliveries_and_schedules() -> None:
    secret = answered("webhooks", "create", "issues", "echo", "--scheme", "github")["secret"]
    github(secret, {"value": {"password": HIDDEN}}, "a")
    settings = {"task_id": "echo", "payload": {"value": {"api_key": HIDDEN}}, "every": 60}
    made = schedule_create("nightly", Actor.local(), **settings)
    made.declared = settings
    made.save()
    told = [said("webhooks", "deliveries", "issues", "--json"), said("schedules", "list", "--json")]
    told += [said("schedules", "show", "nightly"), said("schedules", "show", "nightly", "--json")]
    told += [said("schedules", "pause", "nightly", "--json")]
    told += [said("webhooks", "resend", str(Delivery.objects.get().pk), "--json")]
    assert [text for text in told if HIDDEN in text or MASK not in text] == []
    assert Run.objects.order_by("-id")[0].payload == {"value": {"password": HIDDEN}}


def test_what_is_deleted_is_said_in_json_as_well() -> None:
    answered("webhooks", "create", "in", "echo")
    answered("endpoints", "create", "in", "https://example.org/")
    answered("schedules", "create", "in", "echo", "--every", "60")
    for what in ("webhooks", "endpoints", "schedules"):
        assert answered(what, "delete", "in") == {"name": "in", "deleted": True}


def test_mistakes_are_one_line() -> None:
    assert "There is no webhook 'none'" in mistake("webhooks", "pause", "none")
    assert "write a UUID" in mistake("webhooks", "resend", "x")
    assert "choose one of standard, github, stripe" in mistake("webhooks", "create", "in", "echo", "--scheme", "x")
    assert "no JMESPath expression" in mistake("webhooks", "create", "in", "echo", "--filter", "a ==")

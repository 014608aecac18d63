"""Two people at one thing: who saves later, and has not seen what the other did, is told instead of overwriting it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from django.test import Client

from holdfast.access.grants import Actor
from holdfast.access.models import AuditEntry
from runs.alerts import channels
from runs.alerts import services as alerts
from runs.outbound import services as endpoints
from runs.schedules import services as schedules
from runs.webhooks import services as webhooks
from tests.support.people import signed_in

pytestmark = pytest.mark.usefixtures("registered")
ANN = Actor.local()


@dataclass(frozen=True)
class Thing:
    """Something that people edit: how it is made and read, and what two of them write into its form."""

    kind: str
    path: str
    form: dict[str, str]  # as the second one sends it
    make: Callable[[], Any]
    edit: Callable[[], Any]  # what the first one does
    read: Callable[[], Any]
    was: Any
    then: Any  # after the first
    last: Any  # after the second, who has read what the first did
    said: str


def _schedule(**values: Any) -> Any:
    return schedules.schedule_update("it", ANN, **values)


THINGS = {
    "schedule": Thing(
        "schedule",
        "/schedules/it/",
        {"task_id": "echo", "payload": '{"value": 1}', "cron": "0 6 * * *", "timezone": "UTC", "catch_up": "latest",
         "overlap": "allow", "jitter": "20", "every": ""},
        lambda: schedules.schedule_create("it", ANN, task_id="echo", payload={"value": 1}, cron="0 6 * * *"),
        lambda: _schedule(jitter=10),
        lambda: schedules.Schedule.objects.get().jitter,
        0, 10, 20, "jitter from 0 to 10",
    ),
    "alert": Thing(
        "alert",
        "/alerts/it/",
        {"task": "echo", "threshold": "30", "window": "1h", "hold": "0s", "min_runs": "20", "kind": "failure_rate"},
        lambda: alerts.alert_create("it", kind="failure_rate", task="echo", threshold=10, actor=ANN),
        lambda: alerts.alert_update("it", {"threshold": 20}, actor=ANN),
        lambda: alerts.Alert.objects.get().threshold,
        10, 20, 30, "threshold from 10 to 20",
    ),
    "channel": Thing(
        "channel",
        "/alerts/channels/it/",
        {"kind": "email", "recipients": "c@example.org"},
        lambda: channels.channel_create("it", "email", recipients=["a@example.org"], actor=ANN),
        lambda: channels.channel_update("it", {"recipients": ["b@example.org"]}, actor=ANN),
        lambda: channels.Channel.objects.get().recipients,
        ["a@example.org"], ["b@example.org"], ["c@example.org"], "to from a@example.org to b@example.org",
    ),
    "webhook": Thing(
        "webhook",
        "/webhooks/in/it/",
        {"task_id": "echo", "filter": "", "mapping": "{value: n}", "window": "60", "body_limit": "1000"},
        lambda: webhooks.webhook_create("it", "echo", scheme="standard", mapping="{value: n}", actor=ANN),
        lambda: webhooks.webhook_update("it", {"window": 90}, actor=ANN),
        lambda: webhooks.Webhook.objects.get().window,
        300, 90, 60, "window from 300 to 90",
    ),
    "endpoint": Thing(
        "endpoint",
        "/webhooks/out/it/",
        {"url": "https://example.org/c", "events": "run.completed"},
        lambda: endpoints.endpoint_create("it", url="https://example.org/a", events=["run.completed"], actor=ANN),
        lambda: endpoints.endpoint_update("it", {"url": "https://example.org/b"}, actor=ANN),
        lambda: endpoints.Endpoint.objects.get().url,
        "https://example.org/a", "https://example.org/b", "https://example.org/c",
        "url from https://example.org/a to https://example.org/b",
    ),
}  # fmt: skip


@pytest.fixture(params=THINGS)
def thing(request: pytest.FixtureRequest) -> Thing:
    found = THINGS[request.param]
    found.make()
    return found


@pytest.fixture
def ben() -> Client:
    return signed_in("admin", "ben")


def mark(page: str, thing: Thing) -> str:
    form = re.search(rf'<form class="form" method="post" action="{thing.path}".*?</form>', page, re.DOTALL)
    assert form is not None
    return re.findall(r'name="seen" value="(\w{16})"', form[0])[0]


def text(response: Any) -> str:
    return str(response.content.decode()).replace("&#x27;", "'")


def test_the_later_one_reads_what_came_between_and_keeps_what_he_wrote(thing: Thing, ben: Client) -> None:
    seen = mark(text(ben.get(thing.path)), thing)
    thing.edit()
    refused = ben.post(thing.path, {**thing.form, "seen": seen})
    assert refused.status_code == 422
    assert f"{ANN.label} changed it at" in text(refused)
    assert f"after {thing.kind} it was shown to you: {thing.said}" in text(refused)
    assert thing.read() == thing.then, "nothing was changed"
    assert AuditEntry.objects.filter(action__contains="update", object_id="it").count() == 1
    assert thing.form[next(iter(thing.form))] in text(refused)

    again = mark(text(refused), thing)
    assert again != seen
    assert ben.post(thing.path, {**thing.form, "seen": again}).status_code in (302, 303)
    assert thing.read() == thing.last


def test_who_saw_it_as_it_is_changes_it_and_a_program_that_saw_nothing_as_well(thing: Thing, ben: Client) -> None:
    assert thing.read() == thing.was
    seen = mark(text(ben.get(thing.path)), thing)
    assert ben.post(thing.path, {**thing.form, "seen": seen}).status_code in (302, 303)
    assert thing.read() == thing.last
    thing.edit()
    assert ben.post(thing.path, thing.form).status_code in (302, 303)
    assert thing.read() == thing.last


def test_what_is_so_already_is_no_change_that_came_too_late(thing: Thing, ben: Client) -> None:
    seen = mark(text(ben.get(thing.path)), thing)
    assert ben.post(thing.path, {**thing.form, "seen": seen}).status_code in (302, 303)
    assert ben.post(thing.path, {**thing.form, "seen": seen}).status_code in (302, 303), "sent twice"
    assert AuditEntry.objects.filter(action__contains="update", object_id="it").count() == 1

"""So many rows of everything that a page lists, for what is asked of PostgreSQL by each page."""

from __future__ import annotations

import json
import time
import uuid
from datetime import timedelta

from django.test import Client
from django.utils import timezone

from holdfast.access.grants import Actor
from queues import breakers
from queues import services as queues
from queues.models import Breaker, Worker
from runs import waitlinks
from runs.alerts import channels
from runs.alerts import services as alerts
from runs.alerts.model import Alert, Firing
from runs.bulk import services as bulk
from runs.forks.services import run_fork
from runs.outbound import services as endpoints
from runs.savedviews import services as views
from runs.schedules import services as schedules
from runs.schedules.model import Schedule
from runs.updatemodel import Update
from runs.webhooks import schemes
from runs.webhooks import services as webhooks
from runs.webhooks.model import Delivery
from tests.support import stored

ACTOR = Actor.local()
#: What the first row of each kind is called; the others have a number behind it.
NAME = "crowd"


def crowd(rows: int) -> dict[str, str]:
    """Makes them all, for an installation that knows the tests' tasks. Returns what stands in addresses, by its name:
    {run}, {failed}, {child}, {wait}, {signed}, {update}, {job}, {delivery}, {worker}."""
    worker = _flow(rows)
    waits = _waits(rows)
    _retrying(rows)
    _errors(rows)
    job = bulk.bulk_create(action="retry", ids=_failed(rows), actor=ACTOR, reason="the supplier is back")
    for _ in range(rows - 1):
        bulk.bulk_create(action="retry", ids=_failed(1), actor=ACTOR, reason="again")
    _schedules(rows)
    _alerts(rows)
    _hooks(rows)
    for number in range(rows):
        views.view_save(_name(number), "status:failed", actor=ACTOR, shared=True)
    delivery = Delivery.objects.filter(webhook__name=NAME).latest("id")
    runs = _runs(rows, worker)  # the latest ones: the first page of runs has one of each kind, however many there are
    # However long it takes to look at all pages, no worker has fallen silent.
    Worker.objects.update(heartbeat_at=timezone.now() + timedelta(hours=1))
    return runs | waits | {"worker": str(worker.pk), "job": str(job.pk), "delivery": str(delivery.pk)}


def _name(number: int) -> str:
    return f"{NAME}{number}" if number else NAME


def _flow(rows: int) -> Worker:
    made = [stored.worker(_name(number)) for number in range(rows)]
    for number in range(rows):
        stored.task(_name(number), _name(number))
        queues.queue_update(_name(number), ACTOR, concurrency_limit=2)
        Breaker.objects.create(
            name=_name(number), failure_rate=0.5, min_calls=5, window=60, slow_rate=1, cooldown=30, probes=3,
            since=timezone.now(),
        )  # fmt: skip
        breakers.breaker_force(_name(number), "open", ACTOR, "maintenance")
        stored.ended(5, "failed", _name(number))
        stored.run("queued", _name(number), age=3_600, tags=[_name(number)], concurrency_key=_name(number))
    queues.queue_pause(NAME, ACTOR, "maintenance", seconds=3_600)
    return made[0]


def _failed(rows: int) -> list[uuid.UUID]:
    error = {**stored.error(), "fingerprint": "f00d"}
    return [stored.run("failed", "echo", error=error, tags=["nightly"]).id for _ in range(rows)]


def _runs(rows: int, worker: Worker) -> dict[str, str]:
    """One in a worker's hands with rows of all that a run can have, and one that failed."""
    of = stored.run("running", "echo", age=0)
    for number in range(1, rows + 1):
        stored.attempt(of, number, "running" if number == rows else "failed")
        child = stored.run("queued", "echo", age=0, parent_id=of.id)
        values = {"name": "colour", "payload": number, "sent_at": timezone.now(), "sent_by": "ann"}
        update = Update.objects.create(id=stored.uuid7(timezone.now()), run=of, **values)
    stored.snapshots(of, 1, rows)
    stored.lines(of, *("said" for _ in range(rows)))
    stored.chunks(of, *range(rows))
    stored.held(of, worker)
    stored.stack(of, *(stored.frame("fetch") for _ in range(rows)))
    failed = stored.run("failed", "echo", age=0, error={**stored.error(), "fingerprint": "f00d"}, payload={"value": 1})
    stored.attempt(failed, 1, "failed", error=stored.error())
    stored.snapshots(failed, 1, rows)
    named = {"run": of.id, "failed": failed.id, "child": child.id, "update": update.id}
    run_fork(failed.id, sequence=1, actor=ACTOR)
    return {name: str(value) for name, value in named.items()}


def _waits(rows: int) -> dict[str, str]:
    schema = {"type": "object", "properties": {"note": {"type": "string"}}}
    of = stored.run("waiting", "echo", waiting_for={"kind": "approval"})
    for _ in range(rows):
        wait = stored.wait(of, detail={"schema": schema})
        stored.wait(stored.run("waiting", "echo", waiting_for={"kind": "approval"}))
    return {"waiting": str(of.id), "wait": str(wait.pk), "signed": waitlinks.sign(wait.pk)}


def _retrying(rows: int) -> None:
    for number in range(rows):
        at = timezone.now() + timedelta(minutes=5)
        of = stored.run("retrying", _name(number), attempt=2, failures=2, error=stored.error("x"), next_at=at)
        for tried in (1, 2):
            stored.attempt(of, tried, "failed", error=stored.error("x"))
        stored.snapshots(of, 1, 3)


def _errors(rows: int) -> None:
    stored.failures(3, step="send", example=_failed(1)[0])
    for number in range(rows):
        stored.failures(fingerprint=_name(number))
        stored.failures(step=f"step-{number}", version=str(number))


def _schedules(rows: int) -> None:
    for number in range(rows):
        schedules.schedule_create(_name(number), ACTOR, task_id="echo", every=60)
        schedules.schedule_run(_name(number), ACTOR)
        due = timezone.now() - timedelta(minutes=number + 1)
        Schedule.objects.get(name=NAME).ticks.create(due_at=due, fired_at=due, outcome="fired", run_id=_failed(1)[0])


def _alerts(rows: int) -> None:
    for number in range(rows):
        channels.channel_create(_name(number), "json", url="https://example.org/hook", actor=ACTOR)
        rule = {"kind": "failure_rate", "task": "echo", "threshold": 10, "min_runs": 5}
        alerts.alert_create(_name(number), actor=ACTOR, channels=[NAME, _name(number)], **rule)
    now = timezone.now()
    told = {"threshold": 1, "value": 2, "peak": 2, "peak_at": now, "summary": "2.0 %: rule", "link": "/runs/"}
    for rule in Alert.objects.all():
        Firing.objects.create(alert=rule, since=now, **told)
    for _ in range(rows):
        Firing.objects.create(alert=Alert.objects.get(name=NAME), since=now, until=now, ended="recovered", **told)


def _hooks(rows: int) -> None:
    for number in range(rows):
        secret = webhooks.webhook_create(_name(number), "echo", scheme="standard", actor=ACTOR)[1]
        for sent in range(rows if number == 0 else 1):
            data = json.dumps({"n": sent}).encode()
            headers = schemes.sign(secret, str(uuid.uuid4()), int(time.time()), data)
            Client().generic("POST", f"/hooks/{_name(number)}", data, "application/json", headers=headers)
        endpoints.endpoint_create(_name(number), url="https://example.org/hooks", actor=ACTOR)
        for _ in range(rows if number == 0 else 1):
            endpoints.endpoint_test(_name(number), actor=ACTOR)

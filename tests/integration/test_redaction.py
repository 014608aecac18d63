"""Values that are shown to nobody: not by a page, a call of the API, the command line, a download or Django's admin."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any, Final

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection
from django.db.models import F
from django.test import Client
from django.urls import reverse

from holdfast.access.grants import Actor
from holdfast.redaction import MASK
from runs import services
from runs.errors import InvalidFilter, InvalidOption, InvalidPayload
from runs.filters import RunFilter
from runs.forks.services import run_fork
from runs.models import LogLine, Run, Snapshot
from runs.schedules import services as schedules
from runs.schedules.model import Schedule
from runs.schedules.services import InvalidSchedule
from tests.support import stored
from tests.support.crowd import crowd
from tests.support.people import signed_in

pytestmark = pytest.mark.django_db
ACTOR = Actor.local()
SECRET: Final = "xyz-1f00d-hidden"
#: JSON of users' own, but for what a stream sends to its readers.
USERS: Final = {
    ("schedule", "payload"), ("schedule", "declared"),
    ("update", "payload"), ("update", "reply"), ("delivery", "query"), ("delivery", "body"),
    ("run", "payload"), ("run", "output"), ("snapshot", "input"), ("snapshot", "output"), ("snapshot", "state"),
    ("logline", "fields"), ("wait", "output"), ("signal", "payload"), ("progress", "metadata"),
    ("heartbeat", "details"),
}  # fmt: skip


@pytest.fixture
def planted(registered: None) -> dict[str, str]:
    """Installations' rows of every kind, with a secret in all JSON of users' own."""
    names = crowd(2)
    Schedule.objects.update(declared=F("payload"))
    secrets = json.dumps({"api_key": SECRET, "deep": [{"Client-Secret": SECRET}]})
    with connection.cursor() as cursor:
        for model, field in USERS:
            cursor.execute(
                f"UPDATE runs_{model} SET {field} = {field} || %s::jsonb WHERE jsonb_typeof({field}) = 'object'",
                [secrets],
            )
        cursor.execute(
            "UPDATE runs_wait SET detail = jsonb_set(detail, '{context}', %s) WHERE detail IS NOT NULL", [secrets]
        )
    return names


def told(client: Client, names: dict[str, str]) -> Iterator[tuple[str, str]]:
    """All that pages, fragments and calls of the API answer, by their address."""
    from tests.integration.test_query_counts import COUNTS, fetched

    for address in COUNTS:
        answer: Any = fetched(client, address.format(**names))
        if answer.streaming and answer.is_async:
            continue  # the download of a log: below
        content = b"".join(answer.streaming_content) if answer.streaming else answer.content
        yield address, content.decode(errors="replace")


def test_no_page_and_no_call_shows_what_is_hidden(planted: dict[str, str], settings: Any) -> None:
    client = signed_in("admin")
    assert [address for address, text in told(client, planted) if SECRET in text] == []
    settings.HOLDFAST_REDACT = ()
    assert len([address for address, text in told(client, planted) if SECRET in text]) > 12


def test_the_admin_and_the_command_line_show_it_as_little(registered: None) -> None:
    run = stored.run("failed", payload={"api_key": SECRET}, output={"password": SECRET})
    stored.snapshots(run, 1, 1, output={"secret": SECRET}, state={"secret": SECRET})
    stored.lines(run, "in", fields={"secret": SECRET})
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    for row in (run, Snapshot.objects.get(), LogLine.objects.get()):
        page = client.get(reverse(f"admin:runs_{row._meta.model_name}_change", args=(row.pk,))).content.decode()
        assert MASK in page
        assert SECRET not in page
    for words in (("show", str(run.id)), ("show", str(run.id), "--json"), ("tail", str(run.id))):
        out = io.StringIO()
        call_command("runs", *words, stdout=out)
        assert SECRET not in out.getvalue()


def test_what_somebody_edits_keeps_the_values_that_they_were_not_shown(registered: None) -> None:
    run = stored.run("failed", "echo", payload={"value": {"api_key": SECRET, "n": 1}})
    payload = {"value": {"api_key": MASK, "n": 2}}
    replayed = services.run_replay(run.id, actor=ACTOR, payload=payload)
    assert Run.objects.get(pk=replayed).payload == {"value": {"api_key": SECRET, "n": 2}}
    with pytest.raises(InvalidPayload) as caught:
        services.run_replay(run.id, actor=ACTOR, payload={"value": {"password": MASK}})
    assert [fault["field"] for fault in caught.value.data["errors"]] == ["value.password"]

    stored.snapshots(run, 1, 1, kind="checkpoint", state={"secret": SECRET, "n": 1})
    forked = run_fork(run.id, sequence=1, actor=ACTOR, state={"secret": MASK, "n": 2})
    assert Snapshot.objects.get(run_id=forked).state == {"secret": SECRET, "n": 2}
    with pytest.raises(InvalidOption, match="state has password"):
        run_fork(run.id, sequence=1, actor=ACTOR, state={"password": MASK})

    schedules.schedule_create("nightly", ACTOR, task_id="echo", every=60, payload={"value": {"secret": SECRET}})
    schedules.schedule_update("nightly", ACTOR, payload={"value": {"secret": MASK, "n": 3}})
    assert Schedule.objects.get(name="nightly").payload == {"value": {"secret": SECRET, "n": 3}}
    with pytest.raises(InvalidSchedule, match="password"):
        schedules.schedule_update("nightly", ACTOR, payload={"value": {"password": MASK}})
    page = signed_in("admin").get("/changes/").content.decode()
    assert "nightly" in page
    assert SECRET not in page


def test_nobody_can_guess_it_by_a_search() -> None:
    with pytest.raises(InvalidFilter, match="shown to nobody"):
        RunFilter.parse({"q": "payload.user.api_key:x"})
    RunFilter.parse({"q": "payload.user.id:x"})

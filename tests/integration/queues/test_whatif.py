"""*What if*: the last day's runs of a queue under a proposed limit, on its page and over HTTP."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from django.test import Client

from holdfast.access.models import AuditEntry
from holdfast.access.selectors import database_now
from queues.models import Queue
from runs import whatif
from tests.support.arrivals import came
from tests.support.people import signed_in

pytestmark = pytest.mark.django_db
HTMX = {"HX-Request": "true"}


@pytest.fixture
def llm() -> Queue:
    return Queue.objects.create(name="llm", concurrency_limit=4, declared={"concurrency_limit": 4})


def ask(name: str = "llm", client: Client | None = None, **form: str) -> Any:
    return (client or signed_in("admin")).post(f"/queues/{name}/what-if/", form, headers=HTMX)


def test_arrivals_of_the_last_day_that_have_started_are_replayed(llm: Queue) -> None:
    now = database_now()
    for n in range(6):
        came(llm, 3_600 - n, 60, now=now)
    came(llm, 90_000, 60)
    came(llm, 100, 0, status="queued", started_at=None, finished_at=None)
    came(Queue.objects.create(name="other"), 100, 60)
    found = whatif.what_if("llm", {"concurrency_limit": 1})
    assert (found.runs, found.more) == (6, False)
    assert found.before.waits == pytest.approx([0, 0, 0, 0, 56, 56], abs=0.5)
    assert found.after.waits == pytest.approx([59 * n for n in range(6)], abs=0.5)
    assert [trace["name"] for trace in found.figure["data"]] == ["now", "proposed"]
    llm.refresh_from_db()
    assert (llm.concurrency_limit, llm.edited) == (4, [])


def test_keys_units_and_what_still_runs_are_read(llm: Queue) -> None:
    came(llm, 50, 10, concurrency_key="a", units=7, priority=3)
    came(llm, 40, 0, status="running", finished_at=None)
    first, second = whatif._arrivals(llm, database_now() - timedelta(hours=1))
    assert (first.seconds, first.key, first.priority, first.units) == (10, "a", 3, 7)
    assert 40 <= second.seconds < 60


def test_of_too_many_the_latest_are_taken(llm: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whatif, "MOST", 3)
    for n in range(5):
        came(llm, 100 - n, n)
    found = whatif.what_if("llm", {"concurrency_limit": None})
    assert (found.runs, found.more) == (3, True)
    assert [arrival.seconds for arrival in whatif._arrivals(llm, database_now() - timedelta(hours=1))][1:] == [2, 3, 4]


def test_the_form_shows_numbers_and_a_figure_and_changes_nothing(llm: Queue) -> None:
    now = database_now()
    for n in range(6):
        came(llm, 600 - n, 60, now=now)
    answer = ask(concurrency_limit="1", key_concurrency_limit="", rate="", key_rate="", key_weights="")
    assert answer.status_code == 200
    page = answer.content.decode()
    assert "6 runs since" in page
    assert "4 m 55 s" in page, "the longest wait of one slot"
    figure = json.loads(unescape(re.search(r'data-figure="([^"]*)"', page)[1]))  # type: ignore[index]
    assert len(figure["data"]) == 2
    assert Queue.objects.get(name="llm").concurrency_limit == 4
    assert not AuditEntry.objects.filter(object_type="queue").exists()


def test_nonsense_is_refused_in_the_words_of_save_and_an_empty_day_says_so(llm: Queue) -> None:
    client = signed_in("admin")
    refused = ask(client=client, concurrency_limit="0", rate="10 per fortnight")
    saved = client.post("/queues/llm/limit/", {"concurrency_limit": "0", "rate": "10 per fortnight"}, headers=HTMX)
    assert refused.status_code == saved.status_code == 422
    for words in re.findall(r"</strong>: ([^<]+)</p>", refused.content.decode()):
        assert words.strip() in saved.content.decode()
    nothing = ask(client=client)
    assert (nothing.status_code, "is missing" in nothing.content.decode()) == (422, True)
    assert "nothing to replay" in ask(client=client, concurrency_limit="1").content.decode()
    assert ask("nowhere", client, concurrency_limit="1").status_code == 404


def test_only_who_may_edit_asks(llm: Queue) -> None:
    assert ask(client=signed_in("operator"), concurrency_limit="1").status_code == 403
    assert signed_in("admin").get("/queues/llm/what-if/").status_code == 405

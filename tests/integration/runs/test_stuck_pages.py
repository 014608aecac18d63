"""Where runs are, on their pages and on those of workers; and those that do not get on."""

from __future__ import annotations

import re
import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from queues.models import Queue, Worker
from runs import selectors
from runs.filters import InvalidFilter, RunFilter
from runs.models import Run
from runs.search.suggest import suggest
from runs.stuck.model import Stuck
from runs.stuck.selectors import MAX_LONGEST
from runs.why import why
from tests.support import stored
from tests.support.counting import statements
from tests.support.people import signed_in

pytestmark = pytest.mark.django_db
#: Queries by which a page knows who asks, and that of its menu.
WHO_AND_MENU = 4


@pytest.fixture
def kelp() -> Worker:
    return stored.worker(pools=["default", "gpu"])


@pytest.fixture
def viewer() -> Client:
    return signed_in("viewer")


def page(client: Client, path: str, status: int = 200) -> str:
    response = client.get(path)
    assert response.status_code == status
    return response.content.decode()


def working(by: Worker, **fields: float) -> Run:
    """A run that a worker executes."""
    return stored.held(stored.run("running"), by, **fields)


def test_a_run_s_page_shows_where_it_was_when_somebody_asked(kelp: Worker, viewer: Client) -> None:
    run = working(kelp)
    text = page(viewer, f"/runs/{run.id}/")
    assert "Where is it now?" in text
    assert 'class="frames"' not in text
    stored.stack(
        run, stored.frame("sums"), stored.frame("read", "await <socket>.read()"), stored.frame("recv", own=False)
    )
    text = page(viewer, f"/runs/{run.id}/")
    assert "shop/<wbr>read.py:12 <b>read</b>" in text
    assert "await &lt;socket&gt;.read()" in text
    assert re.search(r'<li aria-current="true"><span class="where" title="/srv/shop/read.py">', text)
    assert '<li class="foreign">' in text
    assert '<span class="mono">fetch#1</span>' in text


def test_what_was_said_of_an_earlier_lease_is_not_shown(kelp: Worker, viewer: Client) -> None:
    run = working(kelp)
    stored.stack(run, stored.frame("sums"))
    Run.objects.filter(pk=run.pk).update(lease_token=2)
    assert 'class="frames"' not in page(viewer, f"/runs/{run.id}/")


def test_a_run_that_nobody_executes_is_not_looked_for(viewer: Client) -> None:
    run = stored.run("completed")
    assert re.search(r'id="run-stack"[^>]* hidden>', page(viewer, f"/runs/{run.id}/"))
    assert viewer.get(f"/runs/{run.id}/stack/").status_code == 405
    answer = viewer.post(f"/runs/{run.id}/stack/", headers={"HX-Request": "true"})
    assert "is completed: no worker executes it" in answer.content.decode()
    answer = viewer.post(f"/runs/{run.id}/stack/", follow=True)
    assert "is completed: no worker executes it" in answer.content.decode()
    assert viewer.post(f"/runs/{uuid.uuid4()}/stack/").status_code == 404


def test_the_page_of_a_worker_lists_what_it_has_in_its_hands(kelp: Worker, viewer: Client) -> None:
    old, new = working(kelp, since=600, token=1), working(kelp, token=2)
    working(stored.worker("wrack"), token=3)
    stored.stack(old, stored.frame("read", "sock.recv()"))
    stored.stack(new)
    text = page(viewer, f"/workers/{kelp.pk}/")
    assert text.index(str(old.id)) < text.index(str(new.id)), "the longest first"
    assert "2 runs" in text
    assert "shop/<wbr>read.py:12 read" in text
    assert "none of its code was at work" in text
    assert f'href="/workers/{kelp.pk}/"' in page(viewer, "/queues/")


def test_the_page_of_a_worker_takes_as_many_queries_for_many_runs_as_for_few(kelp: Worker, viewer: Client) -> None:
    for token in (1, 2):
        stored.stack(working(kelp, token=token), stored.frame("read"))
    for more in (0, 20):
        for token in range(10, 10 + more):
            stored.stack(working(kelp, token=token), stored.frame("read"))
        with statements(WHO_AND_MENU + 5):
            page(viewer, f"/workers/{kelp.pk}/")


def test_a_worker_that_is_gone_or_never_was_is_said_so(kelp: Worker, viewer: Client) -> None:
    Worker.objects.update(stopped_at=kelp.started_at)
    text = page(viewer, f"/workers/{kelp.pk}/")
    assert "</svg>gone</span>" in text
    assert "It has nothing in its hands." in text
    for number in ("999", "99999999999999999999"):
        page(viewer, f"/workers/{number}/", status=404)


# ── those that do not get on ─────────────────────────────────────────────────────────────────────────────────────────


def stuck(by: Worker, *, minutes: float = 12, token: int = 1, **fields: Any) -> Run:
    """A run of which nothing has come for so long."""
    run = stored.held(stored.run("running", age=minutes * 60), by, since=minutes * 60, token=token)
    since = timezone.now() - timedelta(minutes=minutes)
    values = {"why": "nothing_new", "step": "fetch", "usual": 4.0, "found_at": timezone.now(), **fields}
    Stuck.objects.create(run=run, token=token, since=since, **values)
    return run


def test_a_run_s_page_says_for_how_long_nothing_came_and_what_is_usual(kelp: Worker, viewer: Client) -> None:
    run = stuck(kelp)
    text = page(viewer, f"/runs/{run.id}/")
    assert re.search(r"Nothing new for 12 m \d\d s; step fetch usually takes 4.0 s at most \(p99\)", text)
    assert 'data-status="bad"' in text
    found = why(run.id)
    assert found is not None
    assert (found.gate, found.stuck) == ("stuck", True)


def test_of_the_task_s_attempts_it_says_so(kelp: Worker, viewer: Client) -> None:
    text = page(viewer, f"/runs/{stuck(kelp, step='', usual=75.0).id}/")
    assert "an attempt usually takes 1 m 15 s at most (p99)" in text


def test_a_worker_s_silence_is_seen_at_once_though_no_scheduler_looks(kelp: Worker, viewer: Client) -> None:
    run = working(kelp)
    assert why(run.id) is None
    Worker.objects.update(heartbeat_at=timezone.now() - timedelta(seconds=42))
    found = why(run.id)
    assert found is not None
    assert found.gate == "lost_heartbeat"
    assert found.words.startswith("lost heartbeat: kelp has said nothing for 4")
    assert "lost heartbeat: kelp" in page(viewer, "/runs/")


def test_the_list_says_why_and_finds_them_by_is_stuck(kelp: Worker, viewer: Client) -> None:
    old, new, moved = stuck(kelp, minutes=30), stuck(kelp, token=2), stuck(kelp, token=3)
    well = working(kelp, token=4)
    Run.objects.filter(pk=moved.pk).update(lease_token=9)
    assert "nothing new for 30 m" in page(viewer, "/runs/")

    def found(text: str) -> list[uuid.UUID]:
        return [run.pk for run in selectors.runs_page(RunFilter.parse({"q": text})).items]

    assert found("is:stuck") == [new.pk, old.pk], "the newest first, and not what has moved on"
    assert found("is:stuck age:>20m") == [old.pk]
    assert found("is:stuck task:nobody") == []
    assert set(found("-is:stuck")) == {moved.pk, well.pk}
    assert selectors.runs_count(RunFilter.parse({"q": "is:stuck"})) == 2
    page(viewer, "/runs/?q=is:stuck")
    with pytest.raises(InvalidFilter, match="does not fit is; did you mean stuck"):
        RunFilter.parse({"q": "is:stuk"})
    with pytest.raises(InvalidFilter, match="cannot be compared by >"):
        RunFilter.parse({"q": "is:>stuck"})
    assert [choice.text for choice in suggest("is:", 3).choices] == ["stuck", "ready"]


def test_now_counts_them_and_shows_the_longest_with_where_they_stand(kelp: Worker, viewer: Client) -> None:
    assert "What is stuck" not in page(viewer, "/")
    for number in range(1, 9):
        run = stuck(kelp, minutes=10 + number, token=number)
        stored.stack(run, stored.frame("read"))
    lost = stuck(kelp, minutes=90, token=20, why="lost_heartbeat", step="", usual=None)
    text = page(viewer, "/")
    assert '<span class="label">Stuck</span><span class="value">9</span>' in text
    assert "all 9" in text
    assert str(lost.id) in text, "the longest"
    assert text.count("shop/<wbr>read.py:12 read") == MAX_LONGEST - 1
    assert re.search(r"Nothing new for 18 m \d\d s; step fetch usually takes 4.0 s at most \(p99\)", text)


def test_many_that_are_stuck_ask_no_more_than_few(kelp: Worker, viewer: Client) -> None:
    stuck(kelp)
    for more in (0, 20):
        for token in range(10, 10 + more):
            stored.stack(stuck(kelp, token=token), stored.frame("read"))
        with statements(WHO_AND_MENU + 14):
            page(viewer, "/")
        with statements(WHO_AND_MENU + 6):
            page(viewer, "/runs/")


# ── queues ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_queue_whose_first_run_waits_for_long_beside_a_worker_with_room_is_stuck(viewer: Client) -> None:
    stored.run("queued", age=200)
    stored.worker()
    said = "Stalled: 1 run is ready in default and nothing holds them, but the first has waited for 3 m"
    assert said in page(viewer, "/")
    assert "</svg>stuck</span>" in page(viewer, "/queues/")


@pytest.mark.parametrize("held_by", ["a worker without room", "its limit", "a pause", "a short wait"])
def test_a_queue_that_something_holds_is_not(viewer: Client, held_by: str) -> None:
    stored.run("queued", age=10 if held_by == "a short wait" else 200)
    by = stored.worker(running=4 if held_by == "a worker without room" else 0)
    if held_by == "its limit":
        Queue.objects.update(concurrency_limit=1)
        working(by)
    if held_by == "a pause":
        Queue.objects.update(paused_at=timezone.now())
    assert "Stalled" not in page(viewer, "/")
    assert "</svg>stuck</span>" not in page(viewer, "/queues/")

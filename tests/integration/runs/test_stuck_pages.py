"""Where runs are, on their pages and on those of workers; and those that do not get on."""

from __future__ import annotations

import re
import uuid

import pytest
from django.test import Client

from queues.models import Worker
from runs.models import Run
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
    assert "shop/read.py:12 <b>read</b>" in text
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
    assert "shop/read.py:12 read" in text
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

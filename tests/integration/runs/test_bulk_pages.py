"""Bulk jobs on their pages: the rows to select, the question with its count, how far a job is, and its abort."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from holdfast.access.grants import Actor
from holdfast.access.models import AuditEntry
from runs.bulk import services
from runs.bulk.model import BulkItem, BulkJob
from runs.models import Run
from tests.integration.runs.test_endpoint_pages import text_of
from tests.support import stored
from tests.support.people import signed_in

pytestmark = pytest.mark.usefixtures("registered")
ACTOR = Actor.local()
FRAGMENT = {"HX-Request": "true"}


def failed(count: int, name: str = "echo") -> list[uuid.UUID]:
    return [stored.run("failed", name, age=600 - n, error=stored.error()).id for n in range(count)]


def job_of(count: int, **fields: Any) -> BulkJob:
    """A job of so many runs, with the outcomes that are given: `done=3`."""
    job = services.bulk_create(action="retry", ids=failed(count), actor=ACTOR, reason="the supplier is back")
    BulkJob.objects.filter(pk=job.pk).update(**fields)
    return BulkJob.objects.get(pk=job.pk)


def settled(job: BulkJob, position: int, outcome: str, why: str = "") -> None:
    BulkItem.objects.filter(job=job, position=position).update(outcome=outcome, why=why)


# ── the list of runs ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("role", "shown"), [("viewer", ()), ("operator", ("retry", "cancel")), ("developer", ("retry", "cancel", "replay"))]
)
def test_rows_can_be_selected_by_who_may_do_something_to_them(role: str, shown: tuple[str, ...]) -> None:
    [run] = failed(1)
    page = text_of(signed_in(role), "/runs/")
    assert (f'value="{run}" form="bulk"' in page) is bool(shown)
    for action in ("retry", "cancel", "replay"):
        assert (f'name="action" value="{action}"' in page) is (action in shown)


def test_a_button_takes_all_that_fit_and_says_how_many() -> None:
    failed(3)
    stored.run("completed", "echo")
    client = signed_in("operator")
    assert "Take all 4 runs that fit" in text_of(client, "/bulk/matching/?q=task:echo")
    assert "Take all 1 run that fit" in text_of(client, "/bulk/matching/?q=status:completed")
    assert client.get("/bulk/matching/?q=colour:red").status_code == 204


# ── the question ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_question_states_scope_and_count_and_the_answer_begins_exactly_that() -> None:
    ids = failed(3)
    stored.run("completed", "echo")
    client = signed_in("operator")
    page = text_of(client, "/bulk/new/?action=retry&q=task:echo")
    assert "Retry 3 runs?" in page
    assert "task:echo status:failed,<wbr>cancelled,<wbr>expired" in page
    assert f'name="newest" value="{ids[-1]}"' in page
    assert "manage.py bulk retry --search" in page
    later = stored.run("failed", "echo", age=1, error=stored.error()).id
    sent = {"action": "retry", "q": "task:echo status:failed", "newest": str(ids[-1]), "reason": "the supplier is back"}
    response = client.post("/bulk/", sent)
    job = BulkJob.objects.get()
    assert response["Location"] == f"/bulk/{job.id}/"
    assert list(BulkItem.objects.filter(job=job).order_by("position").values_list("run_id", flat=True)) == ids
    assert later not in ids
    assert (job.pace, job.reason, job.actor["label"]) == ("all", "the supplier is back", "operator-person")
    assert AuditEntry.objects.get(action="bulk.retry").reason == "the supplier is back"


def test_a_selection_says_how_many_of_it_will_be_skipped() -> None:
    ids = [*failed(2), stored.run("completed", "echo").id]
    client = signed_in("operator")
    asked = "&".join(f"id={run_id}" for run_id in ids)
    page = client.get(f"/bulk/new/?action=retry&{asked}", headers=FRAGMENT).content.decode()
    assert "<!doctype" not in page
    assert "Retry 3 runs?" in page
    assert "1 of them cannot be retried now" in page
    client.post("/bulk/", {"action": "retry", "ids": ",".join(map(str, ids)), "pace": "canary"})
    job = BulkJob.objects.get()
    assert (job.total, job.pace, job.search) == (3, "canary", "")


def test_all_that_fit_are_meant_though_rows_are_selected_when_it_is_said() -> None:
    ids = failed(5)
    page = text_of(signed_in("operator"), f"/bulk/new/?action=retry&all=1&q=task:echo&id={ids[0]}")
    assert "Retry 5 runs?" in page


def test_a_search_that_nothing_fits_has_nothing_to_confirm() -> None:
    page = text_of(signed_in("operator"), "/bulk/new/?action=cancel&q=task:echo")
    assert "No run fits" in page
    assert 'name="reason"' not in page


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("action=erase", "write one of retry, cancel, replay"),
        ("", "write one of retry, cancel, replay"),
        ("action=%00", "write one of retry, cancel, replay"),
        ("action=retry&id=nope", "write the UUID of a run"),
        ("action=retry&id=%00", "write the UUID of a run"),
        ("action=retry&q=colour:red", "is no term"),
        ("action=retry&q=tag:%00", "control character"),
        ("action=retry&q=" + "x" * 5_000, "4,000"),
    ],
)
def test_a_question_that_cannot_be_asked_says_what_is_wrong(query: str, words: str) -> None:
    response = signed_in("operator").get(f"/bulk/new/?{query}")
    assert response.status_code == 422
    assert words in response.content.decode()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"action": "erase"}, "write one of retry"),
        ({"pace": "fast"}, "write one of all, canary"),
        ({"reason": "x" * 501}, "at most 500 characters"),
        ({"reason": "bell \x07"}, "control character"),
        ({"newest": "kelp"}, "valid UUID"),
        ({"q": "colour:red"}, "is no term"),
        ({"q": "task:nothing"}, "No run fits"),
        ({"ids": "nope"}, "write the UUID of a run"),
    ],
)
def test_what_is_wrong_with_an_answer_is_said_and_nothing_is_begun(change: dict[str, str], words: str) -> None:
    failed(1)
    response = signed_in("operator").post("/bulk/", {"action": "retry", "q": "", **change})
    assert response.status_code == 422
    assert words in response.content.decode().replace("&#x27;", "'")
    assert not BulkJob.objects.exists()
    assert not Run.objects.filter(task_id="holdfast.bulk").exists()


def test_who_may_not_do_it_is_told_so() -> None:
    failed(1)
    viewer, operator = signed_in("viewer"), signed_in("operator")
    assert viewer.get("/bulk/new/?action=retry").status_code == 403
    assert viewer.post("/bulk/", {"action": "retry", "q": ""}).status_code == 403
    assert operator.get("/bulk/new/?action=replay").status_code == 403
    assert operator.post("/bulk/", {"action": "replay", "q": ""}).status_code == 403
    assert not BulkJob.objects.exists()
    assert viewer.get("/bulk/").status_code == 200


# ── jobs ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_empty_list_teaches_and_a_full_one_tells_how_far_each_job_is() -> None:
    client = signed_in("viewer")
    assert "manage.py bulk retry --search" in text_of(client, "/bulk/")
    job = job_of(4, done=2, skipped=1)
    page = text_of(client, "/bulk/")
    for words in ("Retry of 4 runs", "a selection", "3 of 4, 1 skipped", "the supplier is back", 'value="75"'):
        assert words in page
    assert f'href="/bulk/{job.id}/"' in page


def test_the_page_of_a_job_tells_what_became_of_its_runs_and_why() -> None:
    job = job_of(5, done=2, skipped=2, failed=1)
    for position, (outcome, why) in enumerate(
        [("done", ""), ("done", ""), *[("skipped", "is completed, cannot be retried")] * 2, ("failed", "<b>bang</b>")]
    ):
        settled(job, position, outcome, why)
    client = signed_in("viewer")
    page = text_of(client, f"/bulk/{job.id}/")
    for words in ("5 of 5 runs", "is completed, cannot be retried", "&lt;b&gt;bang&lt;/b&gt;", "the supplier is back"):
        assert words in page
    assert "Abort" not in page, "a viewer aborts nothing"
    assert page.count('<th scope="row"') == 5
    skipped = text_of(client, f"/bulk/{job.id}/?outcome=skipped")
    assert skipped.count('<th scope="row"') == 2
    assert text_of(client, f"/bulk/{job.id}/?outcome=none").count('<th scope="row"') == 0
    for odd in ("outcome=%00", "after=-1", "after=99999999999999999999", "after=x"):
        assert text_of(client, f"/bulk/{job.id}/?{odd}").count('<th scope="row"') == 5
    assert client.get(f"/bulk/{uuid.uuid4()}/").status_code == 404
    fragment = client.get(f"/bulk/{job.id}/", headers=FRAGMENT).content.decode()
    assert "<!doctype" not in fragment
    assert 'id="bulk-status" hx-swap-oob="true"' in fragment


def test_runs_of_a_job_go_on_page_by_page() -> None:
    client, many = signed_in("viewer"), job_of(60)
    page = text_of(client, f"/bulk/{many.id}/")
    assert page.count('<th scope="row"') == 50
    assert "after=49" in page
    rest = text_of(client, f"/bulk/{many.id}/?after=49")
    assert rest.count('<th scope="row"') == 10
    assert "First" in rest


def test_a_job_is_aborted_on_its_page_with_a_reason_and_then_says_what_was_done() -> None:
    job = job_of(4, done=1)
    client = signed_in("operator")
    assert "Stop before the next batch?" in text_of(client, f"/bulk/{job.id}/")
    assert client.get(f"/bulk/{job.id}/abort/").status_code == 405
    response = client.post(f"/bulk/{job.id}/abort/", {"reason": "wrong ones"}, follow=True)
    page = response.content.decode()
    assert "The job is aborted" in page
    assert "1 of 4 runs were retried; 3 were left as they were" in page
    assert "Stop before the next batch?" not in page
    assert AuditEntry.objects.get(action="bulk.abort").reason == "wrong ones"
    again = client.post(f"/bulk/{job.id}/abort/", {}, follow=True).content.decode()
    assert "only one that is not over can be aborted" in again
    gone = client.post(f"/bulk/{uuid.uuid4()}/abort/", {})
    assert gone.status_code == 404


def test_a_canary_that_stopped_says_so_first() -> None:
    job = job_of(14, done=1, stopped="Run 7 failed again with the same error, so the rest was left as it is.")
    Run.objects.filter(pk=job.id).update(status="completed", finished_at=job.created_at)
    client = signed_in("viewer")
    page = text_of(client, f"/bulk/{job.id}/")
    assert "The canary stopped it." in page
    assert "13 of 14 runs were not touched" in page
    assert "stopped early" in text_of(client, "/bulk/")


def test_jobs_are_among_the_changes() -> None:
    job = job_of(2)
    services.bulk_abort(job.id, actor=ACTOR)
    page = text_of(signed_in("viewer"), "/changes/?kind=runs")
    assert f'retried in bulk</span> <a href="/bulk/{job.id}/"' in page
    assert f'aborted bulk</span> <a href="/bulk/{job.id}/"' in page

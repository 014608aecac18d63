import re
from html import unescape
from urllib.parse import quote

import pytest
from django.test import Client

from holdfast.access.models import AuditEntry
from queues.models import Queue
from queues.views import ROWS
from runs.models import Run, Task
from tests.support import stored
from tests.support.people import signed_in

pytestmark = pytest.mark.django_db
HTMX = {"HX-Request": "true"}


@pytest.fixture
def llm() -> Queue:
    return Queue.objects.create(name="llm", concurrency_limit=4, declared={"concurrency_limit": 4})


def limit_of(name: str) -> int | None:
    return Queue.objects.get(name=name).concurrency_limit


def test_the_page_has_all_queues_and_how_much_of_their_limits_is_used(llm: Queue) -> None:
    Queue.objects.bulk_create(Queue(name=f"q{number}") for number in range(20))
    page = signed_in("viewer").get("/queues/").content.decode()
    assert page.count('class="queue"') == 21
    assert "no limit" in page
    assert "of 4" in page


def test_a_search_narrows_the_list_and_htmx_gets_the_tables_alone(llm: Queue) -> None:
    Queue.objects.create(name="mail")
    response = signed_in("viewer").get("/queues/?search=ma", headers=HTMX)
    assert response.content.decode().count('class="queue"') == 1
    assert "<html" not in response.content.decode()


def test_of_very_many_queues_each_is_found_from_its_task_and_pages_keep_the_search() -> None:
    Queue.objects.bulk_create(Queue(name=f"many-{number:03}") for number in range(120))
    client = signed_in("admin")
    first = client.get("/queues/?search=many").content.decode()
    assert first.count('class="queue"') == ROWS
    following = re.search(r'href="(\?[^"]*after=[^"]*)"', first)
    assert following is not None
    second = client.get(f"/queues/{unescape(following[1])}").content.decode()
    assert second.count('class="queue"') == ROWS
    assert "many-000" in first
    assert "many-000" not in second
    Task.objects.filter(pk=stored.task("sums").pk).update(queue=Queue.objects.get(name="many-119"))
    link = re.search(r'<dd><a href="(/queues/[^"]*)#many-119"', client.get("/tasks/sums/").content.decode())
    assert link is not None
    assert 'id="many-119"' in client.get(unescape(link[1])).content.decode()
    assert "No queue has that in its name" in client.get("/queues/?search=nowhere").content.decode()


def test_an_edit_answers_with_the_row_and_leaves_an_audit_entry(llm: Queue) -> None:
    response = signed_in("admin").post("/queues/llm/limit/", {"concurrency_limit": "9"}, headers=HTMX)
    assert response.status_code == 200
    assert "of 9" in response.content.decode()
    assert limit_of("llm") == 9
    entry = AuditEntry.objects.get(action="queues.update")
    assert (entry.before or {})["concurrency_limit"] == 4
    assert (entry.after or {})["concurrency_limit"] == 9


def test_a_rate_is_edited_beside_the_limit_and_taken_back(llm: Queue) -> None:
    client = signed_in("admin")
    page = client.post(
        "/queues/llm/limit/", {"concurrency_limit": "4", "key_concurrency_limit": "2", "rate": "10/min"}, headers=HTMX
    )
    assert "of 4, 2 a key, 10 per minute" in page.content.decode()
    llm.refresh_from_db()
    assert (llm.key_concurrency_limit, "key_concurrency_limit" in llm.edited) == (2, True)
    assert ("concurrency_limit" in llm.edited, "rate" in llm.edited) == (False, True), (
        "what was left as it was is no edit"
    )
    wrong = client.post("/queues/llm/limit/", {"concurrency_limit": "4", "rate": "ten"}, headers=HTMX)
    assert wrong.status_code == 422
    assert "Write a rate such as 10 per minute" in wrong.content.decode()
    client.post("/queues/llm/limit/", {"reset": "1"}, headers=HTMX)
    llm.refresh_from_db()
    assert (llm.rate, "rate" in llm.edited) == (None, False)
    assert (llm.key_concurrency_limit, "key_concurrency_limit" in llm.edited) == (None, False)


def test_weights_of_keys_are_edited_in_lines_and_taken_back(llm: Queue) -> None:
    client = signed_in("admin")
    page = client.post(
        "/queues/llm/limit/", {"concurrency_limit": "4", "key_weights": "gold = 3\na=b = 2"}, headers=HTMX
    )
    assert "a=b = 2\ngold = 3</textarea>" in page.content.decode()
    llm.refresh_from_db()
    assert (llm.key_weights, "key_weights" in llm.edited) == ({"gold": 3, "a=b": 2}, True)
    wrong = client.post("/queues/llm/limit/", {"concurrency_limit": "4", "key_weights": "gold = many"}, headers=HTMX)
    assert wrong.status_code == 422
    assert "a weight is a whole number from 1 to 100" in wrong.content.decode()
    client.post("/queues/llm/limit/", {"reset": "1"}, headers=HTMX)
    llm.refresh_from_db()
    assert (llm.key_weights, "key_weights" in llm.edited) == ({}, False)


@pytest.mark.parametrize("wrong", ["many", "0", "-3", "1000001", "1.5", "٣٣x", "9" * 400])
def test_a_wrong_limit_is_refused_at_its_field(llm: Queue, wrong: str) -> None:
    response = signed_in("admin").post("/queues/llm/limit/", {"concurrency_limit": wrong}, headers=HTMX)
    page = response.content.decode()
    assert response.status_code == 422
    assert "Write a whole number from 1 to 1,000,000" in page
    assert '<details class="confirm start edit" open>' in page
    assert limit_of("llm") == 4


def test_what_waits_leads_to_all_that_wait_also_to_what_is_tried_again(llm: Queue) -> None:
    stored.task("ask", "llm")
    stored.run("queued", "ask")
    Run.objects.update(status="retrying")
    client = signed_in("viewer")
    link = re.search(r'data-label="Waiting"><a href="([^"]+)">1</a>', client.get("/queues/").content.decode())
    assert link
    assert f"/runs/{Run.objects.get().pk}/" in client.get(unescape(link[1])).content.decode()


def test_a_rate_without_a_period_is_refused_at_its_field(llm: Queue) -> None:
    response = signed_in("admin").post("/queues/llm/limit/", {"rate": "10"}, headers=HTMX)
    assert response.status_code == 422
    assert "this has no period, such as 10 per minute; a period is second, minute" in response.content.decode()


def test_an_empty_limit_means_none_and_the_edit_can_be_taken_back(llm: Queue) -> None:
    client = signed_in("admin")
    client.post("/queues/llm/limit/", {"concurrency_limit": ""}, headers=HTMX)
    assert limit_of("llm") is None
    page = client.post("/queues/llm/limit/", {"reset": "1"}, headers=HTMX).content.decode()
    assert "of 4" in page
    assert limit_of("llm") == 4


def test_pausing_says_who_and_why_and_resuming_clears_it(llm: Queue) -> None:
    client = signed_in("operator", "olga")
    page = client.post("/queues/llm/pause/", {"reason": "provider is down"}, headers=HTMX).content.decode()
    assert "paused" in page
    assert "provider is down, olga" in page
    page = client.post("/queues/llm/resume/", headers=HTMX).content.decode()
    assert "provider is down" not in page
    assert list(AuditEntry.objects.order_by("id").values_list("action", flat=True)) == ["queues.pause", "queues.resume"]


def test_a_reason_that_is_too_long_is_refused_at_its_field(llm: Queue) -> None:
    response = signed_in("operator").post("/queues/llm/pause/", {"reason": "x" * 501}, headers=HTMX)
    assert response.status_code == 422
    assert "at most 500 characters" in response.content.decode()
    assert not Queue.objects.get(name="llm").paused


def test_a_reason_that_the_service_refuses_is_shown_too(llm: Queue) -> None:
    response = signed_in("operator").post("/queues/llm/pause/", {"reason": "bell \x07"}, headers=HTMX)
    assert response.status_code == 422
    assert "control character" in response.content.decode()


def test_without_scripts_a_change_leads_back_and_a_refusal_shows_the_form(llm: Queue) -> None:
    client = signed_in("admin")
    assert client.post("/queues/llm/limit/", {"concurrency_limit": "5"}).status_code == 302
    refused = client.post("/queues/llm/limit/", {"concurrency_limit": "none"})
    assert refused.status_code == 422
    assert "<html" in refused.content.decode()


@pytest.mark.parametrize(
    ("role", "action", "status"),
    [("viewer", "pause", 403), ("operator", "limit", 403), ("developer", "limit", 403), (None, "pause", 403)],
)
def test_who_may_not_is_refused_and_sees_no_button(llm: Queue, role: str | None, action: str, status: int) -> None:
    client = signed_in(role)
    assert client.post(f"/queues/llm/{action}/", {"concurrency_limit": "9"}).status_code == status
    assert limit_of("llm") == 4
    assert f"/llm/{action}/" not in client.get("/queues/").content.decode()


def test_strangers_are_sent_to_sign_in_and_a_get_changes_nothing(llm: Queue) -> None:
    assert Client().get("/queues/")["Location"].startswith("/sign-in/")
    assert signed_in("admin").get("/queues/llm/pause/").status_code == 405


@pytest.mark.parametrize(
    "path", ["/queues/nope/limit/", "/queues/nope/pause/", "/queues/nope/resume/", "/queues/a%00b/pause/"]
)
def test_an_unknown_queue_is_not_found(llm: Queue, path: str) -> None:
    assert signed_in("admin").post(path, {"concurrency_limit": "1"}, headers=HTMX).status_code == 404


# ── two people at one queue ──────────────────────────────────────────────────────────────────────────────────────────


def field(page: str, form: str, name: str) -> str:
    """A hidden field of one of a row's forms."""
    found = re.search(rf'action="/queues/llm/{form}/".*?name="{name}" value="([^"]*)"', page, re.DOTALL)
    assert found is not None, page
    return found[1]


def test_a_pause_from_a_page_on_which_it_was_not_paused_yet_says_who_was_first(llm: Queue) -> None:
    ann, bob = signed_in("operator", "ann"), signed_in("admin", "bob")
    stale = bob.get("/queues/").content.decode()
    ann.post("/queues/llm/pause/", {"reason": "provider is down"}, headers=HTMX)
    late = {"reason": "mine", "minutes": "5", "seen": field(stale, "pause", "seen")}
    refused = bob.post("/queues/llm/pause/", late, headers=HTMX)
    page = unescape(refused.content.decode())
    assert refused.status_code == 422
    assert re.search(r"ann paused it at \S+ \S+ UTC \(provider is down\), after queue llm was shown to you", page)
    assert "Undo the change" not in page, "nothing of his was changed"
    llm.refresh_from_db()
    assert (llm.paused_by, llm.pause_reason, llm.paused_until) == ("ann", "provider is down", None)
    whole = bob.post("/queues/llm/pause/", late).content.decode()
    assert "ann paused it at" in whole
    assert "<html" in whole, "without scripts it is the whole page"


def test_a_queue_is_not_resumed_on_what_was_seen_of_another_pause(llm: Queue) -> None:
    ann, bob = signed_in("operator", "ann"), signed_in("admin", "bob")
    ann.post("/queues/llm/pause/", {"reason": "a deploy"}, headers=HTMX)
    stale = bob.get("/queues/").content.decode()
    ann.post("/queues/llm/resume/", headers=HTMX)
    seen = {"seen": field(stale, "resume", "seen")}
    over = bob.post("/queues/llm/resume/", seen, headers=HTMX).content.decode()
    assert "ann resumed it at" in over
    ann.post("/queues/llm/pause/", {"reason": "another one"}, headers=HTMX)
    refused = bob.post("/queues/llm/resume/", seen, headers=HTMX)
    assert refused.status_code == 422
    assert "(another one)" in refused.content.decode()
    llm.refresh_from_db()
    assert llm.pause_reason == "another one"
    fresh = refused.content.decode()
    assert bob.post("/queues/llm/resume/", {"seen": field(fresh, "resume", "seen")}, headers=HTMX).status_code == 200
    llm.refresh_from_db()
    assert not llm.paused


def test_limits_that_somebody_else_has_edited_meanwhile_are_not_overwritten(llm: Queue) -> None:
    ann, bob = signed_in("admin", "ann"), signed_in("admin", "bob")
    stale = bob.get("/queues/").content.decode()
    ann.post("/queues/llm/limit/", {"concurrency_limit": "12", "rate": "5/s"}, headers=HTMX)
    late = {"concurrency_limit": "9", "rate": "", "seen": field(stale, "limit", "seen")}
    refused = bob.post("/queues/llm/limit/", late, headers=HTMX)
    page = unescape(refused.content.decode())
    assert refused.status_code == 422
    assert "ann changed it at" in page
    assert "concurrency_limit from 4 to 12" in page
    assert limit_of("llm") == 12
    ann.post("/queues/llm/pause/", {"reason": "no limit of anything"}, headers=HTMX)
    again = bob.post("/queues/llm/limit/", {**late, "seen": field(page, "limit", "seen")}, headers=HTMX)
    assert again.status_code == 200, "a pause is no edit of limits, and what is so now was seen"
    assert limit_of("llm") == 9
    reset = bob.post("/queues/llm/limit/", {"reset": "1", "seen": late["seen"]}, headers=HTMX)
    assert "bob changed it at" in reset.content.decode()
    assert limit_of("llm") == 9


def test_undo_takes_back_the_change_that_it_stood_beside_and_no_other(llm: Queue) -> None:
    ann, bob = signed_in("admin", "ann"), signed_in("operator", "bob")
    changed = ann.post("/queues/llm/limit/", {"concurrency_limit": "9"}, headers=HTMX).content.decode()
    undo = {"change": field(changed, "undo", "change")}
    bob.post("/queues/llm/pause/", {"reason": "an incident"}, headers=HTMX)
    refused = ann.post("/queues/llm/undo/", undo, headers=HTMX)
    assert refused.status_code == 422
    assert "bob paused it at" in refused.content.decode()
    llm.refresh_from_db()
    assert (llm.paused, llm.concurrency_limit) == (True, 9)
    same = ann.post("/queues/llm/limit/", {"concurrency_limit": "9"}, headers=HTMX).content.decode()
    assert "Undo the change" not in same, "what was so already is no change"
    for odd in ("x", "9" * 40, "\x00", "-1"):
        assert ann.post("/queues/llm/undo/", {"change": odd}, headers=HTMX).status_code < 500
        assert ann.post("/queues/llm/resume/", {"seen": odd}, headers=HTMX).status_code < 500
        assert ann.post(f"/queues/{quote(odd)}/undo/", headers=HTMX).status_code == 404

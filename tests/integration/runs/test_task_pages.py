import html
import re
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from django.test import Client

from runs import registration, selectors
from runs.filters import RunFilter
from runs.models import Run, Task
from tests.support import stored
from tests.support.people import signed_in

pytestmark = pytest.mark.django_db
GOOD = {"payload/topic": "tides", "payload/depth": "2"}


@pytest.fixture(autouse=True)
def tasks() -> None:
    registration.discover()
    registration.register_all()


def start(client: Client, task: str = "research-agent", **posted: str) -> Any:
    return client.post(f"/tasks/{task}/", posted)


def errors_beside(page: str, name: str) -> str:
    """The errors that the control of this name is described by."""
    found = re.search(rf'<ul class="errorlist" id="{name}-errors">(.*?)</ul>', page, re.DOTALL)
    return found[1] if found else ""


def test_the_list_shows_every_task() -> None:
    client, registered = signed_in("viewer"), Task.objects.count()
    page = client.get("/tasks/").content.decode()
    assert page.count("/#try") == min(registered, selectors.DEFAULT_LIMIT)
    found = client.get("/tasks/", {"q": "RESEARCH-a"}).content.decode()
    assert re.findall(r"/tasks/([^/]+)/#try", found) == ["research-agent"]
    assert "No task has “&lt;b&gt;” in its id" in client.get("/tasks/", {"q": "<b>"}).content.decode()


def test_the_number_of_failures_leads_to_the_runs_that_it_counts() -> None:
    """All that count as failed, in the last day: not those of status failed of all time."""
    for age, status in ((600, "failed"), (700, "timed_out"), (800, "completed"), (3 * 86_400, "failed")):
        stored.run(status, "count-words", age=age)
    for count, status in ((1, "failed"), (1, "timed_out"), (2, "completed")):
        stored.ended(count, status, "count-words", minutes_ago=10)
    client = signed_in("viewer")
    page = client.get("/tasks/", {"q": "count-words"}).content.decode()
    link = re.search(r'<a href="(/runs/[^"]+)">2</a> <span class="muted">\(50\.0 %\)', page)
    assert link
    query = dict(parse_qsl(urlsplit(html.unescape(link[1])).query))
    listed = selectors.runs_page(RunFilter.parse(query)).items
    assert sorted(run.status for run in listed) == ["failed", "timed_out"]


def test_more_tasks_than_a_page_holds_keep_what_was_searched_for() -> None:
    one = Task.objects.filter(id="research-agent").values().get()
    Task.objects.bulk_create(Task(**one | {"id": f"many-{n:03}"}) for n in range(120))
    client = signed_in("viewer")
    path, seen = "/tasks/?q=many-", []
    while path:
        page = client.get(path).content.decode()
        seen += re.findall(r"/tasks/(many-\d+)/#try", page)
        more = re.search(r'href="(\?q=many-&amp;after=[^"]+)">More', page)
        path = f"/tasks/{html.unescape(more[1])}" if more else ""
    assert seen == [f"many-{n:03}" for n in range(120)]


def test_the_form_has_a_control_for_each_parameter_with_its_default() -> None:
    page = signed_in("developer").get("/tasks/research-agent/").content.decode()
    assert 'name="payload/topic"' in page
    assert re.search(r'name="payload/depth"[^>]*value="3"', page)
    assert page.index('name="payload/topic"') < page.index('name="payload/depth"')


def test_a_good_form_starts_a_run_and_leads_to_it() -> None:
    response = start(signed_in("developer"), **GOOD, **{"options-priority": "7", "options-tags": "a, b"})
    run = Run.objects.get()
    assert (response.status_code, response["Location"]) == (302, f"/runs/{run.id}/")
    assert (run.payload, run.priority, run.tags, run.status) == (
        {"topic": "tides", "depth": 2},
        7,
        ["a", "b"],
        "queued",
    )


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("payload/depth", "many", "valid integer"),
        ("payload/depth", "9", "less than or equal to 8"),
        ("payload/topic", "", "Field required"),
        ("payload/topic", "x" * 201, "at most 200 characters"),
    ],
)
def test_what_does_not_fit_is_refused_at_its_field_and_kept_as_typed(field: str, value: str, said: str) -> None:
    response = start(signed_in("developer"), **(GOOD | {field: value}))
    page = response.content.decode()
    assert response.status_code == 422
    assert said in errors_beside(page, field.replace("/", "-"))
    assert "Nothing was started." in page
    assert f'value="{value}"' in page
    assert not Run.objects.exists()


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("priority", "high", "whole number"),
        ("priority", "101", "less than or equal to 100"),
        ("delay", "-1", "greater than or equal to 0"),
        ("queue_name", "no-such-queue", "names no queue"),
        ("tags", ",".join("abcdefghijklmnopqrstuvw"), "at most 20"),
        ("max_attempts", "0", "greater than or equal to 1"),
    ],
)
def test_an_option_that_does_not_fit_is_refused_at_its_field(option: str, value: str, said: str) -> None:
    response = start(signed_in("developer"), **GOOD, **{f"options-{option}": value})
    page = response.content.decode()
    assert response.status_code == 422
    assert said in page
    assert '<details class="options" open>' in page
    assert not Run.objects.exists()


def test_an_idempotency_key_leads_to_the_run_that_has_it() -> None:
    client = signed_in("developer")
    first = start(client, **GOOD, **{"options-idempotency_key": "k"})
    assert start(client, **GOOD, **{"options-idempotency_key": "k"})["Location"] == first["Location"]
    other = start(client, **(GOOD | {"payload/topic": "other"}), **{"options-idempotency_key": "k"})
    assert other.status_code == 422
    assert Run.objects.count() == 1


def test_a_nul_byte_is_refused_and_not_an_error_of_the_server() -> None:
    assert start(signed_in("developer"), **(GOOD | {"payload/topic": "a\x00b"})).status_code == 422
    assert start(signed_in("developer", "other"), **GOOD, **{"options-tags": "a\x00b"}).status_code == 422


def test_who_may_not_enqueue_sees_no_form_and_is_refused() -> None:
    client = signed_in("viewer")
    assert "data-tryit" not in client.get("/tasks/research-agent/").content.decode()
    assert start(client, **GOOD).status_code == 403
    assert not Run.objects.exists()


@pytest.mark.parametrize("path", ["/tasks/nope/", "/tasks/a%00b/", "/tasks/" + "x" * 300 + "/"])
def test_an_unknown_task_is_not_found(path: str) -> None:
    assert signed_in("admin").get(path).status_code == 404


def test_the_equivalents_are_quoted_for_a_shell() -> None:
    page = signed_in("developer").get("/tasks/research-agent/").content.decode()
    assert "manage.py enqueue research-agent &#x27;{&quot;topic&quot;: &quot;kelp forests&quot;}&#x27;" in page

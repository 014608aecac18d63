"""Now, the list of runs and the page of one run, through their addresses."""

import gzip
import re
import uuid
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone

from queues.models import Queue
from runs.models import Rollup, Run
from tests.support import stored
from tests.support.counting import statements
from tests.support.people import signed_in

pytestmark = pytest.mark.django_db
FRAGMENT = {"HX-Request": "true"}
#: Queries that every page makes to know who asks: session, user, role.
WHO = 3
#: And the one of the menu, for its number of open approvals.
MENU = 1


def page(client: Client, path: str, status: int = 200, **headers: str) -> str:
    response = client.get(path, headers=headers)
    assert response.status_code == status, response.content[:300]
    return response.content.decode()


def tile(text: str, label: str) -> str:
    found = re.search(rf'class="label">{label}</span><span class="value">([^<]*)<', text)
    assert found, label
    return found[1]


# --- Now --------------------------------------------------------------------------------------------------------------


def test_now_before_anything_has_run_teaches_how_to_start() -> None:
    text = page(signed_in("viewer"), "/")
    assert "Idle: nothing runs and nothing waits. No worker is alive" in text
    assert "manage.py enqueue research-agent" in text


def test_now_counts_and_says_whether_things_flow() -> None:
    stored.worker()
    for status in ("running", "running", "queued", "retrying", "completed", "scheduled"):
        stored.run(status)
    stored.ended(3, "failed")
    stored.ended(40)
    stored.ended(7, "failed", minutes_ago=90)
    text = page(signed_in("viewer"), "/")
    assert "Flowing: 2 running, 1 is about to start." in text
    tiles = ("Running", "Waiting", "Retrying", "Failed in the last hour", "Live workers")
    assert [tile(text, name) for name in tiles] == ["2", "1", "1", "3", "1"]
    assert "of 43 that ended" in text
    assert "1 more scheduled" in text


def test_the_failures_of_the_hour_lead_to_those_runs_and_no_older_ones() -> None:
    lately = [stored.run(status, age=120) for status in ("failed", "crashed", "unknown")]
    stored.run("failed", age=2 * 3600)
    stored.run("completed", age=120)
    client = signed_in("viewer")
    link = re.search(r'class="tile" href="([^"]+)"[^>]*><span class="label">Failed in the last hour', page(client, "/"))
    assert link is not None
    listed = client.get(unescape(link[1])).context["list"].rows
    assert {row.run.id for row in listed} == {run.id for run in lately}


def test_ready_work_without_a_worker_is_called_stalled() -> None:
    stored.run("queued")
    stored.worker(silent=True)
    text = page(signed_in("viewer"), "/")
    assert "Stalled: 1 run is ready, but no worker is alive for pool default." in text
    assert "1 silent" in text
    assert "data-alert" in text


def test_what_fails_most_is_grouped_and_leads_to_its_runs() -> None:
    for _ in range(3):
        stored.run("failed", error=stored.error())
    last = stored.run("retrying", error=stored.error(), age=5)
    stored.run("failed", "sync", error=stored.error("disk <full>", "shop.DiskFull"))
    stored.run("failed", age=2 * 3600, error=stored.error("long ago"))
    text = page(signed_in("viewer"), "/")
    assert text.index("no route to shop.example") < text.index("disk &lt;full&gt;")
    assert "<strong>DiskFull</strong>" in text
    assert "long ago" not in text
    assert "/runs/?task=sums&amp;status=failed,timed_out,crashed,expired,unknown,retrying" in text
    assert f"/runs/{last.id}/" in text


def test_a_paused_queue_is_named_with_its_reason() -> None:
    stored.queue("llm", paused_at=timezone.now(), pause_reason="key is spent")
    assert "is paused (key is spent)" in page(signed_in("viewer"), "/")


def test_now_takes_as_many_queries_for_much_as_for_little() -> None:
    client = signed_in("viewer")
    stored.worker()
    stored.run("running")
    with statements(WHO + MENU + 14):
        page(client, "/")
    for number in range(12):
        stored.run("failed", f"task-{number}", error=stored.error(f"m{number}"))
        stored.run("queued", f"task-{number}")
        stored.queue(f"queue-{number}")
    with statements(WHO + MENU + 14):
        page(client, "/")


def test_the_fragment_of_now_is_the_part_that_changes() -> None:
    text = page(signed_in("viewer"), "/", **FRAGMENT)
    assert text.lstrip().startswith('<div class="stack" id="now"')
    assert "<html" not in text


@pytest.mark.parametrize(("path", "asked"), [("/charts/failure-rate.json", 3), ("/charts/durations.json", 2)])
def test_charts_answer_figures_of_their_window(path: str, asked: int) -> None:
    client = signed_in("viewer")
    assert client.get(path).json()["data"] == []
    stored.ended(9, minutes_ago=100, seconds=0.3)
    stored.ended(1, "failed", minutes_ago=100, seconds=4)
    assert client.get(path).json()["data"] == []
    with statements(WHO + asked):
        figure = client.get(f"{path}?window=6h").json()
    assert figure["data"]
    assert client.get(f"{path}?window=6h&task=another").json()["data"] == []


@pytest.mark.parametrize("query", ["task=%00", "taks=sums", f"task={'x' * 300}"])
def test_a_chart_that_cannot_be_is_refused(query: str) -> None:
    for name in ("failure-rate", "durations"):
        assert signed_in("viewer", f"{name}{query}"[:20]).get(f"/charts/{name}.json?{query}").status_code == 422


def test_the_failure_rate_of_a_bin_is_that_of_its_runs() -> None:
    stored.ended(9)
    stored.ended(1, "timed_out")
    Rollup.objects.update(minute=Rollup.objects.earliest("minute").minute)  # although one may have passed in between
    figure = signed_in("viewer").get("/charts/failure-rate.json").json()
    assert [rate for rate in figure["data"][0]["y"] if rate is not None] == [10.0]


def test_plotly_is_served_once_and_for_ever() -> None:
    found = re.search(r'data-plotly="([^"]+)"', page(signed_in("viewer"), "/"))
    assert found
    response = Client().get(found[1], headers={"Accept-Encoding": "gzip"})
    assert response["Cache-Control"] == "public, max-age=31536000, immutable"
    assert b"plotly.js v" in gzip.decompress(response.content)[:200]
    assert Client().get("/assets/plotly-0.0.1.min.js").status_code == 404


# --- the list ---------------------------------------------------------------------------------------------------------


def ids(text: str) -> list[str]:
    return re.findall(r'<tr data-run="([^"]+)"', text)


def test_runs_are_listed_newest_first_with_what_one_wants_to_know() -> None:
    stored.worker()
    old = stored.run("completed", age=100, took=2.5)
    new = stored.run("failed", age=50, attempt=3, error=stored.error())
    text = page(signed_in("viewer"), "/runs/")
    assert ids(text) == [str(new.id), str(old.id)]
    assert "3 of 3" in text
    assert "ConnectionError: no route to shop.example" in text
    assert "2.5 s" in text


def test_filters_in_the_address_choose_runs_and_stand_in_the_tabs() -> None:
    stored.task("sync", "slow")
    wanted = stored.run("failed", "sync")
    stored.run("failed")
    stored.run("completed", "sync")
    text = page(signed_in("viewer"), "/runs/?status=failed,crashed&task=sync&queue=slow")
    assert ids(text) == [str(wanted.id)]
    assert 'href="/runs/?q=queue:slow+task:sync+status:queued"' in text
    assert 'value="queue:slow task:sync status:failed,crashed"' in text


def test_a_filter_that_cannot_be_is_refused_with_a_hint() -> None:
    text = page(signed_in("viewer"), "/runs/?statsu=failed", status=422)
    assert "did you mean status?" in text
    assert "No run yet" not in text


def test_empty_lists_say_what_to_do() -> None:
    client = signed_in("viewer")
    assert "No run yet" in page(client, "/runs/")
    assert "No run fits" in page(client, "/runs/?status=failed")


def test_pages_follow_each_other_without_gap_or_double() -> None:
    made = [str(stored.run(age=1000 - n).id) for n in range(120)]
    client = signed_in("viewer")
    path, seen = "/runs/", []
    while path:
        with statements(WHO + MENU + 5):
            text = page(client, path)
        seen += ids(text)
        older = re.search(r'href="(/runs/\?[^"]*cursor=[^"]+)">Older', text)
        path = older[1].replace("&amp;", "&") if older else ""
        assert len(seen) <= len(made)
    assert seen == made[::-1]


def test_waiting_runs_say_why() -> None:
    stored.worker()
    stored.task("llm", "llm-calls")
    Queue.objects.filter(name="llm-calls").update(paused_at=timezone.now(), pause_reason="key is spent")
    stored.task("gpu-job", "gpu")
    Queue.objects.filter(name="gpu").update(pool="gpu")
    for name in ("llm", "gpu-job", "sums"):
        stored.run("queued", name)
    stored.run("retrying", next_at=timezone.now() + timedelta(seconds=300), error=stored.error())
    client = signed_in("viewer")
    with statements(WHO + MENU + 8):
        text = page(client, "/runs/")
    for words in ("queue paused: key is spent", "no worker for pool gpu", "next in line", "next attempt"):
        assert words in text
    assert "in 4 m" in text


def test_rows_of_an_open_page_stay_and_arrivals_wait() -> None:
    first, second = stored.run("queued", age=20), stored.run("queued", age=10)
    client = signed_in("viewer")
    before = page(client, "/runs/?status=queued")
    refresh = re.search(r'hx-get="([^"]+)"', before)
    assert refresh
    stored.run("queued", age=1)
    stored.run("completed", age=1)
    Run.objects.filter(pk=first.id).update(status="running", started_at=timezone.now())
    after = page(client, refresh[1].replace("&amp;", "&"), **FRAGMENT)
    assert ids(after) == [str(second.id), str(first.id)]
    assert "1 new run: show" in after
    assert 'class="gone"' in after
    assert 'href="/runs/?q=status:queued"' in after


def test_a_page_of_older_runs_counts_no_arrivals() -> None:
    made = [stored.run(age=500 - n) for n in range(60)]
    client = signed_in("viewer")
    text = page(client, f"/runs/?cursor={made[10].id}")
    refresh = re.search(r'hx-get="([^"]+)"', text)
    assert refresh
    stored.run(age=1)
    assert "new run" not in page(client, refresh[1].replace("&amp;", "&"), **FRAGMENT)


@pytest.mark.parametrize("shown", ["nonsense", "", ",", "0198aaaa-0000-7000-8000-000000000000"])
def test_a_refresh_with_nonsense_is_no_error(shown: str) -> None:
    stored.run()
    page(signed_in("viewer"), f"/runs/?shown={shown}", **FRAGMENT)


# --- one run ----------------------------------------------------------------------------------------------------------


def test_the_run_shows_payload_result_and_every_digit() -> None:
    big = 12345678901234567890123
    run = stored.run("completed", payload={"seed": big, "topic": "<script>"}, output={"sum": 7}, tags=["nightly"])
    stored.attempt(run, 1, "completed", worker=stored.worker("wrack"))
    client = signed_in("viewer")
    with statements(WHO + MENU + 6):  # run, usage, progress, attempts, children, and whether it waited for any
        text = page(client, f"/runs/{run.id}/")
    assert str(big) in text
    assert "&quot;sum&quot;: 7" in text
    assert "&lt;script&gt;" in text
    assert "wrack" in text
    assert "/runs/?tag=nightly" in text


def test_a_failed_run_shows_its_error_and_offers_a_retry_to_those_who_may() -> None:
    run = stored.run("failed", error=stored.error("no <route>"))
    text = page(signed_in("operator"), f"/runs/{run.id}/")
    assert "no &lt;route&gt;" in text
    assert "Traceback" in text
    assert f'action="/runs/{run.id}/retry/"' in text
    assert "/cancel/" not in text
    assert "/retry/" not in page(signed_in("viewer"), f"/runs/{run.id}/")


def test_a_retry_queues_the_run_again_and_is_audited() -> None:
    run = stored.run("failed", error=stored.error())
    client = signed_in("operator")
    response = client.post(f"/runs/{run.id}/retry/", {"reason": "the route is back"})
    assert (response.status_code, response["Location"]) == (303, f"/runs/{run.id}/")
    assert Run.objects.get(pk=run.id).status == "queued"
    with connection.cursor() as cursor:
        cursor.execute("SELECT action, reason FROM access_auditentry WHERE object_id = %s", [str(run.id)])
        assert cursor.fetchall() == [("runs.retry", "the route is back")]
    assert "queued again" in page(client, f"/runs/{run.id}/")


def test_who_retries_or_cancels_a_run_too_late_is_told_who_was_first() -> None:
    run = stored.run("failed")
    ann, bob = signed_in("operator", "ann"), signed_in("admin", "bob")
    ann.post(f"/runs/{run.id}/retry/", {"reason": "the route is back"})
    bob.post(f"/runs/{run.id}/retry/")
    text = unescape(page(bob, f"/runs/{run.id}/"))
    assert re.search(rf"Run {run.id} is queued; only a run that failed.* Last: retry by ann, \S+ \S+ UTC\.", text)
    bob.post(f"/runs/{run.id}/cancel/")
    ann.post(f"/runs/{run.id}/cancel/")
    assert re.search(r"is cancelled; .* Last: cancel by bob, \S+ \S+ UTC\.", unescape(page(ann, f"/runs/{run.id}/")))
    run.refresh_from_db()
    assert (run.status, run.attempt) == ("cancelled", stored.run("failed").attempt)


def test_a_queued_run_can_be_cancelled() -> None:
    run = stored.run("queued")
    client = signed_in("operator")
    assert f'action="/runs/{run.id}/cancel/"' in page(client, f"/runs/{run.id}/")
    client.post(f"/runs/{run.id}/cancel/")
    assert Run.objects.get(pk=run.id).status == "cancelled"


def test_a_running_run_is_stopped_and_the_page_says_that_it_is_not_over_yet() -> None:
    run = stored.run("running", lease_token=7)
    client = signed_in("operator")
    client.post(f"/runs/{run.id}/cancel/")
    assert Run.objects.get(pk=run.id).status == "cancelling"
    assert "The run is being stopped" in page(client, f"/runs/{run.id}/")


@pytest.mark.parametrize(("status", "action"), [("completed", "retry"), ("completed", "cancel"), ("running", "retry")])
def test_what_comes_too_late_changes_nothing_and_says_so(status: str, action: str) -> None:
    run = stored.run(status)
    client = signed_in("operator")
    client.post(f"/runs/{run.id}/{action}/")
    assert Run.objects.get(pk=run.id).status == status
    text = page(client, f"/runs/{run.id}/")
    assert f"Run {run.id} is {status}" in text
    assert 'data-kind="error"' in text


@pytest.mark.parametrize("action", ["retry", "cancel"])
def test_changes_need_a_post_and_a_grant(action: str) -> None:
    run = stored.run("failed" if action == "retry" else "queued")
    assert signed_in("operator").get(f"/runs/{run.id}/{action}/").status_code == 405
    assert signed_in("viewer").post(f"/runs/{run.id}/{action}/").status_code == 403
    assert Run.objects.get(pk=run.id).status == run.status


def test_the_fragment_of_a_run_swaps_what_the_server_draws() -> None:
    run = stored.run("completed", output=1)
    text = page(signed_in("viewer"), f"/runs/{run.id}/", **FRAGMENT)
    assert text.lstrip().startswith('<div class="stack" id="run-summary"')
    for part in ("run-status", "run-actions", "run-waits", "run-children", "run-result"):
        assert re.search(rf'id="{part}"[^>]* hx-swap-oob="true"', text), part


def test_what_is_not_there_is_a_404() -> None:
    client = signed_in("viewer")
    run = stored.run()
    nobody = uuid.uuid4()
    for path in (
        f"{nobody}/",
        f"{nobody}/live/",
        f"{nobody}/log/",
        f"{nobody}/log/lines/",
        f"{run.id}/snapshots/9/",
        "nonsense/",
    ):
        assert client.get(f"/runs/{path}").status_code == 404, path
    assert signed_in("operator").post(f"/runs/{nobody}/retry/").status_code == 404


def test_a_snapshot_shows_what_it_holds() -> None:
    run = stored.run()
    stored.snapshots(run, 1, 1, input={"a": 12345678901234567890}, output=[3])
    stored.snapshots(run, 2, 2, kind="checkpoint", state={"done": True})
    stored.snapshots(run, 3, 3, kind="failure", error=stored.error("twice <b>"))
    client = signed_in("viewer")
    text = [page(client, f"/runs/{run.id}/snapshots/{n}/") for n in (1, 2, 3)]
    assert "12345678901234567890" in text[0]
    assert "Output" in text[0]
    assert "&quot;done&quot;: true" in text[1]
    assert "Input" not in text[1]
    assert "twice &lt;b&gt;" in text[2]


def test_a_snapshot_of_another_run_is_not_shown() -> None:
    mine, other = stored.run(), stored.run()
    stored.snapshots(other, 1, 1)
    assert signed_in("viewer").get(f"/runs/{mine.id}/snapshots/1/").status_code == 404


def test_polling_tells_what_came_after_the_cursors() -> None:
    run = stored.run("running")
    stored.attempt(run)
    stored.snapshots(run, 1, 3)
    sequences = stored.lines(run, "one", "two", "three", step="add#1")
    client = signed_in("viewer")
    with statements(WHO + 5):
        answer: dict[str, Any] = client.get(f"/runs/{run.id}/live/?after={sequences[0]}&snapshots=2").json()
    told = {message["type"]: message for message in answer["messages"]}
    assert set(told) == {"attempts", "snapshots", "logs", "run"}
    assert [line["message"] for line in told["logs"]["items"]] == ["two", "three"]
    assert [s["sequence"] for s in told["snapshots"]["items"]] == [3]
    assert (told["logs"]["next"], told["snapshots"]["next"], answer["more"]) == (sequences[2], 3, False)


@pytest.mark.parametrize("path", ["/runs/", "/retries/", "/errors/"])
def test_a_browser_that_goes_back_does_not_fill_in_another_filter_than_the_lists(path: str) -> None:
    assert ' data-submits autocomplete="off">' in page(signed_in("viewer"), path)

"""Explore: charts of the rollups, whose points lead to the runs behind them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from django.core.management import call_command
from django.db.models import F
from django.utils import timezone

from holdfast.access.models import AuditEntry
from holdfast.demo.history.incidents import Incident, Incidents, before
from runs import histogram
from runs.explore import figures
from runs.explore.figures import FIGURES
from runs.filters import RunFilter
from runs.models import Rollup, Run
from runs.search import plan
from tests.support import stored
from tests.support.counting import statements
from tests.support.people import signed_in
from tests.support.plotly import validated

pytestmark = pytest.mark.django_db
#: What every page asks for (who is it, the menu), and what a look does before it reads: give up in time, the clock.
WHO, MENU, LOOK = 3, 1, 6


@pytest.fixture
def incidents() -> Incidents:
    call_command("seed", "--small", verbosity=0)
    after = AuditEntry.objects.get(action="demo.seed").after
    assert after is not None
    return before(after["end"])


def query(incident: Incident, **more: Any) -> str:
    """A day around an incident."""
    start, end = (datetime.fromtimestamp(at, UTC) for at in (incident.start, incident.end))
    times = {
        "from": f"{start - timedelta(hours=12):%Y-%m-%dT%H:%M}",
        "to": f"{end + timedelta(hours=12):%Y-%m-%dT%H:%M}",
    }
    return "?" + urlencode({**times, **more})


def behind(trace: dict[str, Any], column: int, row: int = 0) -> int:
    """How many runs the address of a point finds, put together as chart.js does it."""
    meta = trace["meta"]
    url = meta["url"].replace("{x}", meta.get("x", [""] * 999)[column]).replace("{y}", meta.get("y", [""])[row])
    return found_by(url)


def found_by(url: str) -> int:
    assert url.startswith("/runs/?q=")
    [text] = parse_qs(urlsplit(url).query)["q"]
    return plan.count(RunFilter.parse({"q": text}).terms, 10_000)


def figure(client: Any, name: str, of: str) -> dict[str, Any]:
    answer = client.get(f"/explore/charts/{name}.json{of}")
    assert answer.status_code == 200, answer.content
    found: dict[str, Any] = answer.json()
    validated(found)
    return found


def test_an_empty_page_teaches() -> None:
    page = signed_in("viewer").get("/explore/").content.decode()
    assert "No run ended in this time" in page
    assert "manage.py enqueue" in page


def test_the_page_sums_up_and_ranks_groups_that_lead_further() -> None:
    stored.ended(90, name="sums")
    stored.ended(10, "failed", name="sums")
    stored.ended(5, "cancelled", name="sums")
    stored.ended(7, name="mail", seconds=60)
    page = signed_in("viewer").get("/explore/?span=1h&worker=kelp").content.decode()
    assert re.search(r'"label">Ended</span><span class="value">107<', page)
    assert re.search(r'"label">Failed</span><span class="value">10<', page)
    assert "9.3 % of them" in page
    assert "and 5 cancelled" in page
    assert page.index("?span=1h&amp;task=sums&amp;worker=kelp") < page.index("?span=1h&amp;task=mail&amp;worker=kelp")
    assert page.count('<svg class="spark"') == 4


def test_a_page_takes_as_many_queries_for_much_as_for_little() -> None:
    client = signed_in("viewer")
    stored.ended(1)
    with statements(WHO + MENU + LOOK + 2 + 2):  # cells and groups; names of tasks and queues
        client.get("/explore/")
    for number in range(30):
        stored.ended(3, "failed", f"task-{number}", minutes_ago=number)
    with statements(WHO + MENU + LOOK + 2 + 2):
        page = client.get("/explore/").content.decode()
    assert "the 20 with most runs of 31" in page


@pytest.mark.parametrize("name", FIGURES)
def test_a_chart_takes_as_many_queries_for_much_as_for_little(name: str, incidents: Incidents) -> None:
    client = signed_in("viewer")
    client.get("/explore/")
    for of in ("?span=1h", "?span=7d", query(incidents.outage)):
        with statements(WHO + LOOK + (1 if name == "durations" else 2)):  # a histogram has no time to mark deploys in
            figure(client, name, of)


@pytest.mark.parametrize("by", ["task", "queue", "version", "worker"])
def test_groups_lead_to_themselves_alone_and_to_their_runs(by: str, incidents: Incidents) -> None:
    client = signed_in("viewer")
    page = client.get(f"/explore/{query(incidents.bad_deploy, by=by)}")
    rows = page.context["page"].groups
    assert len(rows) > 2
    for row in rows:
        totals = row.group.totals
        assert sum(row.group.ended) == totals.ended == found_by(row.runs_url)
        assert sum(row.group.failed) == totals.failed == found_by(row.failed_url)
    narrow = client.get(f"/explore/{rows[0].url}").context["page"]
    assert narrow.totals.ended == rows[0].group.totals.ended
    assert [row.group.name for row in narrow.groups] == [rows[0].group.name]


def test_points_lead_to_the_runs_that_they_count(incidents: Incidents) -> None:
    client, of = signed_in("viewer"), query(incidents.outage)
    for trace in figure(client, "throughput", of)["data"]:
        for column, count in enumerate(trace["y"]):
            if count and column % 7 == 0:
                assert behind(trace, column) == count
    [rates] = figure(client, "failure-rate", of)["data"]
    worst = max(range(len(rates["y"])), key=lambda column: rates["customdata"][column][0])
    assert behind(rates, worst) == rates["customdata"][worst][0] > 10
    for trace in figure(client, "durations", of)["data"]:
        highest = max(range(len(trace["y"])), key=lambda column: trace["y"][column])
        # A search knows milliseconds, the bounds of buckets more: one at a bound may be on its other side.
        assert behind(trace, highest) == pytest.approx(trace["y"][highest], abs=2)


def test_cells_of_the_map_lead_to_their_runs(incidents: Incidents) -> None:
    [trace] = figure(signed_in("viewer"), "heatmap", query(incidents.outage))["data"]
    cells = [(shade, column, row) for row, line in enumerate(trace["z"]) for column, shade in enumerate(line) if shade]
    assert len(cells) > 10
    for shade, column, row in sorted(cells, reverse=True)[:10]:
        count = round(10**shade)  # the shade is a logarithm of three decimals
        assert abs(behind(trace, column, row) - count) <= 1


def test_percentiles_lead_to_the_slow_ones_and_waits_to_those_that_started_then(incidents: Incidents) -> None:
    client, of = signed_in("viewer"), query(incidents.noisy_tenant, queue=incidents.noisy_tenant.queue)
    p50, _, p99 = figure(client, "percentiles", of)["data"]
    column = next(n for n, value in enumerate(p50["y"]) if value is not None)
    assert 1 <= behind(p99, column) <= behind(p50, column)
    waits = figure(client, "waits", of)["data"]
    longest = max(range(len(waits[0]["y"])), key=lambda n: waits[0]["y"][n] or 0)
    assert waits[0]["y"][longest] > 60, "the others waited for a slot"
    assert behind(waits[0], longest) > 0


def test_depth_and_slots_tell_of_the_noisy_tenant_and_lead_to_who_waited(incidents: Incidents) -> None:
    client, noisy = signed_in("viewer"), incidents.noisy_tenant
    of = query(noisy, queue=noisy.queue)
    waiting, running, limit = figure(client, "depth", of)["data"]
    deepest = max(range(len(waiting["y"])), key=lambda n: waiting["y"][n] or 0)
    assert behind(waiting, deepest) >= waiting["y"][deepest] > 20
    assert behind(running, deepest) >= running["y"][deepest] == limit["y"][deepest]
    [map_of_slots] = figure(client, "slots", query(noisy))["data"]
    cells = [(share, column, row) for row, line in enumerate(map_of_slots["z"]) for column, share in enumerate(line)]
    share, column, row = max(cell for cell in cells if cell[0] is not None)
    assert share == 1
    assert behind(map_of_slots, column, row) >= 1


def boxed(incident: Incident, **more: Any) -> str:
    """A box around the time of an incident."""
    start, end = (f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M}" for at in (incident.start, incident.end))
    return query(incident, since=start, until=end, **more)


def test_the_bad_deploy_is_the_first_difference_of_its_box(incidents: Incidents) -> None:
    bad = incidents.bad_deploy
    client = signed_in("viewer")
    page = client.get(f"/explore/{boxed(bad, task=bad.tasks[0])}")
    found = page.context["page"].differences
    first = found.items[0]
    assert (first.field, first.value) == ("version", bad.version)
    assert (first.inside_share, first.outside_share) == (pytest.approx(1, abs=0.1), pytest.approx(0, abs=0.05))
    assert f"version:{bad.version}" in page.content.decode()
    all_tasks = client.get(f"/explore/{boxed(bad)}").context["page"].differences
    assert next(item.value for item in all_tasks.items if item.field == "version") == bad.version


def test_the_noisy_tenant_is_found_by_key_and_payload_in_the_box_of_long_runs(incidents: Incidents) -> None:
    noisy = incidents.noisy_tenant
    page = signed_in("viewer").get(f"/explore/{boxed(noisy, over='5m')}")
    found = page.context["page"].differences
    values = {item.field: item.value for item in reversed(found.items)}
    assert values["key"] == noisy.key
    assert values["payload.tenant"] == f'"{noisy.key}"'
    assert values["task"] == noisy.tasks[0]


def test_each_difference_leads_to_its_runs(incidents: Incidents) -> None:
    found = signed_in("viewer").get(f"/explore/{boxed(incidents.outage)}").context["page"].differences
    assert found.box.whole
    assert found_by(found.url) == found.box.looked_at
    assert len(found.rows) >= 3
    for item, url in found.rows:
        assert found_by(url) == item.inside, item


def test_a_sample_of_many_runs_is_said_to_be_one(monkeypatch: pytest.MonkeyPatch, incidents: Incidents) -> None:
    for module in ("sample", "differences"):
        monkeypatch.setattr(f"runs.explore.{module}.SAMPLE", 100)
    bad = incidents.bad_deploy
    page = signed_in("viewer").get(f"/explore/{boxed(bad)}")
    found = page.context["page"].differences
    assert 80 <= found.others.looked_at <= 250
    assert not found.others.whole
    assert "a sample of" in page.content.decode()


def test_a_box_takes_one_query_more(incidents: Incidents) -> None:
    client = signed_in("viewer")
    client.get("/explore/")
    with statements(WHO + MENU + LOOK + 3 + 2):
        client.get(f"/explore/{boxed(incidents.outage, over='1s')}")


def test_a_box_without_runs_and_a_box_without_differences_say_so(incidents: Incidents) -> None:
    client = signed_in("viewer")
    text = client.get(f"/explore/{query(incidents.outage, since='2020-01-01', until='2020-01-02')}").content.decode()
    assert "No run is in the box" in text
    everything = client.get(f"/explore/{query(incidents.outage, over='0.001s')}").content.decode()
    assert "Nothing stands out" in everything
    refused = client.get(f"/explore/{query(incidents.outage, over='soon')}")
    assert refused.status_code == 422
    text = refused.content.decode()
    assert "write a duration like" in text
    assert "Map of when runs ended" in text, "all is there but the box"
    assert re.search(r'value="soon"[^>]*aria-invalid="true"', text)
    assert "over is " not in text, "no field of the page has that name"
    assert client.get(f"/explore/{query(incidents.outage, over='soon', by='nothing')}").context["page"] is None
    both = client.get("/explore/?over=soon&from=2026-01-02&to=2026-01-01")
    assert both.status_code == 422
    assert "to is not after from" in both.content.decode()


def test_tags_are_counted_in_a_sample(incidents: Incidents) -> None:
    page = signed_in("viewer").get(f"/explore/{query(incidents.outage, by='tag')}")
    rows = {row.group.name: row.group.totals.ended for row in page.context["page"].groups}
    assert rows["seeded"] == page.context["page"].totals.ended == page.context["page"].sampled
    assert "of a sample of" in page.content.decode()
    stored.ended(1)
    assert "No run has a tag" in signed_in("operator").get("/explore/?span=1h&by=tag&task=sums").content.decode()


def rolled_up() -> None:
    """The rollups of the runs that are stored."""
    by = stored.worker()
    for run in Run.objects.all():
        assert run.finished_at is not None
        took = (run.finished_at - run.created_at).total_seconds()
        minute = run.finished_at.replace(second=0, microsecond=0)
        of = {"kind": "run", "task_id": run.task_id, "queue_id": run.queue_id, "worker": by, "status": run.status}
        found, _ = Rollup.objects.get_or_create(
            minute=minute, bucket=histogram.bucket(took), **of, defaults={"count": 0, "seconds": 0}
        )
        Rollup.objects.filter(pk=found.pk).update(count=F("count") + 1)


def test_payloads_of_any_kind_are_looked_at_or_left_out() -> None:
    odd: list[Any] = [7, "text", [], {}, {"n": {"deep": 1}}, {"long": "x" * 200}, {"": 1}, {"a\u0007": "b"}]
    for payload in odd * 6:
        stored.run(age=90, took=0.5, payload=payload)
    for number in range(20):
        stored.run(age=30 * 60, took=0.5, payload={"tenant": "acme", "n": 2**70, "on": True, "number": number})
    rolled_up()
    until = f"{timezone.now() - timedelta(minutes=10):%Y-%m-%dT%H:%M}"
    compared = signed_in("viewer").get(f"/explore/?span=1h&until={until}").context["page"].differences
    found = {item.field: item.value for item in compared.items}
    assert found == {"payload.tenant": '"acme"', "payload.n": str(2**70), "payload.on": "true"}
    for _, url in compared.rows:
        assert found_by(url) == 20


def test_filters_hold_for_everything(incidents: Incidents) -> None:
    client, task = signed_in("viewer"), incidents.bad_deploy.tasks[0]
    of = query(incidents.bad_deploy, task=task, version=incidents.bad_deploy.version)
    page = client.get(f"/explore/{of}").context["page"]
    runs = Run.objects.filter(task_id=task, version=incidents.bad_deploy.version).exclude(status="cancelled")
    assert page.totals.ended == runs.count() > 30
    for trace in figure(client, "throughput", of)["data"]:
        assert f"task:{task}%20version:{incidents.bad_deploy.version}" in trace["meta"]["url"]
    for other in ("task=nobody", "queue=nobody", "version=nobody", "worker=nobody"):
        assert figure(client, "heatmap", f"{of}&{other}" if other[:4] not in "taskvers" else f"?{other}")["data"] == []


def test_what_is_asked_wrongly_is_said_at_its_field() -> None:
    client = signed_in("viewer")
    answer = client.get("/explore/?from=2026-01-02&to=2026-01-01&task=sums")
    assert answer.status_code == 422
    page = unescape(answer.content.decode())
    assert "to is not after from; write a later time" in page
    assert 'value="sums"' in page
    assert client.get("/explore/?task=%00").status_code == 422
    assert client.get("/explore/charts/heatmap.json?span=99y").status_code == 422
    assert client.get("/explore/charts/nothing.json").status_code == 404
    assert client.get("/explore/charts/%00.json").status_code == 404


def test_a_look_that_takes_too_long_says_how_to_ask_for_less(monkeypatch: pytest.MonkeyPatch) -> None:
    stored.ended(1)
    monkeypatch.setattr(figures, "FIGURES", {"heatmap": _slow})
    client = signed_in("viewer")
    answer = client.get("/explore/charts/heatmap.json")
    assert answer.status_code == 422
    assert "choose a shorter time" in answer.json()["detail"]
    assert client.get("/explore/").status_code == 200


def _slow(look: Any) -> Any:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL statement_timeout = 50")
        cursor.execute("SELECT pg_sleep(10)")


def test_deploys_are_marked(incidents: Incidents) -> None:
    client = signed_in("viewer")
    for name in FIGURES:
        notes = figure(client, name, query(incidents.bad_deploy))["layout"]["annotations"]
        assert any("deploy" in note["text"] for note in notes) is (name != "durations"), name


def test_rollups_alone_decide_the_time_of_the_page() -> None:
    stored.ended(3, minutes_ago=30)
    Rollup.objects.update(minute=timezone.now() - timedelta(days=40))
    assert "No run ended in this time" in signed_in("viewer").get("/explore/?span=7d").content.decode()

"""The runs of a search as a file: whole, in order, bounded, and harmless in a spreadsheet."""

from __future__ import annotations

import csv
import io
import json
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import AsyncClient

from holdfast.access.models import Membership
from runs import columns, exporting
from runs.filters import RunFilter
from tests.support import stored
from tests.support.people import signed_in

pytestmark = pytest.mark.django_db


def exported(search: str = "", form: str = "csv") -> str:
    return "".join(exporting.texts(RunFilter.parse({"q": search}), form))


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_both_formats_have_the_runs_of_the_search_newest_first() -> None:
    stored.run("completed", tags=["x", "y"], age=90)
    failed = stored.run("failed", error=stored.error('no, "really"\nno'), concurrency_key="c1", age=30, took=2.5)
    assert [row["status"] for row in rows(exported())] == ["failed", "completed"]
    [row] = rows(exported("status:failed"))
    assert (row["id"], row["seconds"], row["concurrency_key"]) == (str(failed.id), "2.5", "c1")
    assert row["error_message"] == 'no, "really"\nno'
    told = json.loads(exported(form="json"))
    assert [(item["status"], item["tags"]) for item in told["items"]] == [("failed", []), ("completed", ["x", "y"])]
    assert told["cut"] is None
    assert list(told["items"][0]) == list(columns.FILED)


def test_no_run_is_an_empty_file_of_its_kind() -> None:
    assert exported().strip() == ",".join(columns.FILED)
    assert json.loads(exported(form="json")) == {"items": [], "cut": None}


def test_pages_are_joined_and_a_cut_is_said_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "PAGE", 3)
    ids = [str(stored.run("completed", age=100 - n).id) for n in range(8)][::-1]
    assert [row["id"] for row in rows(exported())] == ids
    assert [item["id"] for item in json.loads(exported(form="json"))["items"]] == ids
    monkeypatch.setattr(exporting, "MOST", 7)
    assert [row["id"] for row in rows(exported())][:-1] == ids[:7]
    assert exported().splitlines()[-1].startswith('"# Cut at 7 runs; there are older ones.')
    assert "Cut at 7 runs" in json.loads(exported(form="json"))["cut"]
    monkeypatch.setattr(exporting, "LOOKS", 2)
    assert "Cut after 6 runs" in exported()


@pytest.mark.parametrize("evil", ["=1+1", "+1", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "\n=1"])
def test_no_text_of_others_is_a_formula(evil: str) -> None:
    stored.run("failed", error={"type": "E", "message": evil}, tags=["=cmd"], concurrency_key="@key")
    [row] = rows(exported())
    assert (row["error_message"], row["tags"], row["concurrency_key"]) == (f"'{evil}", "'=cmd", "'@key")
    assert json.loads(exported(form="json"))["items"][0]["error_message"] == evil, "JSON is no spreadsheet"


def test_the_command_line_prints_either() -> None:
    run = stored.run("failed")
    out = StringIO()
    call_command("runs", "export", "--status", "failed", stdout=out)
    assert [row["id"] for row in rows(out.getvalue())] == [str(run.id)]
    out = StringIO()
    call_command("runs", "export", "--status", "failed", "--json", stdout=out)
    assert [item["id"] for item in json.loads(out.getvalue())["items"]] == [str(run.id)]
    with pytest.raises(CommandError, match="stauts"):
        call_command("runs", "export", "--search", "stauts:x")


@pytest.mark.django_db(transaction=True)
async def test_the_page_and_the_api_send_the_file() -> None:
    from channels.db import database_sync_to_async

    run = await database_sync_to_async(stored.run)("failed")
    user = await User.objects.acreate(username="ann")
    await Membership.objects.acreate(user=user, role="viewer")
    client = AsyncClient()
    await client.aforce_login(user)
    for address in ("/runs/export/", "/api/v1/runs/export"):
        answer: Any = await client.get(f"{address}?q=status:failed&format=csv")
        assert (answer.status_code, answer["Content-Type"]) == (200, "text/csv; charset=utf-8")
        assert answer["Content-Disposition"] == 'attachment; filename="runs.csv"'
        text = b"".join([part async for part in answer.streaming_content]).decode()
        assert [row["id"] for row in rows(text)] == [str(run.id)]


@pytest.mark.parametrize("query", ["q=stauts:x", "format=xml", "format=%00", "q=a%00", "limit=3", "q=a&q=b"])
def test_what_cannot_be_exported_is_refused_before_anything_is_sent(query: str) -> None:
    client = signed_in("viewer")
    assert client.get(f"/runs/export/?{query}").status_code == 422
    assert client.get(f"/api/v1/runs/export?{query}").status_code == 422

"""Columns of the list of runs stand in its address: links, saved views and files have them."""

from __future__ import annotations

import csv
import json
import re
from html import unescape
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from runs import columns, exporting
from runs.filters import InvalidFilter, RunFilter
from runs.models import SavedView
from tests.support import stored
from tests.support.people import signed_in

pytestmark = pytest.mark.django_db


def heads(page: str) -> list[str]:
    """What stands above the columns of the list."""
    return re.findall(r"<th[^>]*>([^<]+)</th>", page)


def links(page: str) -> list[str]:
    return [unescape(found) for found in re.findall(r'(?:href|hx-get)="(/runs/\?[^"]*|/runs/export/[^"]*)"', page)]


def test_the_list_shows_the_columns_of_its_address_and_all_its_links_keep_them() -> None:
    for _ in range(51):
        stored.run("failed", tags=["nightly"])
    client = signed_in("operator")
    usual = ["Status", "Run", "Queue", "Why, or what went wrong", "Took", "Created"]
    assert heads(client.get("/runs/").content.decode()) == usual
    page = client.get("/runs/?q=status:failed&columns=task,tags,version").content.decode()
    assert heads(page) == ["Status", "Run", "Tags", "Version"]
    assert heads(client.get("/runs/?columns=task").content.decode()) == ["Status", "Run"]
    # The form of columns without a script sends one parameter for each.
    assert heads(client.get("/runs/?columns=task&columns=queue").content.decode()) == ["Status", "Run", "Queue"]
    kept = [link for link in links(page) if not link.startswith("/runs/export/")]
    assert [link for link in kept if "columns=task,tags,version" not in link] == ["/runs/?q=status:failed"], "As usual"
    assert sum("cursor=" in link for link in kept) == 1
    fragment = client.get("/runs/?columns=task,tags", headers={"HX-Request": "true"}).content.decode()
    assert heads(fragment) == ["Status", "Run", "Tags"]
    assert page.count('name="columns" value="task,tags,version"') == 3, "searching, filtering and saving keep them"


@pytest.mark.parametrize("wrong", ["stauts", "task,<b>", "a%00", "priority", "x" * 201, "task,," + "y" * 61])
def test_a_column_that_is_not_there_is_named_with_those_that_are(wrong: str) -> None:
    client = signed_in("viewer")
    page = client.get(f"/runs/?columns={wrong}")
    assert page.status_code == 422
    assert "columns has" in page.content.decode() or "columns holds a control character" in page.content.decode()
    assert "<b>'" not in page.content.decode()
    if "stauts" in wrong:
        said = "columns has &#x27;stauts&#x27;, which is no column here; write some of id, task, status, queue, why,"
        assert said in page.content.decode()
    assert client.get(f"/runs/?columns={wrong}", headers={"HX-Request": "true"}).status_code == 204


@pytest.mark.parametrize("address", ["/runs/export/", "/api/v1/runs/export"])
@pytest.mark.parametrize("wrong", ["stauts", "a%00", "x" * 201])
def test_a_file_with_a_column_that_is_not_there_is_refused(address: str, wrong: str) -> None:
    answer = signed_in("viewer").get(f"{address}?columns={wrong}")
    assert (answer.status_code, b"columns has" in answer.content or b"control character" in answer.content) == (
        422,
        True,
    )


def test_a_file_has_the_columns_of_the_list_in_the_order_that_was_asked_for() -> None:
    failed = stored.run("failed", tags=["nightly"], error=stored.error("=no"))
    stored.run("queued")
    page = signed_in("viewer").get("/runs/?q=status:failed&columns=task,tags,why").content.decode()
    files = [link for link in links(page) if link.startswith("/runs/export/")]
    assert files == [
        f"/runs/export/?q=status:failed&columns=id,task,status,tags,why&format={form}" for form in ("csv", "json")
    ]
    text = "".join(exporting.texts(RunFilter.parse({"q": "status:failed"}), "csv", ("why", "status", "id")))
    assert text.splitlines() == ["why,status,id", f"{failed.error['type'].rpartition('.')[2]}: =no,failed,{failed.id}"]
    told = json.loads("".join(exporting.texts(RunFilter.parse({"q": "status:queued"}), "json", ("why", "tags"))))
    assert list(told["items"][0]) == ["why", "tags"]
    assert told["items"][0]["why"], "why it waits, in words"


def test_tags_with_spaces_can_be_told_apart_in_a_file() -> None:
    stored.run("queued", tags=["nightly", "two words", "a,b"])
    text = "".join(exporting.texts(RunFilter.parse({}), "csv", ("tags",)))
    assert list(csv.reader(text.splitlines())) == [["tags"], ['nightly "two words" "a,b"']]


def test_the_command_line_prints_the_columns_that_it_is_asked_for() -> None:
    stored.run("failed")
    out = StringIO()
    call_command("runs", "export", "--columns", "status,task", stdout=out)
    assert out.getvalue().splitlines()[0] == "status,task"
    with pytest.raises(CommandError, match="columns has 'stauts'"):
        call_command("runs", "export", "--columns", "stauts")


def test_a_saved_view_has_its_columns_over_all_three_ways() -> None:
    client = signed_in("operator")
    form = {"name": "By key", "q": "status:failed", "columns": "task,concurrency_key"}
    here = "/runs/?q=status:failed&columns=task,concurrency_key"
    assert client.post("/runs/views/save/", form)["Location"] == here
    page = client.get(here).content.decode()
    assert f'href="{here.replace("&", "&amp;")}" title="status:failed" aria-current="page"><bdi>By key' in page
    assert 'aria-current="page"><bdi>By key' not in client.get("/runs/?q=status:failed").content.decode()
    out = StringIO()
    call_command("views", "save", "Mine", "--columns", "task,tags", "--json", stdout=out)
    assert json.loads(out.getvalue())["columns"] == "task,tags"
    sent: dict[str, Any] = {"name": "All", "columns": "tags,queue"}
    made = client.post("/api/v1/views", json.dumps(sent), "application/json")
    assert (made.status_code, made.json()["columns"]) == (201, "tags,queue")
    refused = client.post("/api/v1/views", json.dumps({**sent, "columns": "stauts"}), "application/json")
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "columns")
    wrong = client.post("/runs/views/save/", {**form, "columns": "stauts"}, follow=True).content.decode()
    assert "columns has &#x27;stauts&#x27;" in wrong
    assert SavedView.objects.get(name="By key").columns == "task,concurrency_key"


def test_every_column_that_is_offered_is_one_of_the_file() -> None:
    assert set(columns.LISTED) < set(columns.FILEABLE)
    run = stored.run("failed")
    assert tuple(exporting.record(run)) == columns.FILEABLE
    with pytest.raises(InvalidFilter, match="write some of"):
        columns.asked({"columns": "why"}, columns.FILED)

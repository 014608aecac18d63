"""What somebody's code says cannot turn the pages around."""

from __future__ import annotations

import json

import pytest

from tests.support import stored
from tests.support.people import signed_in

pytestmark = pytest.mark.django_db
OVERRIDE = "\u202e"


def test_characters_that_reorder_text_are_shown_as_what_they_are() -> None:
    run = stored.run(
        "failed", payload={"note": f"a{OVERRIDE}b"}, error={**stored.error(), "message": f"{OVERRIDE}live si sihT"}
    )
    client = signed_in("viewer")
    for path in ("/", "/runs/", f"/runs/{run.id}/", f"/runs/compare/?a={run.id}&b={run.id}"):
        page = client.get(path)
        assert page.status_code == 200
        assert OVERRIDE not in page.content.decode()
        assert int(page["Content-Length"]) == len(page.content)
    shown = client.get(f"/runs/{run.id}/").content.decode()
    assert "\\u202elive si sihT" in shown
    assert "a\\u202eb" in shown


def test_what_programs_read_is_what_was_stored() -> None:
    run = stored.run("completed", output=f"a{OVERRIDE}b")
    stored.lines(run, f"said {OVERRIDE}so")
    client = signed_in("viewer")
    live = client.get(f"/runs/{run.id}/live/").json()
    assert f"said {OVERRIDE}so" in json.dumps(live, ensure_ascii=False)

"""A run that is parked because its history does not fit the code: its page, the API, and a person's decision."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.access import services as access
from holdfast.access.grants import Actor
from holdfast.access.models import AuditEntry
from queues.models import Entry, Timer
from runs.models import Run
from tests.support import stored
from tests.support.api import Caller
from tests.support.people import signed_in

TOLD = {
    "kind": "version",
    "what": "code that fits its history: ship#1 was asked for where the history has charge#1",
    "expected": ["reserve#1", "charge#1", "mail#1"],
    "asked": ["reserve#1", "ship#1"],
    "ran": "0ld0ld0ld0ld",
    "version": "4ew4ew4ew4ew",
    "deferred": 3,
}


@pytest.fixture
def parked(transactional_db: None) -> Run:
    run = stored.run("waiting", waiting_for=TOLD, refused=["4ew4ew4ew4ew"], version="0ld0ld0ld0ld")
    stored.attempt(run)
    stored.snapshots(run, 1, 3)
    Timer.objects.create(entry_id=run.id, queue=run.queue, lane=0, due_at=run.created_at.replace(year=9000))
    return run


def test_the_page_shows_both_lists_side_by_side_and_offers_to_go_on(parked: Run) -> None:
    text = signed_in("operator").get(f"/runs/{parked.id}/").content.decode()
    rows = [row.split("</tr>")[0] for row in text.split('id="mismatch"')[1].split("</table>")[0].split("<tr>")[2:]]
    cells = [[cell.split("</td>")[0] for cell in row.split('<td class="mono break">')[1:]] for row in rows]
    assert cells == [
        ["reserve#1", "reserve#1"],
        ["charge#1", "<strong>ship#1</strong>"],
        ["mail#1", "–"],
    ]
    assert "Retry anyway" in text
    assert "Waits for code that fits its history" in text
    assert "Retry anyway" not in signed_in("viewer").get(f"/runs/{parked.id}/").content.decode()


def test_a_run_that_waits_for_something_else_shows_no_lists(parked: Run) -> None:
    Run.objects.update(waiting_for={"kind": "sleep", "what": "the sleep"})
    text = signed_in("operator").get(f"/runs/{parked.id}/").content.decode()
    assert 'id="mismatch"' not in text
    assert "Retry anyway" not in text


def test_the_api_carries_the_lists_and_lets_it_go_on_with_an_audit_row(parked: Run) -> None:
    _, plaintext = access.token_create(name="operator", role="operator", actor=Actor.local())
    api: Any = Caller({"Authorization": f"Bearer {plaintext}"})
    assert api.get(f"/runs/{parked.id}").json()["waiting_for"] == TOLD
    answer = api.post(f"/runs/{parked.id}/retry", {"reason": "charged by hand"})
    assert answer.status_code == 200, answer.content
    found = Run.objects.get()
    assert (found.status, found.waiting_for, found.refused, found.accepted) == ("queued", None, None, 3)
    assert Entry.objects.filter(entry_id=parked.id).exists()
    assert not Timer.objects.exists()
    row = AuditEntry.objects.get(action="runs.retry")
    assert (row.reason, row.before, row.after) == ("charged by hand", {"status": "waiting"}, {"status": "queued"})
    assert api.post(f"/runs/{parked.id}/retry", {}).status_code == 409

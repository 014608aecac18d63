"""A run of very many steps: its page is told the last ones, asks for those in sight, and has an overview of all."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest

from runs import live, manysteps, pages
from runs.models import Run
from tests.support import stored
from tests.support.people import signed_in

pytestmark = pytest.mark.django_db
MANY = 2_500


@pytest.fixture
def long_run() -> Run:
    """2,500 snapshots of two attempts; number 700 failed, 1,000 waited a minute, and 1,500 was never stored."""
    run = stored.run("running", age=4_000)
    stored.attempt(run, 1, "failed")
    stored.attempt(run, 2)
    stored.snapshots(run, 1, 699)
    stored.snapshots(run, 700, 700, kind="failure")
    stored.snapshots(run, 701, 999)
    waited = {"started_at": run.created_at, "finished_at": run.created_at + timedelta(minutes=1)}
    stored.snapshots(run, 1_000, 1_000, kind="wait", **waited)
    stored.snapshots(run, 1_001, 1_499, attempt=2)
    stored.snapshots(run, 1_501, MANY, attempt=2)
    return run


def sequences(items: list[live.Message]) -> list[int]:
    return [item["sequence"] for item in items]


def test_a_page_that_asks_for_the_last_steps_is_told_those_and_from_where_on(long_run: Run) -> None:
    cursor = live.cursor_from(long_run.id, "", "last")
    messages = {m["type"]: m for m in live.reads(cursor).messages}
    assert messages["steps"] == {"v": 1, "type": "steps", "after": MANY - live.LAST_STEPS}
    assert sequences(messages["snapshots"]["items"]) == list(range(MANY - live.LAST_STEPS + 1, MANY + 1))
    stored.snapshots(long_run, MANY + 1, MANY + 2)
    told = {m["type"]: m for m in live.reads(cursor).messages}
    assert sequences(told["snapshots"]["items"]) == [MANY + 1, MANY + 2]
    assert "steps" not in told


def test_of_a_short_run_the_last_steps_are_all() -> None:
    run = stored.run("running")
    stored.snapshots(run, 1, live.LAST_STEPS)
    messages = {m["type"]: m for m in live.reads(live.cursor_from(run.id, "", "last")).messages}
    assert messages["steps"]["after"] == 0
    assert len(messages["snapshots"]["items"]) == live.LAST_STEPS


def test_the_overview_has_all_of_them_in_groups(long_run: Run) -> None:
    found = manysteps.overview(long_run.id)
    assert (found["first"], found["last"], found["from"]) == (1, MANY, 1)
    assert (found["steps"], found["failed"], found["failures"]) == (MANY - 3, 1, [700])
    assert found["attempts"] == [
        {"number": 1, "first": 1, "last": 1_000},
        {"number": 2, "first": 1_001, "last": MANY},
    ]
    assert len(found["groups"]) <= manysteps.GROUPS + 1
    assert sum(group["count"] for group in found["groups"]) == MANY - 1
    assert [group["first"] for group in found["groups"] if group["failed"]] == [690]
    assert [wait["finished_at"] for wait in found["waits"]] == [
        live.plain({"at": long_run.created_at + timedelta(minutes=1)})["at"]
    ]


def test_the_overview_of_more_steps_than_it_looks_at_has_the_latest(
    long_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manysteps, "MOST", 1_000)
    found = manysteps.overview(long_run.id)
    assert (found["first"], found["from"], found["last"]) == (1, MANY - 999, MANY)
    assert found["groups"][0]["first"] == MANY - 999


def test_a_run_without_steps_has_an_empty_overview() -> None:
    found = manysteps.overview(stored.run("queued").id)
    assert (found["first"], found["last"], found["groups"], found["attempts"]) == (0, 0, [], [])


def test_pages_of_steps_are_read_by_sequence_over_http(long_run: Run) -> None:
    client = signed_in("viewer")
    address = f"/runs/{long_run.id}/steps/"
    assert sequences(client.get(f"{address}?after=1400").json()["items"]) == [
        *range(1_401, 1_500),
        *range(1_501, 1_602),
    ]
    assert sequences(client.get(address).json()["items"]) == list(range(1, manysteps.PAGE + 1))
    assert client.get(f"{address}?after={MANY}").json() == {"items": []}
    assert client.get(f"{address}overview/").json()["last"] == MANY


@pytest.mark.parametrize("after", ["x", "-1", "9" * 12, "9" * 400, "%00", "1.5"])
def test_an_odd_sequence_is_refused_in_words(long_run: Run, after: str) -> None:
    answer = signed_in("viewer").get(f"/runs/{long_run.id}/steps/?after={after}")
    assert (answer.status_code, "after is" in answer.json()["message"]) == (422, True)


def test_a_snapshot_of_an_impossible_number_is_not_found(long_run: Run) -> None:
    assert signed_in("viewer").get(f"/runs/{long_run.id}/snapshots/{'9' * 30}/").status_code == 404


def test_children_are_read_page_by_page() -> None:
    parent = stored.run("waiting")
    ids = [stored.run("completed", parent_id=parent.id).id for _ in range(2 * pages.MAX_CHILDREN + 1)]
    client = signed_in("viewer")
    seen: list[uuid.UUID] = []
    after: uuid.UUID | None = None
    while found := pages.children(parent.id, after):
        seen += [run.id for run in found.page]
        assert found.total == len(ids)
        if (after := found.next) is None:
            break
    assert seen == ids
    first = client.get(f"/runs/{parent.id}/children/").content.decode()
    assert f"?after={ids[pages.MAX_CHILDREN - 1]}" in first
    second = client.get(f"/runs/{parent.id}/children/?after={ids[pages.MAX_CHILDREN - 1]}").content.decode()
    assert (str(ids[0]) in second, str(ids[pages.MAX_CHILDREN]) in second) == (False, True)
    assert client.get(f"/runs/{parent.id}/children/?after=nonsense").content.decode().count("<tr>") == 51

"""Two runs or attempts side by side: page, API and command line."""

from __future__ import annotations

import io
import json
import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from holdfast.access import services as access
from holdfast.access.grants import Actor
from runs.compare import selectors
from runs.compare.selectors import compare
from runs.errors import InvalidFilter, UnknownRun
from runs.models import Run, Snapshot
from tests.support import stored
from tests.support.api import Caller, problem
from tests.support.people import signed_in

pytestmark = pytest.mark.django_db
NOBODY = uuid.UUID("01900000-0000-7000-8000-000000000000")


def step(of: Run, sequence: int, key: str, seconds: float, **fields: Any) -> None:
    at = of.created_at
    values = {"kind": "step", "name": key, "attempt": 1, "output": {"ok": True}, **fields}
    Snapshot.objects.create(
        run=of, sequence=sequence, key=key, started_at=at, finished_at=at + timedelta(seconds=seconds), **values
    )


@pytest.fixture
def two() -> tuple[Run, Run]:
    """A run that failed, and its replay with another payload, which completed."""
    a = stored.run("failed", payload={"day": "Monday", "pages": 3}, version="v1", error=stored.error(), tags=["x"])
    b = stored.run("completed", payload={"day": "Tuesday", "pages": 3}, version="v2", replay_of=a.id, output={"n": 1})
    step(a, 1, "loads#1", 0.2)
    step(a, 2, "sums#1", 0.1, output={"sum": 1})
    step(a, 3, "sends#1", 1.0, kind="failure", output=None)
    step(b, 1, "loads#1", 2.5)
    step(b, 2, "checks#1", 0.1)
    step(b, 3, "sums#1", 0.1, output={"sum": 2})
    step(b, 4, "sends#1", 0.1)
    stored.lines(a, "begins at 12", "no route")
    stored.lines(b, "begins at 13", "sent")
    return a, b


def test_what_differs_is_told_and_what_does_not_is_not(two: tuple[Run, Run]) -> None:
    found = compare(*(str(of.id) for of in two))
    differs = {fact.name for fact in found.facts if fact.differs}
    assert {"Status", "Code version", "Error", "Tags", "Came from"} <= differs
    assert not differs & {"Task", "Queue", "Priority"}
    assert [(line.kind, line.text.strip()) for line in found.payload.lines if line.kind in ("gone", "new")] == [
        ("gone", '"day": "Monday",'), ("new", '"day": "Tuesday",'),
    ]  # fmt: skip
    told = {s.key: (s.slower, s.other_result, s.is_alone, s.differs) for s in found.steps}
    assert list(told) == ["loads#1", "checks#1", "sums#1", "sends#1"], "in the order in which they happened"
    assert told["loads#1"] == ("b", False, False, True)
    assert told["checks#1"] == ("", False, True, True)
    assert told["sums#1"] == ("", True, False, True)
    assert told["sends#1"] == ("a", False, False, True), "another number of failed tries"
    assert [(line.kind, line.text) for line in found.log.lines] == [
        ("same", "begins at 12"), ("gone", "no route"), ("new", "sent"),
    ]  # fmt: skip


def test_a_run_and_itself_differ_in_nothing(two: tuple[Run, Run]) -> None:
    a = str(two[0].id)
    found = compare(a, a)
    assert not any(fact.differs for fact in found.facts)
    assert not any(s.differs for s in found.steps)
    assert (found.payload.lines, found.output.lines, found.log.lines) == ([], [], [])


def test_attempts_of_one_run_are_compared_by_their_own_steps_and_lines() -> None:
    of = stored.run("completed", attempt=2)
    stored.attempt(of, 1, "failed", error=stored.error("first"))
    stored.attempt(of, 2, "completed")
    step(of, 1, "loads#1", 0.1)
    step(of, 2, "sends#1", 0.1, attempt=2)
    stored.lines(of, "one")
    stored.lines(of, "two", attempt=2)
    found = compare(f"{of.id}:1", f"{of.id}:2")
    assert {fact.name: (fact.a, fact.b) for fact in found.facts}["Status"] == ("failed", "completed")
    assert [(s.key, bool(s.a), bool(s.b)) for s in found.steps] == [("loads#1", True, False), ("sends#1", False, True)]
    assert [line.text for line in found.log.lines] == ["one", "two"]


def test_long_things_are_cut_and_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selectors, "MAX_LINES", 5)
    monkeypatch.setattr(selectors, "MAX_STEPS", 2)
    a = stored.run(payload={"items": list(range(50))})
    b = stored.run(payload={"items": list(range(1, 51))})
    stored.snapshots(a, 1, 3)
    stored.lines(a, *(f"{'abcdefghij'[n]} said" for n in range(8)))
    found = compare(str(a.id), str(b.id))
    assert (found.payload.cut, found.log.cut, found.more_steps) == (True, True, True)
    assert len(found.log.lines) == 5
    assert len(found.steps) == 2


@pytest.mark.parametrize("text", ["", "x", f"{NOBODY}:0", f"{NOBODY}:", f"{NOBODY}:{10**12}", f"{NOBODY}:-1", "a\x00b"])
def test_what_names_no_run_is_refused_by_its_parameter(text: str) -> None:
    of = str(stored.run().id)
    with pytest.raises(InvalidFilter, match=r"^b is .*; write a run's id, or id:2"):
        compare(of, text)
    with pytest.raises(InvalidFilter, match=r"^a is"):
        compare(text, of)
    with pytest.raises(InvalidFilter, match="b has no attempt 7"):
        compare(of, f"{of}:7")
    with pytest.raises(UnknownRun):
        compare(of, str(NOBODY))


def test_the_page_asks_shows_and_refuses(two: tuple[Run, Run]) -> None:
    client = signed_in("viewer")
    assert "Two runs, or two attempts" in client.get("/runs/compare/").content.decode()
    a, b = two
    page = client.get(f"/runs/compare/?a={a.id}&b={b.id}").content.decode()
    assert "only in B" in page
    assert "another result" in page
    assert "Tuesday" in page
    linked = client.get(f"/runs/{b.id}/").content.decode()
    assert f"/runs/compare/?a={a.id}&amp;b={b.id}" in linked
    for query in ("a=x", f"a={a.id}", f"a={a.id}&b={NOBODY}", "a=%00&b=%00"):
        answer = client.get(f"/runs/compare/?{query}")
        assert answer.status_code == 422
        assert 'role="alert"' in answer.content.decode()


def test_hostile_values_are_shown_as_they_are() -> None:
    a, b = stored.run(payload={"x": "<script>1</script>"}), stored.run(payload={"x": "<b>"})
    page = signed_in("viewer").get(f"/runs/compare/?a={a.id}&b={b.id}").content.decode()
    assert "<script>1" not in page
    assert "&lt;script&gt;1" in page


def test_the_api_and_the_command_line_tell_the_same(two: tuple[Run, Run]) -> None:
    _, token = access.token_create(name="all", role="viewer", actor=Actor.local())
    api = Caller({"Authorization": f"Bearer {token}"})
    a, b = (str(of.id) for of in two)
    found = api.get(f"/compare?a={a}&b={b}").json()
    assert (found["a"], found["payload"]["same"], found["steps"][0]["b"]["seconds"]) == (a, False, 2.5)
    problem(api.get("/compare"), 422, "invalid_filter", "a")
    problem(api.get(f"/compare?a={a}&b={NOBODY}"), 404, "unknown_run")
    problem(api.get(f"/compare?a={a}&b=%00"), 422, "invalid_filter", "b")

    def command(*words: str) -> str:
        out = io.StringIO()
        call_command("runs", "compare", *words, stdout=out, stderr=io.StringIO())
        return out.getvalue()

    assert json.loads(command(a, b, "--json")) == found
    said = command(a, b)
    assert "* Status" in said
    assert '+   "day": "Tuesday",' in said
    assert "checks#1: – and 100 ms" in said
    with pytest.raises(CommandError):
        command(a, "x")


def test_runs_that_came_to_no_result_are_not_said_to_have_come_to_the_same() -> None:
    ends = [stored.run("failed", error=stored.error()) for _ in range(2)]
    empty = stored.run("completed", output=None)
    client = signed_in("viewer")

    def said(a: object, b: object) -> str:
        return client.get("/runs/compare/", {"a": str(a), "b": str(b)}).content.decode()

    assert "Neither came to a result." in said(ends[0].id, ends[1].id)
    assert "Only B came to a result, and that is null." in said(ends[0].id, empty.id)
    assert "Both came to the same." in said(empty.id, empty.id)


def test_an_attempt_that_failed_does_not_share_the_result_of_the_one_that_completed_its_run() -> None:
    run = stored.run("completed", output={"n": 1}, attempt=2)
    stored.attempt(run, 1, "failed")
    stored.attempt(run, 2, "completed")
    found = compare(f"{run.id}:1", f"{run.id}:2")
    assert [line.kind for line in found.output.lines if "n" in line.text and line.kind == "new"] == ["new"]

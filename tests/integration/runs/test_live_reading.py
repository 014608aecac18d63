"""What an open page is told, by cursor: nothing twice, nothing left out, nothing that a browser would garble."""

import uuid
from datetime import UTC, datetime

import pytest

from runs import levels, live, streams
from runs.live import Cursor
from runs.models import Attempt, Run
from tests.support import stored

pytestmark = pytest.mark.django_db


def told(cursor: Cursor) -> dict[str, live.Message]:
    return {message["type"]: message for message in live.reads(cursor).messages}


def sequences(messages: dict[str, live.Message]) -> list[int]:
    return [line["sequence"] for line in messages["logs"]["items"]]


def test_a_run_that_does_not_exist_is_gone() -> None:
    assert live.reads(Cursor(uuid.uuid4())).gone


def test_a_page_that_opens_gets_everything_of_a_short_run() -> None:
    run = stored.run("completed")
    stored.attempt(run, 1, "completed")
    lines = stored.lines(run, "a", "b")
    first = told(Cursor(run.id))
    hello = {"v": 1, "type": "hello", "after": 0, "earlier": False, "first": None, "lines": 0}
    assert first["hello"] == hello
    assert sequences(first) == lines
    assert first["run"]["run"]["status"] == "completed"
    assert all(message["v"] == 1 for message in first.values())


def test_a_page_that_opens_gets_the_last_lines_of_a_long_run() -> None:
    run = stored.run("completed")
    lines = stored.lines(run, *(str(n) for n in range(live.TAIL + 30)))
    cursor = Cursor(run.id)
    batch = live.reads(cursor)
    hello, logs = batch.messages[0], batch.messages[-1]
    assert (hello["earlier"], hello["after"]) == (True, lines[29])
    assert (hello["first"], hello["lines"]) == (lines[0], 30)
    assert batch.more
    assert [line["sequence"] for line in logs["items"]] == lines[30 : 30 + live.BATCH]
    assert sequences(told(cursor)) == lines[30 + live.BATCH :]


def test_a_snapshot_that_is_committed_after_one_with_a_higher_number_is_told_as_well() -> None:
    run = stored.run("running")
    stored.snapshots(run, 1, 2)
    stored.snapshots(run, 5, 5)
    cursor = Cursor(run.id)
    assert [s["sequence"] for s in told(cursor)["snapshots"]["items"]] == [1, 2, 5]
    stored.snapshots(run, 4, 4)
    stored.snapshots(run, 6, 6)
    late = told(cursor)["snapshots"]
    assert ([s["sequence"] for s in late["items"]], late["next"]) == ([4, 6], 6)
    assert live.reads(cursor).messages == []
    stored.snapshots(run, 3, 3)
    stored.snapshots(run, 8, 8)
    late = told(cursor)["snapshots"]
    assert ([s["sequence"] for s in late["items"]], late["next"]) == ([3, 8], 8)
    assert cursor.missing == [7]


def test_a_page_that_comes_back_is_told_what_it_had_been_passed_over_for_and_nothing_that_it_has() -> None:
    run = stored.run("running")
    stored.snapshots(run, 1, 3)
    stored.snapshots(run, 6, 9)
    told(Cursor(run.id))
    stored.snapshots(run, 4, 4)
    back = live.cursor_from(run.id, "0", "9,5,4")
    late = told(back)["snapshots"]
    assert ([s["sequence"] for s in late["items"]], late["next"]) == ([4], 9)
    assert back.missing == [5]
    stored.snapshots(run, 5, 5)
    stored.snapshots(run, 10, 10)
    again = told(live.cursor_from(run.id, "0", "9,5"))["snapshots"]
    assert ([s["sequence"] for s in again["items"]], again["next"]) == ([5, 10], 10)
    assert "snapshots" not in told(live.cursor_from(run.id, "0", "10"))


def test_of_the_numbers_a_page_misses_only_some_of_the_latest_are_looked_for() -> None:
    many = ",".join(str(n) for n in range(1_000, 0, -1))
    missing = live.cursor_from(uuid.uuid4(), "", many).missing
    assert missing == list(range(1_000 - live.MISSING, 1_000))
    assert live.cursor_from(uuid.uuid4(), "", "9,x,,-1,9,12,7,7").missing == [7]


def test_what_was_told_is_not_told_again() -> None:
    run = stored.run("running")
    stored.attempt(run)
    stored.lines(run, "a")
    stored.snapshots(run, 1, 1)
    cursor = Cursor(run.id)
    told(cursor)
    assert live.reads(cursor).messages == []
    new = stored.lines(run, "b")
    assert list(told(cursor)) == ["logs"]
    assert cursor.logs == new[0]


def test_lines_of_other_runs_are_not_told() -> None:
    run, other = stored.run(), stored.run()
    stored.lines(other, "theirs")
    assert "logs" not in told(Cursor(run.id))


def test_an_attempt_is_told_again_when_it_ends_and_before_the_next() -> None:
    run = stored.run("running")
    first = stored.attempt(run)
    cursor = Cursor(run.id)
    assert [a["status"] for a in told(cursor)["attempts"]["items"]] == ["running"]
    Attempt.objects.filter(pk=first.pk).update(status="failed", finished_at=run.created_at, error=stored.error())
    stored.attempt(run, 2)
    found = told(cursor)["attempts"]["items"]
    assert [(a["number"], a["status"], a["error"]) for a in found] == [
        (1, "failed", "no route to shop.example"),
        (2, "running", None),
    ]
    assert "attempts" not in told(cursor)


def test_the_end_is_told_only_after_all_lines() -> None:
    run = stored.run("running")
    cursor = Cursor(run.id)
    told(cursor)
    stored.lines(run, *(str(n) for n in range(live.BATCH + 1)))
    Run.objects.filter(pk=run.id).update(status="completed", finished_at=run.created_at)
    assert "run" not in told(cursor)
    assert list(told(cursor)) == ["logs", "run"]


def test_a_run_that_is_reopened_is_told() -> None:
    run = stored.run("failed", error=stored.error())
    cursor = Cursor(run.id)
    told(cursor)
    Run.objects.filter(pk=run.id).update(status="queued", finished_at=None)
    assert told(cursor)["run"]["run"]["status"] == "queued"


def test_lines_are_told_as_pages_take_them() -> None:
    run = stored.run()
    at = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
    fields = {"n": 2**53, "deep": [{"m": -(2**60)}], "ok": 2**53 - 1, "yes": True}
    stored.lines(run, "x" * 9000, level=35, at=at, fields=fields)
    line = told(Cursor(run.id))["logs"]["items"][0]
    assert (line["at"], line["level"]) == ("2026-03-01T12:00:00.123Z", "warning")
    assert line["fields"] == {"n": str(2**53), "deep": [{"m": str(-(2**60))}], "ok": 2**53 - 1, "yes": True}
    assert line["message"].startswith("x" * live.LINE + "…")
    assert "1,000 more characters" in line["message"]


@pytest.mark.parametrize(
    ("after", "snapshots", "logs", "seen"),
    [("", "", None, 0), ("12", "3", 12, 3), ("-1", "x", None, 0), ("9" * 19, "٣", None, 0), ("0", "0", 0, 0)],
)
def test_cursors_of_an_address_are_read_without_error(after: str, snapshots: str, logs: int | None, seen: int) -> None:
    cursor = live.cursor_from(uuid.uuid4(), after, snapshots)
    assert (cursor.logs, cursor.snapshots) == (logs, seen)


@pytest.mark.parametrize(
    ("level", "name"), [(0, "debug"), (10, "debug"), (25, "info"), (50, "critical"), (99, "critical")]
)
def test_levels_have_names(level: int, name: str) -> None:
    assert levels.nearest(level) == name


def test_chunks_of_all_streams_are_told_once_in_the_order_they_were_sent() -> None:
    run, other = stored.run("running"), stored.run("running")
    first = stored.chunks(run, "a", {"b": 2**60}) + stored.chunks(run, None, name="b", kind="closed")
    stored.chunks(other, "of another run")
    cursor = Cursor(run.id)
    chunks = told(cursor)["chunks"]
    assert [c["sequence"] for c in chunks["items"]] == first
    assert [(c["stream"], c["kind"], c["data"]) for c in chunks["items"]] == [
        ("answer", "chunk", "a"),
        ("answer", "chunk", {"b": str(2**60)}),
        ("b", "closed", None),
    ]
    assert (chunks["next"], chunks["earlier"]) == (first[-1], [])
    assert "chunks" not in told(cursor)
    new = stored.chunks(run, "c", name="c")
    back = live.cursor_from(run.id, "0", "0", str(first[-1]))
    assert [c["sequence"] for c in told(back)["chunks"]["items"]] == new


def test_a_page_that_opens_gets_the_last_chunks_of_each_stream() -> None:
    run = stored.run("completed")
    few = stored.chunks(run, "only one", name="few")
    long = stored.chunks(run, *range(streams.TAIL + 30), name="long")
    cursor, seen = Cursor(run.id), []
    while True:
        batch = live.reads(cursor)
        for message in batch.messages:
            if message["type"] == "chunks":
                assert message["earlier"] == ([] if seen else ["long"])
                seen += [c["sequence"] for c in message["items"]]
        if not batch.more:
            break
    assert seen == few + long[30:]

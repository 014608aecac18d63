"""Pages of a run's log: any line is reached, filters look at all lines, and what was looked at is said."""

from __future__ import annotations

import re
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection

from runs import loglines
from runs.loglines import LineFilter, Place
from runs.models import Run
from tests.support import stored
from tests.support.counting import statements
from tests.support.people import signed_in

pytestmark = pytest.mark.django_db
ALL = LineFilter()
BEGIN = datetime(2026, 3, 1, 12, tzinfo=UTC)


def sequences(found: loglines.Lines) -> list[int]:
    return [row["sequence"] for row in found.rows]


@pytest.fixture
def run() -> Run:
    """Its lines lie among those of another one, as they do when both are at work."""
    run, other = stored.run("running"), stored.run("running")
    for number in range(30):
        stored.lines(run, f"line {number}", at=BEGIN + timedelta(seconds=number))
        stored.lines(other, "of another run", "and another")
    return run


def whole(run: Run) -> list[int]:
    return list(run.log_lines.order_by("sequence").values_list("sequence", flat=True))


def test_pages_forwards_and_backwards_have_every_line_once(run: Run) -> None:
    known = whole(run)
    seen: list[int] = []
    page = loglines.lines(run.pk, ALL, Place(after=0), limit=7)
    while True:
        seen += sequences(page)
        if not page.later:
            break
        page = loglines.lines(run.pk, ALL, Place(after=page.last), limit=7)
    assert seen == known
    page = loglines.lines(run.pk, ALL, Place(), limit=7)
    assert (sequences(page), page.later, page.last) == (known[-7:], False, known[-1])
    back = sequences(page)
    while page.earlier:
        page = loglines.lines(run.pk, ALL, Place(before=page.first), limit=7)
        back = [*sequences(page), *back]
    assert back == known


def test_a_page_that_ends_just_at_the_last_line_says_that_there_are_no_more(run: Run) -> None:
    known = whole(run)
    assert not loglines.lines(run.pk, ALL, Place(after=known[22]), limit=7).later
    assert not loglines.lines(run.pk, ALL, Place(before=known[7]), limit=7).earlier
    assert loglines.lines(run.pk, ALL, Place(after=known[21]), limit=7).later
    beyond = loglines.lines(run.pk, ALL, Place(after=known[-1]), limit=7)
    assert (sequences(beyond), beyond.last, beyond.later) == ([], known[-1], False)


def test_a_page_around_a_line_has_it_in_its_middle(run: Run) -> None:
    known = whole(run)
    page = loglines.lines(run.pk, ALL, Place(around=known[15]), limit=10)
    assert (sequences(page), page.here) == (known[10:20], known[15])
    assert (page.earlier, page.later) == (True, True)
    between = loglines.lines(run.pk, ALL, Place(around=known[15] + 1), limit=10)
    assert sequences(between) == known[11:21], "no line of this run has that number: those around it"


@pytest.mark.parametrize(("seconds", "number"), [(-60, 0), (0, 0), (0.5, 1), (17, 17), (28.5, 29), (29, 29)])
def test_a_time_leads_to_the_first_line_that_is_not_older(run: Run, seconds: float, number: int) -> None:
    known = whole(run)
    at = BEGIN + timedelta(seconds=seconds)
    page = loglines.lines(run.pk, ALL, Place(at=at), limit=10)
    assert page.here is not None
    assert next(n for n in sequences(page) if n >= page.here) == known[number]


def test_a_time_after_the_last_line_leads_to_the_end_and_no_lines_to_nowhere(run: Run) -> None:
    page = loglines.lines(run.pk, ALL, Place(at=BEGIN + timedelta(hours=1)), limit=10)
    assert (sequences(page), page.later) == (whole(run)[-5:], False)
    nothing = loglines.lines(uuid.uuid4(), ALL, Place(at=BEGIN), limit=10)
    assert (sequences(nothing), nothing.earlier, nothing.later) == ([], False, False)


def test_filters_are_served_here() -> None:
    run = stored.run()
    stored.lines(run, "plain")
    stored.lines(run, "in a call", step="search#1")
    stored.lines(run, "in another", step="search#12", attempt=2, level=40)
    stored.lines(run, "elsewhere", step="searching#1", fields={"tokens": 120, "who": "kelp"})
    stored.lines(run, "100 % of a_b\\c")

    def found(**wanted: object) -> list[str]:
        return [row["message"] for row in loglines.lines(run.pk, LineFilter(**wanted), Place()).rows]  # type: ignore[arg-type]

    assert found(step="search") == ["in a call", "in another"]
    assert found(step="search#1") == ["in a call"]
    assert found(attempt=2) == found(level=40) == ["in another"]
    assert found(search="ELSE") == found(search="tokens=120") == found(search="who=kelp") == ["elsewhere"]
    assert found(search="0 % of a_b\\") == ["100 % of a_b\\c"]
    assert found(search="a%b") == []


def test_what_is_shown_to_nobody_is_not_found_by_guessing(settings: Any) -> None:
    run = stored.run()
    stored.lines(run, "signed in", fields={"deep": {"Api-Key": "s3cret"}, "who": "kelp"})

    def found(search: str) -> list[str]:
        return [row["message"] for row in loglines.lines(run.pk, LineFilter(search=search), Place()).rows]

    assert (found("s3cr"), found("Api-Key=s"), found("signed")) == ([], [], ["signed in"])
    settings.HOLDFAST_REDACT = ()
    assert found("s3cr") == ["signed in"]


def test_a_search_is_bounded_and_says_how_far_it_has_looked(monkeypatch: pytest.MonkeyPatch) -> None:
    run = stored.run()
    first = stored.lines(run, "needle")
    hay = stored.lines(run, *("hay" for _ in range(50)))
    monkeypatch.setattr(loglines, "LOOK", 20)
    needle = LineFilter(search="needle")
    page = loglines.lines(run.pk, needle, Place())
    assert (sequences(page), page.first, page.earlier) == ([], hay[30], True)
    page = loglines.lines(run.pk, needle, Place(before=page.first))
    page = loglines.lines(run.pk, needle, Place(before=page.first))
    assert (sequences(page), page.first, page.earlier) == (first, first[0], False)
    page = loglines.lines(run.pk, needle, Place(after=first[0]))
    assert (sequences(page), page.last, page.later) == ([], hay[19], True)


def test_pages_are_read_by_the_primary_key(run: Run) -> None:
    for _ in range(20):
        stored.lines(stored.run(), *("another run's" for _ in range(200)))
    wanted = {"run": run.pk, "look": 501, "limit": 501, "most": 8_000, **ALL.params()}
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE runs_logline; SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off")
        for query, begin in ((loglines.SQL.log_lines_after, 0), (loglines.SQL.log_lines_before, 2**62)):
            cursor.execute(f"EXPLAIN {query}", {**wanted, "from": begin})
            plan = "\n".join(row[0] for row in cursor.fetchall())
            looked = plan.split("CTE looked")[1].split("Nested Loop")[0]
            assert "pkey" in looked, plan
            assert not re.search(r"->  (Incremental )?Sort ", looked), plan


def test_the_page_tells_lines_as_the_socket_does_and_refuses_what_it_does_not_understand(run: Run) -> None:
    client, address = signed_in("viewer"), f"/runs/{run.pk}/log/lines/"
    known = whole(run)
    client.get(address)
    with statements(exactly=6):  # the session, the person, the role, whether there is such a run, two halves
        told = client.get(address, {"around": known[3], "level": "info", "attempt": "1"}).json()
    assert [item["sequence"] for item in told["items"]] == known
    assert told["items"][0]["at"] == "2026-03-01T12:00:00.000Z"
    assert (told["earlier"], told["later"], told["here"]) == (False, False, known[3])
    for asked, said in [
        ({"after": "x"}, "whole number"),
        ({"after": "9" * 19}, "whole number"),
        ({"after": "1", "before": "2"}, "before stands beside after"),
        ({"at": "yesterday"}, "time like"),
        ({"level": "loud"}, "critical"),
        ({"q": "a\x00b"}, "control character"),
        ({"q": "x" * 201}, "201 characters"),
        ({"attempt": "1" * 30}, "whole number"),
        ({"colour": "red"}, "no parameter"),
    ]:
        answer = client.get(address, asked)
        assert (answer.status_code, said in answer.json()["message"]) == (422, True), answer.content
    assert client.get(f"/runs/{uuid.uuid4()}/log/lines/").status_code == 404
    assert signed_in(None).get(address).status_code == 403

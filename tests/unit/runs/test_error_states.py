"""How a group of errors is judged, and drawn: pure."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from runs import charts
from runs.errorgroups.spark import HEIGHT, spark
from runs.errorgroups.states import DAY, LEAST, Facts, State, state_of
from runs.errorgroups.trace import lines

NOW = datetime(2026, 11, 29, 12, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)
#: Seen for a month, one failed try an hour.
KNOWN = Facts(NOW - 30 * DAY, None, None, None, None, lately=1, before=24, today=24, since=0, relapsed=False)


def test_what_was_first_seen_within_a_day_or_since_the_last_deploy_is_new() -> None:
    assert state_of(replace(KNOWN, first_seen=NOW - 23 * HOUR), NOW) == State.NEW
    three_days = replace(KNOWN, first_seen=NOW - 3 * DAY)
    assert state_of(three_days, NOW) == State.STEADY
    assert state_of(three_days, NOW, NOW - 4 * DAY) == State.NEW
    assert state_of(three_days, NOW, NOW - 2 * DAY) == State.STEADY, "it was there before that deploy"
    month = replace(KNOWN, first_seen=NOW - 20 * DAY)
    assert state_of(month, NOW, NOW - 21 * DAY) == State.STEADY, "nothing stays new for ever"


def test_what_is_resolved_comes_back_with_a_version_that_had_not_met_it() -> None:
    resolved = replace(KNOWN, resolved_at=NOW - DAY)
    assert state_of(resolved, NOW) == State.RESOLVED
    assert state_of(replace(resolved, relapsed=True), NOW) == State.REGRESSED
    assert state_of(replace(resolved, relapsed=True, first_seen=NOW - HOUR), NOW) == State.REGRESSED


@pytest.mark.parametrize(
    ("until", "most", "since", "expected"),
    [
        (HOUR, None, 1_000, State.SNOOZED),
        (-HOUR, None, 0, State.STEADY),
        (None, 10, 9, State.SNOOZED),
        (None, 10, 10, State.STEADY),
        (HOUR, 10, 10, State.STEADY),
        (-HOUR, 10, 0, State.STEADY),
    ],
)
def test_a_snooze_ends_with_its_time_or_its_count_whichever_comes_first(
    until: timedelta | None, most: int | None, since: int, expected: State
) -> None:
    facts = replace(
        KNOWN, snoozed_at=NOW - DAY, snoozed_until=NOW + until if until else None, snoozed_for=most, since=since
    )
    assert state_of(facts, NOW) == expected


def test_growing_is_against_its_own_day_before() -> None:
    # An hour and a half were counted lately, at one an hour of the day before.
    assert state_of(replace(KNOWN, lately=LEAST), NOW) == State.GROWING
    assert state_of(replace(KNOWN, lately=LEAST - 1, before=0), NOW) == State.STEADY, "few are no trend"
    assert state_of(replace(KNOWN, lately=40, before=24 * 20), NOW) == State.STEADY
    assert state_of(replace(KNOWN, lately=100, before=24 * 20), NOW) == State.GROWING
    assert state_of(replace(KNOWN, lately=0, before=0, today=0), NOW) == State.QUIET


def test_every_state_has_a_colour_and_an_icon() -> None:
    from holdfast.icons import ICONS

    assert all(state.look and state.icon in ICONS for state in State)
    assert [state for state in State if not state.is_open] == [State.SNOOZED, State.RESOLVED]


def test_bars_are_as_high_as_their_share_and_one_is_always_seen() -> None:
    found = spark([0, 1, 1_000], "an hour")
    assert [(bar.x, bar.y + bar.height) for bar in found.bars] == [(4, HEIGHT), (8, HEIGHT)]
    assert 1 < found.bars[0].height < found.bars[1].height == HEIGHT
    assert found.path == f"M4 {HEIGHT}v-1.5h3V{HEIGHT}zM8 {HEIGHT}v-20h3V{HEIGHT}z"
    assert found.words == "at most 1,000 in an hour"
    assert spark([0, 0], "a day").bars == []
    assert spark([], "a day").words == "none in this time"


def test_the_frames_of_the_project_are_marked_in_a_traceback() -> None:
    text = (
        "Traceback (most recent call last):\n"
        '  File "/srv/shop/tasks.py", line 3, in work\n'
        "    fetch()\n"
        '  File "/usr/lib/python3.11/site-packages/httpx/_api.py", line 9, in get\n'
        "    return send()\n"
        "           ^^^^^^\n"
        "httpx.ConnectError: no route\n"
        "\nDuring handling of the above exception, another exception occurred:\n"
    )
    found = lines(text)
    assert "\n".join(line.text for line in found) == text.rstrip("\n")
    assert [line.kind for line in found] == ["", "ours", "ours", "theirs", "theirs", "theirs", "", "", ""]
    assert lines("") == []


def test_the_chart_has_a_bar_for_each_bin_and_a_mark_for_each_deploy() -> None:
    start = NOW - 3 * HOUR
    figure = charts.failed_tries([0, 4, 1], start=start, hours=1, deploys=[(start + HOUR, "sums")])
    assert figure["data"][0]["y"] == [0, 4, 1]
    assert figure["layout"]["annotations"][0]["text"] == "deploy"
    assert charts.failed_tries([0, 0], start=start, hours=1)["data"] == []

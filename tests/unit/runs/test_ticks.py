"""When ticks are."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runs.schedules.ticks import Timing, TimingError, jitter, prose

BERLIN, YORK = ZoneInfo("Europe/Berlin"), ZoneInfo("America/New_York")


def local(timing: Timing, after: datetime, count: int) -> list[str]:
    zone = ZoneInfo(timing.timezone)
    return [f"{tick.astimezone(zone):%m-%d %H:%M%z}" for tick in islice(timing.ticks(after), count)]


def test_a_time_that_does_not_exist_is_at_the_first_moment_after_the_gap() -> None:
    daily = Timing(cron="30 2 * * *", timezone="Europe/Berlin")
    after = datetime(2026, 3, 28, 12, tzinfo=BERLIN)
    assert local(daily, after, 2) == ["03-29 03:00+0200", "03-30 02:30+0200"]
    york = Timing(cron="30 2 * * *", timezone="America/New_York")
    assert local(york, datetime(2026, 3, 7, 12, tzinfo=YORK), 2) == ["03-08 03:00-0400", "03-09 02:30-0400"]


def test_a_time_that_comes_twice_is_at_the_first_of_the_two() -> None:
    daily = Timing(cron="30 2 * * *", timezone="Europe/Berlin")
    after = datetime(2026, 10, 24, 12, tzinfo=BERLIN)
    assert local(daily, after, 2) == ["10-25 02:30+0200", "10-26 02:30+0100"]
    york = Timing(cron="30 1 * * *", timezone="America/New_York")
    assert local(york, datetime(2026, 10, 31, 12, tzinfo=YORK), 2) == ["11-01 01:30-0400", "11-02 01:30-0500"]


@pytest.mark.parametrize("cron", ["@daily", "@midnight", "@Daily", "@weekly"])
def test_midnight_by_another_name_comes_once_where_it_comes_twice(cron: str) -> None:
    havana = Timing(cron=cron, timezone="America/Havana")  # at 1:00 of that Sunday it is 0:00 again
    found = local(havana, datetime(2026, 10, 31, 12, tzinfo=ZoneInfo("America/Havana")), 2)
    assert found == ["11-01 00:00-0400", "11-08 00:00-0500" if cron == "@weekly" else "11-02 00:00-0500"]


def test_what_goes_by_every_hour_goes_by_elapsed_time() -> None:
    half = Timing(cron="*/30 * * * *", timezone="Europe/Berlin")
    found = list(islice(half.ticks(datetime(2026, 10, 24, 23, 0, tzinfo=UTC)), 8))
    assert {b - a for a, b in pairwise(found)} == {timedelta(minutes=30)}
    found = list(islice(half.ticks(datetime(2026, 3, 29, 0, 0, tzinfo=UTC)), 6))
    assert {b - a for a, b in pairwise(found)} == {timedelta(minutes=30)}
    hourly = Timing(cron="@hourly", timezone="Europe/Berlin")
    found = list(islice(hourly.ticks(datetime(2026, 10, 24, 22, 0, tzinfo=UTC)), 5))
    assert {b - a for a, b in pairwise(found)} == {timedelta(hours=1)}


def test_intervals_are_counted_from_one_moment_whoever_counts() -> None:
    timing = Timing(every=90)
    moment = datetime(2026, 5, 1, 12, 0, 10, tzinfo=UTC)
    first, second = islice(timing.ticks(moment), 2)
    assert first.timestamp() % 90 == 0
    assert second - first == timedelta(seconds=90)
    assert timing.after(first) == second
    assert timing.between(first, second + timedelta(seconds=1), 10) == [second]


def test_of_many_ticks_the_latest_are_kept() -> None:
    timing = Timing(every=60)
    end = datetime(2026, 5, 1, tzinfo=UTC)
    found = timing.between(end - timedelta(days=1), end, 3)
    assert found == [end - timedelta(minutes=2), end - timedelta(minutes=1), end]


def test_the_latest_of_years_of_minutes_are_found_and_those_of_a_rare_cron_too() -> None:
    start, end = datetime(2016, 1, 1, tzinfo=UTC), datetime(2026, 5, 1, tzinfo=UTC)
    assert Timing(cron="* * * * *").between(start, end, 2) == [end - timedelta(minutes=1), end]
    yearly = Timing(cron="@yearly").between(start, end, 20)
    assert [tick.year for tick in yearly] == list(range(2017, 2027)), "after the start, so not its own"
    assert Timing(cron="@yearly").between(start, end, 3) == yearly[-3:]
    assert Timing(cron="@yearly").between(end, start, 3) == []


@given(
    st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1)),
    st.sampled_from(["*/7 * * * *", "30 2 * * *", "0 0 1 * *", "15 3 * * 1-5", "@hourly", "59 23 31 12 *"]),
    st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia"]),
)
def test_ticks_come_one_after_the_other_and_a_restart_finds_the_same(at: datetime, cron: str, zone: str) -> None:
    timing, moment = Timing(cron=cron, timezone=zone), at.replace(tzinfo=UTC)
    found = list(islice(timing.ticks(moment), 5))
    assert moment < found[0]
    assert all(a < b for a, b in pairwise(found))
    assert [timing.after(tick) for tick in found[:-1]] == found[1:]


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("cron", {}),
        ("cron", {"cron": "* * * * *", "every": 60}),
        ("cron", {"cron": "* * * *"}),
        ("cron", {"cron": "* * * * * *"}),
        ("cron", {"cron": "61 * * * *"}),
        ("cron", {"cron": "0 0 30 2 *"}),
        ("cron", {"cron": "@never"}),
        ("cron", {"cron": "\x00 * * * *"}),
        ("cron", {"cron": 5}),
        ("cron", {"cron": "R R * * *"}),
        ("cron", {"cron": "0 r(9-17) * * *"}),
        ("cron", {"cron": "5,R(10-20) * * * *"}),
        ("cron", {"cron": "H H * * *"}),
        ("timezone", {"cron": "* * * * *", "timezone": "Europe/Atlantis"}),
        ("timezone", {"cron": "* * * * *", "timezone": "../etc/passwd"}),
        ("every", {"every": 0}),
        ("every", {"every": -1}),
        ("every", {"every": 10**12}),
        ("every", {"every": float("nan")}),
        ("every", {"every": True}),
    ],
)
def test_a_timing_that_cannot_be_is_refused(field: str, values: dict[str, Any]) -> None:
    with pytest.raises(TimingError) as found:
        Timing(**values)
    assert found.value.field == field


@given(st.floats(0, 86_400), st.integers(0, 10**9))
def test_jitter_is_within_its_bounds_and_the_same_for_the_same_tick(most: float, second: int) -> None:
    tick = datetime.fromtimestamp(second, UTC)
    found = jitter("report", tick, most)
    assert 0 <= found <= most
    assert found == jitter("report", tick, most)


@pytest.mark.parametrize(
    ("cron", "said"),
    [
        ("30 9 * * 1-5", "at 09:30, Monday through Friday"),
        ("*/5 * * * *", "every 5 minutes"),
        ("@weekly", "at 00:00, only on Sunday"),
        ("0 12 L * *", "at 12:00, on the last day of the month"),
    ],
)
def test_a_cron_expression_is_said_in_words(cron: str, said: str) -> None:
    assert prose(cron) == said


_FIELD = st.sampled_from(
    ["*", "*/7", "1", "0", "12", "1-5", "1-5/2", "1,2,3", "L", "sun", "mon-fri", "1#2", "jan", "JAN-MAR", "?"]
)


@given(st.lists(_FIELD, min_size=5, max_size=5).map(" ".join))
def test_whatever_ticks_has_words_or_none_and_never_an_error(cron: str) -> None:
    try:
        Timing(cron=cron)
    except TimingError:
        return
    assert isinstance(prose(cron), str)

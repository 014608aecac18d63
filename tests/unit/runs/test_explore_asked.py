"""What an address of Explore may ask for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runs import histogram
from runs.errors import InvalidFilter
from runs.explore import links
from runs.explore.asked import LONGEST, MAX_BINS, Asked, Box
from runs.filters import RunFilter
from runs.search.terms import text_of

NOW = datetime(2026, 3, 1, 12, 34, 56, tzinfo=UTC)
TIMES = st.datetimes(datetime(2001, 1, 1), datetime(2100, 1, 1)).map(lambda at: at.replace(tzinfo=UTC, microsecond=0))
SPANS = st.integers(1, 10**10).map(lambda ms: timedelta(milliseconds=ms))


def asked(query: str) -> Asked:
    return Asked.parse(dict(parse_qsl(query)))


def test_without_anything_it_is_the_last_day() -> None:
    window = asked("").window(NOW)
    assert window.start <= NOW - timedelta(days=1)
    assert NOW < window.end <= NOW + timedelta(minutes=16)
    assert (window.minutes, window.start.minute % 15, window.end.minute % 15) == (15, 0, 0)


@given(start=TIMES, length=st.integers(1, int(LONGEST.total_seconds())))
def test_any_time_is_in_few_whole_bins(start: datetime, length: int) -> None:
    end = start + timedelta(seconds=length)
    window = Asked(span="", start=start, end=end).window(NOW)
    assert window.start <= start
    assert window.end >= end
    assert 1 <= window.bins <= MAX_BINS
    assert window.start + window.size * window.bins == window.end


@given(since=TIMES, over=SPANS, more=SPANS, names=st.lists(st.sampled_from("abé %&{x}"), min_size=1).map("".join))
def test_an_address_asks_for_the_same_again(since: datetime, over: timedelta, more: timedelta, names: str) -> None:
    box = Box(since, since + more + timedelta(seconds=1) - timedelta(microseconds=more.microseconds), over, over + more)
    one = Asked(span="", start=since, end=since + timedelta(days=1), task=names.strip() or None, by="queue", box=box)
    assert asked(one.address().removeprefix("?")) == one


@pytest.mark.parametrize(
    ("query", "field", "words"),
    [
        ("span=2y", "span", "write one of 1h, 6h"),
        ("spam=1h", "spam", "did you mean span?"),
        ("by=colour", "by", "write one of task"),
        ("from=2026-01-01T00:00", "to", "is missing"),
        ("to=2026-01-01T00:00", "from", "is missing"),
        ("from=2026-01-02&to=2026-01-01", "to", "is not after from"),
        ("from=2026-01-01&to=2026-02-02", "to", "is more than 31 days after from"),
        ("from=yesterday&to=2026-02-02", "from", "write a time like"),
        ("from=0001-01-01&to=2026-01-02", "from", "write a time like"),
        ("since=2026-01-02&until=2026-01-02", "until", "is not after the begin of the box"),
        ("over=soon", "over", "write a duration like"),
        ("over=2s&under=1s", "under", "is not more than the shortest duration"),
        ("under=0s", "under", "is not more than the shortest duration"),
        ("over=99999999999999w", "over", "write a duration like"),
        ("task=%00", "task", "control character"),
        ("task=" + "x" * 300, "task", "at most 200"),
    ],
)
def test_what_does_not_fit_is_named_with_what_would(query: str, field: str, words: str) -> None:
    with pytest.raises(InvalidFilter) as caught:
        asked(query)
    [fault] = caught.value.data["errors"]
    assert fault["field"] == field
    assert words in fault["message"]


def test_searches_of_bins_and_buckets_are_read_as_they_are_written() -> None:
    window = asked("span=6h").window(NOW)
    for terms in [*links.bins(window), *map(links.bucket, range(histogram.LAST + 1))]:
        if terms:
            assert RunFilter.parse({"q": text_of(terms)}).search == tuple(terms)


def test_edges_of_the_map_are_durations_and_never_the_same_twice_above_ten_milliseconds() -> None:
    first = histogram.bucket(0.01)
    texts = [links.edge_text(number) for number in range(first, histogram.LAST)]
    assert len(set(texts)) == len(texts)
    assert links.edge_text(-1) == links.edge_text(histogram.LAST) == ""

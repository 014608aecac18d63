"""Query parameters become a filter, or a refusal that names each of them."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from django.http import QueryDict
from hypothesis import given
from hypothesis import strategies as st

from runs.filters import InvalidFilter, RunFilter, parse_cursor, parse_limit, parse_number, refuse_unknown

FULL = (
    "status=failed&status=crashed,failed&task=a&queue=q&tag=x&tag=y&parent=01900000-0000-7000-8000-000000000000"
    "&created_after=2026-01-31T09:00:00Z&created_before=2026-01-31T12:00:00%2B02:00"
)


def fields(error: InvalidFilter) -> list[str]:
    return [e["field"] for e in error.data["errors"]]


def test_every_parameter_is_read() -> None:
    assert RunFilter.parse(QueryDict(FULL)) == RunFilter(
        statuses=("failed", "crashed"),
        task="a",
        queue="q",
        tags=("x", "y"),
        parent=UUID("01900000-0000-7000-8000-000000000000"),
        created_after=datetime(2026, 1, 31, 9, tzinfo=UTC),
        created_before=datetime(2026, 1, 31, 10, tzinfo=UTC),
    )


def test_a_plain_mapping_will_do() -> None:
    assert RunFilter.parse({"status": ["failed", "queued"], "task": "a"}) == RunFilter(("failed", "queued"), "a")


def test_empty_values_ask_for_nothing() -> None:
    assert RunFilter.parse(QueryDict("status=&task=&queue=&tag=&parent=&created_after=")) == RunFilter()


def test_a_filter_and_its_link_are_one() -> None:
    found = RunFilter.parse(QueryDict(FULL))
    query = QueryDict(mutable=True)
    for name, value in found.params():
        query.appendlist(name, value)
    assert RunFilter.parse(query).terms == found.terms
    assert RunFilter.parse({"q": found.text}).text == found.text


def test_a_time_without_a_zone_is_utc() -> None:
    assert RunFilter.parse({"created_after": "2026-01-31"}).created_after == datetime(2026, 1, 31, tzinfo=UTC)


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(InvalidFilter) as caught:
        RunFilter.parse(QueryDict("stauts=failed&status=done&task=a&task=b&parent=5&created_after=soon"))
    assert fields(caught.value) == ["stauts", "status", "task", "parent", "created_after"]
    assert "did you mean status" in str(caught.value)
    assert caught.value.status == 422


def test_parameters_of_others_are_let_pass() -> None:
    assert RunFilter.parse({"limit": "5"}, also=("limit",)) == RunFilter()
    refuse_unknown({"limit": "5"}, ("limit",))
    with pytest.raises(InvalidFilter):
        refuse_unknown({"limits": "5"}, ("limit",))


@given(st.dictionaries(st.sampled_from(["status", "task", "tag", "parent", "created_after"]) | st.text(), st.text()))
def test_any_text_is_a_filter_or_a_refusal(params: dict[str, str]) -> None:
    try:
        RunFilter.parse(params)
    except InvalidFilter as error:
        assert error.data["errors"]  # noqa: PT017 - both outcomes are right


@given(st.datetimes(timezones=st.timezones()) | st.datetimes())
def test_any_time_is_a_bound_or_a_refusal(at: datetime) -> None:
    try:
        found = RunFilter.parse({"created_before": at.isoformat()})
    except InvalidFilter:
        return
    assert found.created_before is not None


def test_cursors_and_numbers() -> None:
    assert parse_cursor(None) is None
    assert parse_cursor("01900000000070008000000000000000") == UUID("01900000-0000-7000-8000-000000000000")
    assert (parse_limit(None), parse_limit("7")) == (50, 7)
    assert parse_number("after", "0", least=0, most=9, default=3) == 0


@pytest.mark.parametrize("text", ["0", "201", "-1", "1.5", "ten", "9" * 5000, "٣", " 5"])
def test_a_limit_that_does_not_fit_says_which_would(text: str) -> None:
    with pytest.raises(InvalidFilter, match="from 1 to 200") as caught:
        parse_limit(text)
    assert fields(caught.value) == ["limit"]


@pytest.mark.parametrize("text", ["x", "\x00", "5"])
def test_a_cursor_that_is_none_is_refused(text: Any) -> None:
    with pytest.raises(InvalidFilter):
        parse_cursor(text)


def test_a_misspelt_parameter_is_told_what_is_near_and_one_that_is_like_none_what_there_is() -> None:
    for name, said in {
        "taks": "taks is no parameter here; did you mean task?",
        "period": "period is no parameter here; known are task, version.",
    }.items():
        with pytest.raises(InvalidFilter) as caught:
            refuse_unknown({name: "7d"}, ("task", "version"))
        assert str(caught.value) == said

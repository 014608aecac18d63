"""The grammar of searches: what it reads, what it writes again, and where it points when it cannot read."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runs.filters import InvalidFilter, RunFilter
from runs.models import STATUSES
from runs.search import pointing
from runs.search.grammar import MAX_SEARCH, parse
from runs.search.terms import FIELDS, MAX_ATTEMPT, PAYLOAD, STATES, WORD, Comparing, Term, text_of
from runs.search.values import Json, Moment, duration, duration_text, instant, scalar

DOCS = Path(__file__).parents[3] / "platform/docs/search.md"
ALL = (
    "queue:llm -task:sync is:stuck status:retrying,failed age:>10m duration:<=1h30m tag:x created:2026-01-31 "
    "attempt:>2 key:c-1 worker:kelp version:4f error:5e1f finished:>2026-01-31T09:00Z payload.user.id:42 "
    'payload."odd key":"42" total:>2s started:<2026-01-31T09:00Z research'
)

# --- what there is ----------------------------------------------------------------------------------------------------

PIECES = st.sampled_from(
    [*(f"{name}:" for name in FIELDS), "payload.a", ":", ",", "-", '"', "\\", " ", ">", "<=", "10m", "42", "x", "."]
)
TEXTS = st.text(max_size=60) | st.lists(PIECES | st.text(max_size=3), max_size=12).map("".join)
WORDS = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=20).filter(
    lambda text: text.isprintable()
)
TIMES = st.datetimes(datetime(1971, 1, 1), datetime(9000, 1, 1)).map(lambda at: at.replace(tzinfo=UTC))
SPANS = st.integers(0, 10**12).map(lambda ms: timedelta(milliseconds=ms))
SCALARS = WORDS.map(lambda text: scalar(text, quoted=True)) | st.sampled_from(
    [Json("true"), Json("null"), Json("-1.5e3"), Json("0")]
)
OPS = st.sampled_from([">", ">=", "<", "<="])


def values_of(field: str) -> st.SearchStrategy[Any]:
    by_name: dict[str, st.SearchStrategy[Any]] = {
        "status": st.sampled_from(STATUSES),
        "age": SPANS,
        "duration": SPANS,
        "total": SPANS,
        "created": TIMES.map(instant)
        | TIMES.map(lambda at: Moment(at.replace(second=0, microsecond=0), at)).map(
            lambda m: Moment(m.start, m.start + timedelta(minutes=1))
        ),
        "started": TIMES.map(instant),
        "finished": TIMES.map(instant),
        "attempt": st.integers(0, MAX_ATTEMPT),
        "is": st.sampled_from(STATES),
        "parent": st.uuids(),
        "id": st.uuids(),
        PAYLOAD: SCALARS,
    }
    return by_name.get(field, WORDS)


@st.composite
def terms(draw: st.DrawFn) -> Term:
    field = draw(st.sampled_from([*FIELDS, PAYLOAD, WORD]))
    compares = FIELDS[field].compares if field in FIELDS else Comparing.NO
    compared = compares is Comparing.MUST or (compares is Comparing.MAY and draw(st.booleans()))
    values = draw(st.lists(values_of(field), min_size=1, max_size=1 if compared else 3, unique_by=str))
    path = tuple(draw(st.lists(WORDS, min_size=1, max_size=3))) if field == PAYLOAD else ()
    return Term(field, tuple(values), draw(OPS) if compared else "", draw(st.booleans()), path)


# --- it reads what it writes ------------------------------------------------------------------------------------------


@given(st.lists(terms(), max_size=4, unique=True).map(tuple))
def test_what_is_written_is_read_as_the_same(found: tuple[Term, ...]) -> None:
    assert parse(text_of(found)) == found


@given(TEXTS)
def test_any_text_is_a_search_or_an_error_that_points_into_it(text: str) -> None:
    try:
        found = parse(text)
    except InvalidFilter as error:
        refused = error
    else:
        assert parse(text_of(found)) == found
        return
    for fault in refused.data["errors"]:
        assert fault["field"] == "q"
        assert 0 <= fault["at"] < fault["at"] + fault["length"] <= len(text)
    assert pointing.drawn(refused)


def test_every_kind_of_term_is_read() -> None:
    found = parse(ALL)
    assert text_of(found) == ALL
    assert {term.field for term in found} == {*FIELDS, PAYLOAD, WORD} - {"parent", "id"}
    assert [str(term) for term in found if term.negated] == ["-task:sync"]


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ("", ""),
        ("  tag:x \t\n tag:x ", "tag:x"),
        ("age:>90m", "age:>1h30m"),
        ("duration:<1.5s", "duration:<1s500ms"),
        ("created:>=2026-01-31T09:00+02:00", "created:>=2026-01-31T07:00Z"),
        ('created:"2026-01-31 09:00:01"', "created:2026-01-31T09:00:01Z"),
        ("01900000-0000-7000-8000-000000000000", "id:01900000-0000-7000-8000-000000000000"),
        ('"two words"', '"two words"'),
        ('tag:"plain"', "tag:plain"),
        ("a,b", "a,b"),
        ("payload.n:007", "payload.n:007"),
    ],
)
def test_a_search_has_one_shortest_text(text: str, means: str) -> None:
    assert text_of(parse(text)) == means


@pytest.mark.parametrize(
    ("text", "json"),
    [
        ("42", "42"),
        ("-1.5", "-1.5"),
        ("true", "true"),
        ("null", "null"),
        ("ann", '"ann"'),
        ('"42"', '"42"'),
        ("007", '"007"'),
        ('""', '""'),
        (r'"say \"hi\""', r'"say \"hi\""'),
        ("1e9999", '"1e9999"'),
    ],
)
def test_values_of_a_payload_have_the_types_of_json(text: str, json: str) -> None:
    assert parse(f"payload.a:{text}")[0].values == (Json(json),)


@given(SPANS)
def test_a_duration_is_read_as_it_was_written(span: timedelta) -> None:
    assert duration(duration_text(span)) == span


@given(WORDS, st.lists(WORDS, max_size=3), TIMES)
def test_plain_parameters_are_written_as_a_search_that_means_the_same(task: str, tags: list[str], at: datetime) -> None:
    found = RunFilter.parse({"task": f"{task} {task}", "tag": tags, "created_after": at.isoformat()})
    assert RunFilter.parse({"q": found.text}).terms == found.terms


def test_plain_parameters_and_a_search_are_one_filter() -> None:
    found = RunFilter.parse({"status": "failed", "tag": "x", "q": "age:>10m tag:x"})
    assert found.text == "status:failed tag:x age:>10m"
    assert found.having("status", ("queued",)).text == "tag:x age:>10m status:queued"
    assert found.having("status", ()).text == "tag:x age:>10m"
    assert (found.only("status"), found.only("task")) == (("failed",), ())


# --- it points where it cannot read -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "at", "length", "says", "suggestion"),
    [
        ("tag:x stauts:failed", 6, 7, "did you mean status:?", "status:"),
        ("status:fialed", 7, 6, "did you mean failed?", "failed"),
        ("status:", 0, 7, "has no value", None),
        ("a status:failed,", 2, 14, "has no value", None),
        ("status:failed,,x", 14, 1, "no value before it", None),
        ("a -", 2, 1, "has nothing behind it", None),
        ("--x", 1, 1, "one minus too many", None),
        ('tag:"a b', 4, 1, "not closed", None),
        ('tag:a"b"', 5, 1, "put all of it in quotes", None),
        ('tag:"a"b', 7, 1, "write a space", None),
        ("x age:10m", 2, 7, "needs > or <", "age:>10m"),
        ("age:>soon", 5, 4, "write a duration", None),
        ("task:>x", 0, 7, "cannot be compared", "task:x"),
        ("attempt:>1,2", 11, 1, "one value too many", None),
        ("payload:1", 0, 8, "has no key", None),
        ("payload.a:>x", 11, 1, "compares numbers", None),
        ("12:30", 0, 3, "is no term", None),
        ("parent:5", 7, 1, "UUID", None),
        ("created:>tomorrow", 9, 8, "write a time", None),
        ("created:1969-12-31", 8, 10, "write a time", None),
        ("a\x00b", 1, 1, "control character", None),
        ("x" * (MAX_SEARCH + 1), MAX_SEARCH, 1, "at most 4,000", None),
    ],
)
def test_an_error_points_at_its_characters(text: str, at: int, length: int, says: str, suggestion: str | None) -> None:
    with pytest.raises(InvalidFilter) as caught:
        parse(text)
    fault = caught.value.data["errors"][0]
    assert (fault["at"], fault["length"], fault.get("suggestion")) == (at, length, suggestion)
    assert says in fault["message"]
    assert caught.value.status == 422


def test_all_terms_that_do_not_fit_are_said_at_once_and_drawn_with_carets() -> None:
    with pytest.raises(InvalidFilter) as caught:
        parse("stauts:failed age:>soon")
    assert pointing.drawn(caught.value).splitlines() == [
        "The search cannot be read.",
        "  stauts:failed age:>soon",
        "  ^^^^^^^ is no term; did you mean status:?",
        "  stauts:failed age:>soon",
        "                     ^^^^ does not fit age; write a duration like 30s, 10m, 1h30m or 2d",
    ]
    assert [place.mended for place in pointing.places(caught.value)] == ["status:failed age:>soon", ""]


# --- what the documentation says --------------------------------------------------------------------------------------


def test_the_documented_table_has_every_term_with_an_example_that_is_one() -> None:
    rows = re.findall(r"^\| `([a-z.]+):` \|[^|]*\| `([^`]+)` \| *([a-z ]*?) *\|$", DOCS.read_text(), re.MULTILINE)
    assert [name for name, _, _ in rows] == [*FIELDS, "payload.a.b"]
    for name, example, compares in rows:
        assert [term.field for term in parse(example)] == [name.partition(".")[0]]
        says = {"always": Comparing.MUST, "may": Comparing.MAY, "": Comparing.NO}.get(compares)
        assert name == "payload.a.b" or FIELDS[name].compares is says
    assert parse(re.search(r"```text\n(.*)\n```", DOCS.read_text())[1])  # type: ignore[index]

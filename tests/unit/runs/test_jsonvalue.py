"""What the strict JSON reader lets in, what it refuses, and how it names the culprit."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runs import jsonvalue
from runs.errors import InvalidPayload, NotSerializable
from runs.jsonvalue import InvalidJson, check, encode, parse

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"))
)
KEYS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=8)
VALUES = st.recursive(SCALARS, lambda v: st.lists(v, max_size=4) | st.dictionaries(KEYS, v, max_size=4), max_leaves=12)
POISON = st.sampled_from(["\x00", "\ud800", "a\udfffb", math.nan, math.inf, -math.inf, 10**4000, -(10**5000)])


def refusal(call: Any, *args: Any) -> tuple[str, str]:
    with pytest.raises(InvalidPayload) as caught:
        call(*args)
    first = caught.value.data["errors"][0]
    return first["field"], first["message"]


def nested(levels: int) -> bytes:
    return b"[" * levels + b"]" * levels


@given(VALUES)
def test_a_good_value_passes_and_reads_back_the_same(value: Any) -> None:
    assert json.loads(encode(value)) == value
    assert parse(encode(value).encode()) == value


@given(VALUES, POISON, st.lists(st.integers(0, 3) | KEYS, max_size=5))
def test_poison_anywhere_is_refused_and_its_place_named(good: Any, poison: Any, place: list[Any]) -> None:
    value = poison
    for step in reversed(place):
        value = {step: value, "zz": good} if isinstance(step, str) else [good] * step + [value]
    with pytest.raises(InvalidPayload) as caught:
        check(value, "payload")
    assert str(caught.value).startswith("payload")
    assert caught.value.status == 422


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused_never_a_crash(data: bytes) -> None:
    try:
        check(parse(data))
    except InvalidPayload as error:
        assert error.data["errors"][0]["message"]  # noqa: PT017 - both outcomes are right


@given(VALUES.map(lambda v: json.dumps(v).encode()), st.integers(0, 200), st.binary(min_size=1, max_size=3))
def test_damaged_json_is_read_or_refused_never_a_crash(data: bytes, at: int, damage: bytes) -> None:
    try:
        parse(data[:at] + damage + data[at + 1 :])
    except InvalidPayload as error:
        assert error.data["errors"]  # noqa: PT017 - both outcomes are right


@pytest.mark.parametrize(
    ("body", "field", "words"),
    [
        (b'{"payload":{"a":[1,2,3,{"b":NaN}]}}', "payload.a[3].b", "not a finite number"),
        (b'{"payload":-Infinity}', "payload", "not a finite number"),
        (b'{"payload":1e999}', "payload", "not a finite number"),
        (b'{"payload":{"a":"x\\u0000"}}', "payload.a", "NUL character"),
        (b'{"payload":{"a\\u0000":1}}', 'payload["a\\u0000"]', "NUL character"),
        (b'{"payload":["\\ud800"]}', "payload[0]", "surrogate"),
        (b'{"payload":{"two words":[null,"\\udc00"]}}', 'payload["two words"][1]', "surrogate"),
        (b'{"n":' + b"7" * 4001 + b"}", "n", "more than 4,000 digits"),
        (b'{"n":-' + b"7" * 5000 + b"}", "n", "more than 4,000 digits"),
        (nested(10_000), "", "more than 200 levels"),
        (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "", "more than 200 levels"),
        (nested(201), "[0]" * 10 + "…" + "[0]" * 10, "more than 200 levels"),
    ],
)
def test_what_cannot_be_stored_is_refused_with_its_field(body: bytes, field: str, words: str) -> None:
    where, message = refusal(parse, body)
    assert where == field
    assert words in message


@pytest.mark.parametrize("body", [b"", b"{", b'{"a":1}x', b"[.5]", b"01", b'["a\nb"]', b"\xef\xbb\xbf{}", b"\xff"])
def test_what_is_no_json_is_a_400_that_says_where(body: bytes) -> None:
    with pytest.raises(InvalidJson) as caught:
        parse(body)
    assert caught.value.status == 400
    assert "This is not" in str(caught.value)


def test_big_integers_and_deep_values_within_the_limits_survive() -> None:
    assert parse(b"9" * 4000) == int("9" * 4000)
    assert encode(10**4000 - 1) == "9" * 4000
    value = parse(nested(200))
    assert encode(value).encode() == nested(200)


def test_an_escaped_backslash_before_u0000_is_not_a_nul() -> None:
    assert parse(b'"\\\\u0000"') == "\\u0000"


def test_tuples_become_lists() -> None:
    assert encode({"a": (1, (2,))}) == '{"a":[1,[2]]}'


def test_a_value_that_contains_itself_is_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)
    _, message = refusal(check, loop)
    assert "contains itself" in message


@pytest.mark.parametrize(
    ("value", "field", "words"),
    [
        ({"a": {1, 2}}, "payload.a", "of type set"),
        ({"a": [object()]}, "payload.a[0]", "of type object"),
        ({1: 2}, 'payload["1"]', "keys of an object are text"),
        ({"a": ({None: 1},)}, "payload.a[0].None", "keys of an object are text"),
        ({"k" * 100: b"x"}, f'payload["{"k" * 60}…"]', "of type bytes"),
    ],
)
def test_what_json_cannot_hold_is_refused(value: Any, field: str, words: str) -> None:
    where, message = refusal(check, value)
    assert where == field
    assert words in message


def test_every_fault_is_listed_up_to_a_limit() -> None:
    with pytest.raises(InvalidPayload) as caught:
        check([math.nan] * 50)
    assert [e["field"] for e in caught.value.data["errors"]] == [f"payload[{i}]" for i in range(jsonvalue.MAX_ERRORS)]


def test_the_error_class_and_the_name_of_the_value_are_the_callers() -> None:
    with pytest.raises(NotSerializable, match=r"output\.a has a NUL"):
        check({"a": "\x00"}, "output", NotSerializable)

"""Which values of a JSON are masked, and what becomes of a mask that comes back."""

from __future__ import annotations

import json
from typing import Any

import pytest

from holdfast.redaction import MASK, LostValue, hides, redacted, restored
from runs.live import _text_line
from runs.words import json_line


@pytest.fixture(autouse=True)
def names(settings: Any) -> None:
    settings.HOLDFAST_REDACT = ("password", "api_key", "card.number")


def test_values_under_a_listed_name_are_masked_at_any_depth_and_nothing_else_is() -> None:
    value = {
        "user": "ann", "password": "s3cret", "API-Key": 7, "number": 1,
        "card": {"number": {"first": 42}, "holder": "ann"}, "all": [{"password": ["a"]}, "password"],
    }  # fmt: skip
    before = json.dumps(value)
    assert redacted(value) == {
        "user": "ann", "password": MASK, "API-Key": MASK, "number": 1,
        "card": {"number": MASK, "holder": "ann"}, "all": [{"password": MASK}, "password"],
    }  # fmt: skip
    assert json.dumps(value) == before


def test_nothing_is_shown_as_nothing() -> None:
    assert redacted({"password": None}) == {"password": None}
    assert [redacted(value) for value in ("password", None, 3)] == ["password", None, 3]


def test_a_mask_that_comes_back_is_what_was_stored() -> None:
    stored = {"password": "s3cret", "all": [{"password": "a"}, {"password": "b"}], "n": 1}
    edited: Any = redacted(stored)
    edited["n"], edited["all"] = 2, [*edited["all"], {"password": "new"}]
    assert restored(edited, stored) == {
        "password": "s3cret", "all": [{"password": "a"}, {"password": "b"}, {"password": "new"}], "n": 2,
    }  # fmt: skip
    assert restored({"note": MASK, "password": "other"}, stored) == {"note": MASK, "password": "other"}
    with pytest.raises(LostValue, match="stands for a value that is not there"):
        restored({"all": [{"password": MASK}]}, {"all": []})


def test_a_path_is_hidden_with_all_that_is_in_it() -> None:
    assert [hides(path.split(".")) for path in ("password", "a.b.Api-Key", "card.number.first", "number", "card")] == [
        True, True, True, False, False,
    ]  # fmt: skip


def test_lines_of_json_and_downloads_of_logs_are_masked() -> None:
    assert json_line({"password": "s3cret"}) == f'{{"password": "{MASK}"}}'
    row = {
        "at": "2026-01-01T00:00:00Z", "level": 20, "attempt": 1, "step": None, "message": "in",
        "fields": {"password": "s3cret"},
    }  # fmt: skip
    assert "s3cret" not in _text_line(row)


def test_no_names_mask_nothing(settings: Any) -> None:
    settings.HOLDFAST_REDACT = ()
    assert redacted({"password": "s3cret"}) == {"password": "s3cret"}
    assert restored({"password": MASK}, {}) == {"password": MASK}

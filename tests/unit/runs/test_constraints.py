"""Conditions that are written into a constraint as they stand."""

from __future__ import annotations

import pytest

from runs.constraints import OneOf


def test_only_plain_words_are_written_into_a_constraint() -> None:
    assert OneOf("status", ["timed_out", "failed"]).extra["values"] == "timed_out,failed"
    with pytest.raises(ValueError, match="plain word"):
        OneOf("status", ["it's"])

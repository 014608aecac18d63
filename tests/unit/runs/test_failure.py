"""Errors as data: grouped by what they are, not by when and where they happened to be raised."""

from __future__ import annotations

from typing import Any

from runs.engine import failure


def raised(error: Exception) -> dict[str, Any]:
    try:
        raise error
    except Exception as caught:
        return failure.describe(caught)


def test_the_same_failure_with_other_numbers_has_the_same_fingerprint() -> None:
    first = raised(ValueError("order 17 of 'ann' at 0x7f2a is late by 3.5 s"))
    second = raised(ValueError("order 99 of 'bob' at 0x1111 is late by 12 s"))
    assert first["fingerprint"] == second["fingerprint"]
    assert first["type"] == "ValueError"


def test_another_type_or_another_message_is_another_failure() -> None:
    fingerprints = {raised(e)["fingerprint"] for e in (ValueError("late"), KeyError("late"), ValueError("early"))}
    assert len(fingerprints) == 3


def test_text_is_made_fit_to_be_stored() -> None:
    assert failure.clean("a\x00b", 10) == "a\ufffdb"
    assert failure.clean("half \ud800", 10) == "half ?"
    assert failure.clean("x" * 20, 10) == "x" * 9 + "…"
    assert len(raised(ValueError("x" * 100_000))["message"]) == failure.MAX_MESSAGE


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


def test_an_error_that_cannot_be_printed_is_described_all_the_same() -> None:
    assert "cannot be shown" in raised(Mute())["message"]


def test_a_chain_of_errors_is_told_whole() -> None:
    def work() -> None:
        try:
            raise KeyError("inner")
        except KeyError as error:
            raise ValueError("outer") from error

    try:
        work()
    except ValueError as error:
        text = failure.describe(error)["traceback"]
    assert text.index("inner") < text.index("outer")

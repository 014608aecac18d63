"""Weights of keys, in code and in lines."""

from __future__ import annotations

from typing import Any

import pytest

from queues import Queue
from queues.naming import QueueDeclarationError
from queues.weights import WeightsError, checked, lines, parse


def test_lines_are_read_and_what_is_written_is_read_back() -> None:
    found = parse("gold = 3\n\n a=b = 2 \r\nкельп=100")
    assert found == {"gold": 3, "a=b": 2, "кельп": 100}
    assert parse(lines(found)) == found
    assert parse("") == {} == checked(None)


@pytest.mark.parametrize(
    "text", ["gold", "= 3", "gold = x", "gold = 0", "gold = 101", "gold = ٣", "a=1\na=2", "a = 1.5"]
)
def test_lines_that_cannot_be_are_refused(text: str) -> None:
    with pytest.raises(WeightsError):
        parse(text)


@pytest.mark.parametrize(
    "value",
    [3, [], "gold", {"": 1}, {"a": True}, {"a": 10**30}, {"a\nb": 1}, {" a": 1}, {"\ud800": 1}, {"k" * 201: 1}, {1: 1}],
)
def test_nonsense_is_refused_at_import(value: Any) -> None:
    with pytest.raises(QueueDeclarationError, match="key_weights"):
        Queue("weights-nonsense", key_weights=value)
    assert "weights-nonsense" not in Queue.declared


def test_too_many_are_refused() -> None:
    with pytest.raises(WeightsError, match="1,001"):
        checked({f"k{n}": 1 for n in range(1_001)})

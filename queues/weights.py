"""Weights of concurrency keys: how many runs of a key start in one turn. Written in code, in forms and over the API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from queues.rate import shown

#: Longest key, highest weight, and most keys that have one.
MAX_KEY_LENGTH: Final = 200
MAX_WEIGHT: Final = 100
MAX_WEIGHTS: Final = 1_000

WEIGHT_WORDS: Final = f"a weight is a whole number from 1 to {MAX_WEIGHT}: how many runs of the key start in one turn"
LINES_WORDS: Final = "write one key in a line, such as gold = 3"


class WeightsError(ValueError):
    """Weights that cannot be; its text says what to write."""


def checked(value: Any) -> dict[str, int]:
    """{"gold": 3}, as it may be stored; None is no weights. Raises WeightsError."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise WeightsError(f'is {shown(value)}; write an object of keys and weights, such as {{"gold": 3}}')
    if len(value) > MAX_WEIGHTS:
        raise WeightsError(f"has {len(value):,} keys; at most {MAX_WEIGHTS:,} may have a weight")
    for key, weight in value.items():
        if (
            not isinstance(key, str)
            or not 1 <= len(key) <= MAX_KEY_LENGTH
            or not key.isprintable()
            or key != key.strip()  # in lines, it could not be told apart
        ):
            raise WeightsError(f"has the key {shown(key)}; a key here is 1 to {MAX_KEY_LENGTH} printable characters")
        if isinstance(weight, bool) or not isinstance(weight, int) or not 1 <= weight <= MAX_WEIGHT:
            raise WeightsError(f"of {key[:60]!r} is {shown(weight)}; {WEIGHT_WORDS}")
    return dict(value)


def parse(text: str) -> dict[str, int]:
    """Reads lines of `key = weight`; a key may hold any character but the end of a line. Raises WeightsError."""
    found: dict[str, int] = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        key, sign, weight = (part.strip() for part in line.rpartition("="))
        if not sign or not key:
            raise WeightsError(f"has the line {line[:60]!r}; {LINES_WORDS}")
        if key in found:
            raise WeightsError(f"names the key {key[:60]!r} twice; {LINES_WORDS}")
        if not (weight.isascii() and weight.isdecimal() and len(weight) < 10):
            raise WeightsError(f"of {key[:60]!r} is {weight[:60]!r}; {WEIGHT_WORDS}")
        found[key] = int(weight)
    return checked(found)


def lines(weights: Mapping[str, int]) -> str:
    """What `parse` reads back, in order of keys."""
    return "\n".join(f"{key} = {weight}" for key, weight in sorted(weights.items()))

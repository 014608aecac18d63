import json
import uuid

import pytest

from runs.engine.again import asked_again
from runs.store import Fact, WaitFact


def wait(sequence: int, key: str, attempt: int = 1, *, raised: bool = True) -> Fact:
    output = {"outcome": "timed_out", "value": None} | ({"raised": True} if raised else {})
    return Fact(sequence, "wait", key, attempt, json.dumps(output), None, "go")


def other(sequence: int, kind: str, key: str, attempt: int = 1) -> Fact:
    return Fact(sequence, kind, key, attempt, "1", None, key.partition("#")[0])


def opened(key: str) -> WaitFact:
    return WaitFact(uuid.uuid4(), key, "signal", None, None, 0.0, None, None)


KEY = "signal:go#1"


@pytest.mark.parametrize(
    ("facts", "waits", "attempt", "keys"),
    [
        ([wait(1, KEY)], [opened(KEY)], 1, []),  # still the attempt in which it raised
        ([wait(1, KEY)], [opened(KEY)], 2, [KEY, f"{KEY}~2"]),
        ([wait(1, KEY, raised=False)], [opened(KEY)], 2, []),
        ([wait(1, KEY), other(2, "step", "tell#1")], [opened(KEY)], 2, []),  # handled
        ([wait(1, KEY), other(2, "failure", "tell#1")], [opened(KEY)], 2, []),
        ([wait(1, KEY), other(2, "checkpoint", "")], [opened(KEY)], 2, []),
        ([wait(1, KEY), other(2, "step", "tell:by-key")], [opened(KEY)], 2, []),  # of whichever branch
        ([wait(1, f"{KEY}@1"), other(2, "step", "tell#1@2")], [], 2, [f"{KEY}@1", f"{KEY}@1~2"]),  # another branch
        # Asked again, and not answered when its worker died: the people who were asked keep their token.
        ([wait(1, KEY)], [opened(KEY), opened(f"{KEY}~2")], 3, [KEY, f"{KEY}~2"]),
        ([wait(1, KEY), wait(2, f"{KEY}~2", 2)], [], 3, [KEY, f"{KEY}~2", f"{KEY}~3"]),
        ([wait(1, KEY), wait(2, f"{KEY}~2", 2, raised=False), other(3, "failure", "x#1", 2)], [], 3, [KEY, f"{KEY}~2"]),
        (
            [wait(1, KEY, 9)] + [wait(n, f"{KEY}~{n}", n) for n in (10, 11)],
            [],
            12,
            [KEY, *(f"{KEY}~{n}" for n in (10, 11, 12))],
        ),
    ],
)
def test_what_is_asked_again_and_under_which_key(
    facts: list[Fact], waits: list[WaitFact], attempt: int, keys: list[str]
) -> None:
    found = asked_again(facts, waits, attempt)
    assert list(found.values()) == ([keys] if keys else [])


def test_a_name_with_the_mark_in_it_is_a_name() -> None:
    assert asked_again([wait(1, "signal:a~2#1")], [], 2) == {"signal:a~2#1": ["signal:a~2#1", "signal:a~2#1~2"]}

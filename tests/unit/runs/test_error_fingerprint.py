"""What makes two failures the same: not where in a file they stand today, nor which order it was."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runs.engine import failure
from runs.errorgroups import fingerprint
from runs.errorgroups.fingerprint import is_project, normal

TWO = """
def charge(order):
    total = order["total"]
    if total < 0:
        raise ValueError("bad total")
    vat = order["vat"]
    return total + vat


def work(order):
    return charge(order)
"""


@pytest.fixture
def failing(tmp_path: Path) -> Iterator[Callable[..., dict[str, Any]]]:
    """What `work(argument)` of a module with this text raises, described; always the same file."""

    def describe(text: str, argument: Any) -> dict[str, Any]:
        path = tmp_path / "shop.py"
        path.write_text(text, "utf-8")
        spec = importlib.util.spec_from_file_location("shop_that_fails", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules["shop_that_fails"] = module
        spec.loader.exec_module(module)
        try:
            module.work(argument)
        except Exception as error:
            return failure.describe(error)
        raise AssertionError("it did not fail")

    yield describe
    sys.modules.pop("shop_that_fails", None)


def test_the_same_bug_with_other_ids_is_one_group(failing: Callable[..., dict[str, Any]]) -> None:
    text = "def work(n):\n    raise LookupError(f'no order {n} of ord_{n}f3 at 2026-11-0{n}T10:00:00Z')\n"
    assert failing(text, 1)["fingerprint"] == failing(text, 2)["fingerprint"]


def test_two_bugs_on_other_lines_are_two_groups(failing: Callable[..., dict[str, Any]]) -> None:
    text = "def work(n):\n    if n:\n        raise ValueError('bad')\n    if not n:\n        raise ValueError('bad')\n"
    assert failing(text, 0)["fingerprint"] != failing(text, 1)["fingerprint"], "the lines read the same, and are two"
    missing = [failing(TWO, {})["fingerprint"], failing(TWO, {"total": 1})["fingerprint"]]
    assert missing[0] != missing[1], "a KeyError each, whose messages are names in quotes"


def test_a_line_that_an_edit_above_it_has_moved_stays_in_its_group(failing: Callable[..., dict[str, Any]]) -> None:
    before = failing(TWO, {"total": 1})
    in_front = "import json\n\nLIMIT = 3\n\n\ndef other():\n    return LIMIT\n" + TWO
    within = TWO.replace("    total =", "    # Orders of before 2026 have none.\n    limit = 3\n    total =")
    noted = TWO.replace('order["vat"]', 'order["vat"]  # since 2026')
    for text in (in_front, within, noted):
        after = failing(text, {"total": 1})
        assert after["traceback"] != before["traceback"]
        assert after["fingerprint"] == before["fingerprint"]


def test_a_recursion_is_the_same_however_deep_it_was(failing: Callable[..., dict[str, Any]]) -> None:
    text = "def work(n):\n    if not n:\n        raise ValueError('bottom')\n    work(n - 1)\n"
    assert failing(text, 3)["fingerprint"] == failing(text, 60)["fingerprint"]


def test_a_function_without_a_source_is_told_apart_by_its_own_lines() -> None:
    def raised(text: str, name: str) -> str:
        space: dict[str, Any] = {}
        exec(compile(text, name, "exec"), space)
        try:
            space["work"]()
        except ValueError as error:
            return fingerprint.of("ValueError", "", error.__traceback__)
        raise AssertionError

    once = raised("def work():\n    raise ValueError\n", "/gone/shop.py")
    assert once == raised("\n\n\ndef work():\n    raise ValueError\n", "/gone/shop.py")
    assert once != raised("def work():\n    n = 1\n    raise ValueError(n)\n", "/gone/shop.py")


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("order 17 of 'ann' is late by 3.5 s", "order # of # is late by # s"),
        ("no run 0190a5f2-1b2c-7def-8abc-0123456789ab", "no run #"),
        ("object at 0x7f2a of digest deadbeefdeadbeefdeadbeef", "object at # of digest #"),
        ("can't reach 'x' or 'y'", "can't reach # or #"),
        ("took 10:02:33,5 on 10.0.0.1:5432", "took # on #"),
        ("items [1, 2, 3] and [4]", "items [#] and [#]"),
        ('column "total" of `orders`', "column # of #"),
        ("s3.get of b2b failed", "#.get of # failed"),
        ("plain words stay", "plain words stay"),
        ("two\nlines\tand   spaces", "two lines and spaces"),
        ("", ""),
    ],
)
def test_a_message_keeps_its_words_and_loses_what_differs(message: str, expected: str) -> None:
    assert normal(message) == expected


def test_a_message_is_cut_and_hostile_ones_take_no_time() -> None:
    assert len(normal("word " * 1_000)) <= fingerprint.MAX_NORMAL
    for hostile in ("a" * 100_000, "'" * 100_000, "_" * 50_000 + "1", "1," * 50_000):
        assert len(normal(hostile)) <= fingerprint.MAX_NORMAL


def test_files_of_libraries_and_of_the_engine_are_none_of_the_project() -> None:
    assert is_project("/srv/shop/tasks.py")
    assert is_project(__file__)
    theirs = (pytest.__file__, failure.__file__, "/elsewhere/lib/python3.12/json/decoder.py",
              "/app/venv/lib/python3.11/site-packages/httpx/_client.py", "<frozen importlib._bootstrap>")  # fmt: skip
    assert not any(map(is_project, theirs))


def test_what_a_step_has_raised_says_so_also_as_the_end_of_its_attempt() -> None:
    error = ValueError("no")
    assert "step" not in failure.describe(error)
    assert failure.describe(error, "send#1")["step"] == "send#1"
    assert failure.describe(error)["step"] == "send#1"

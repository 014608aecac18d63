"""The version of a task: what changes it and what does not."""

from __future__ import annotations

import importlib.util
import itertools
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runs.sdk.fingerprint import Fingerprint, fingerprint

ONE = """
from runs import step

LIMIT = 3

@step
def fetch(url: str) -> str:
    return helper(url)

def helper(url):
    return url.upper()

def unrelated():
    return 1

def work(url: str):
    return [fetch(url) for _ in range(LIMIT)]
"""

Load = Callable[[str], Fingerprint]
_numbers = itertools.count()


@pytest.fixture
def load(tmp_path: Path) -> Iterator[Load]:
    """Fingerprint of `work` in a module with this text; always the same module's name."""

    def fingerprint_of(text: str) -> Fingerprint:
        path = tmp_path / f"release{next(_numbers)}.py"
        path.write_text(textwrap.dedent(text))
        spec = importlib.util.spec_from_file_location("fingerprinted", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules["fingerprinted"] = module
        spec.loader.exec_module(module)
        return fingerprint(module.work)

    yield fingerprint_of
    sys.modules.pop("fingerprinted", None)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("    return helper(url)", "    # why\n    return helper( url )"),
        ("def helper(url):", 'def helper(url):\n    """Shouts."""'),
        ("def unrelated():\n    return 1", "def unrelated():\n    return 2"),
        ("@step\n", "@step(timeout=None)\n"),
        ("LIMIT = 3", "LIMIT = 4"),
    ],
    ids=["comments and spaces", "docstrings", "other functions", "how a step is declared", "values of constants"],
)
def test_what_decides_no_step_changes_no_version(load: Load, old: str, new: str) -> None:
    assert old in ONE
    assert load(ONE) == load(ONE.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("return [fetch(url)", "return [fetch(url + '/')"),
        ("return helper(url)", "return helper(url) + '!'"),
        ("url.upper()", "url.lower()"),
        ("@step\n", '@step(name="get")\n'),
    ],
    ids=["the function", "a step it refers to", "a helper of that step", "a step's name"],
)
def test_what_decides_steps_changes_the_version(load: Load, old: str, new: str) -> None:
    assert old in ONE
    assert load(ONE).version != load(ONE.replace(old, new)).version


def test_a_nested_function_and_a_closure_are_part_of_it(load: Load) -> None:
    text = """
    from runs import step

    def made():
        @step
        def inner():
            return 1
        def work():
            def nested():
                return inner()
            return nested()
        return work

    work = made()
    """
    assert load(text).version != load(text.replace("return 1", "return 2")).version
    assert load(text).version != load(text.replace("return inner()", "return [inner()]")).version


def test_functions_that_call_each_other_and_code_without_a_source_have_a_version(load: Load) -> None:
    text = """
    exec('def hidden(n): return n and other(n - 1)')
    def other(n): return hidden(n)
    def work(n): return other(n)
    """
    assert load(text) == load(text)
    assert load(text).version != load(text.replace("n - 1", "n - 2")).version


def test_code_that_may_be_led_away_by_a_clock_or_a_thread_says_so_but_its_steps_may(load: Load) -> None:
    assert not load(ONE).loose
    assert not load(ONE.replace("return helper(url)", "return url.cancel()")).loose
    assert not load(ONE.replace("return url.upper()", "return url.attempt")).loose
    assert load(ONE.replace("return [fetch(url)", "return [fetch(url.attempt)")).loose
    loop = "import asyncio\nasync def work():\n    async with asyncio.timeout(1): pass"
    assert load(loop).loose

"""The pytest plugin (entry point `holdfast`): a clock as a fixture, and the story of inline runs when a test fails.

Nothing else of the kit, and nothing of Django, is imported until a test asks for it.
"""

from __future__ import annotations

import sys
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from holdfast.testing.clock import Clock

_SCRIPT = "holdfast.testing.script"


@pytest.fixture
def holdfast_clock() -> Clock:
    """A clock for `run_inline(…, clock=holdfast_clock)`, which stands still until it is moved."""
    from holdfast.testing import Clock

    return Clock()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, Any, Any]:
    """Each test begins with no runs."""
    _forget()
    try:
        return (yield)
    finally:
        _forget()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Adds the stories of the test's inline runs to the report of its failure."""
    report = yield
    script: Any = sys.modules.get(_SCRIPT)
    if script is not None and report.when == "call" and report.failed:
        for run in script.watched or ():
            report.sections.append(("Holdfast run", run.so_far.story))
    return report


def _forget() -> None:
    script: Any = sys.modules.get(_SCRIPT)
    if script is not None:
        script.watched = []

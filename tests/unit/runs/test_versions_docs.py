"""The example of `platform/docs/versions.md`: what a step decides stays decided, what chance decides is found out."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from holdfast.testing import crash_at, run_inline
from holdfast.testing.errors import NotTheSameSteps
from tests.support.readme import python_of


def worker_dies() -> Any:
    return crash_at("step-called", step="ship")


@pytest.fixture
def example(tmp_path: Path) -> Any:
    path = tmp_path / "versions_of_the_docs.py"
    path.write_text(python_of("versions.md"), "utf-8")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_what_a_step_decided_stays_so_when_the_run_is_entered_again(example: Any) -> None:
    result = run_inline(example.ship_order, order=7, crashes=worker_dies())
    assert result.output == "order 7 is on its way"
    assert (result.steps, result.calls["charge"]) == (("is_new", "charge", "ship"), 1)


def test_what_the_run_itself_changes_must_not_decide(example: Any) -> None:
    with pytest.raises(NotTheSameSteps):
        run_inline(example.ship_order_by_chance, order=7, crashes=worker_dies())

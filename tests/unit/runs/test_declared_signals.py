"""A task that declares its signals refuses others: where they are waited for, and where they are sent."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.testing import run_inline
from runs import task, wait
from runs.errors import DeclarationError, UnknownSignal
from runs.sdk import signals


@task(id="signals-declared", signals=["paid", "cancelled"])
async def declares(name: str) -> str:
    return str(await wait.afirst(wait.asignal(name), wait.asleep(60)))


@task(id="signals-any")
def takes_any() -> Any:
    return wait.signal("whatever", timeout=5)


def test_a_wait_for_a_signal_that_is_not_declared_is_refused() -> None:
    result = run_inline(declares, name="piad")
    assert result.status == "failed"
    assert result.error["type"] == "runs.errors.UnknownSignal"
    assert "Did you mean paid?" in result.error["message"]
    assert "@task(signals=" in result.error["message"]
    assert run_inline(declares, name="paid").status == "completed"


def test_a_signal_that_is_not_declared_is_not_sent() -> None:
    with pytest.raises(UnknownSignal, match="It declares cancelled, paid"):
        signals.check(declares, "xyz")
    signals.check(declares, "paid")
    signals.check(takes_any, "whatever")


@pytest.mark.parametrize("names", ["paid", [""], [1], ["x" * 201]])
def test_a_declaration_that_cannot_be_is_refused(names: Any) -> None:
    with pytest.raises(DeclarationError, match="list of names"):
        task(id="signals-nonsense", signals=names)(lambda: None)

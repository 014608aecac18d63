"""What cannot be promised is refused where it is declared, in words that say what to write."""

from __future__ import annotations

from typing import Any

import pytest

from runs import Reconciled, step
from runs.errors import DeclarationError, NotInRun
from runs.sdk.context import RunContext, current, current_step


def plain(order: int) -> int:
    return order


async def later(order: int) -> int:
    return order


def hook(order: int, *, step_key: str) -> Reconciled:
    return Reconciled.did_not_happen()


@pytest.mark.parametrize(
    ("function", "options", "said"),
    [
        (plain, {"transaction": "replica"}, "no transaction spans two databases"),
        (later, {"transaction": True}, "needs a plain `def`"),
        (plain, {"safety": "maybe"}, 'write "safe" or "unsafe"'),
        (plain, {"transaction": True, "safety": "unsafe"}, "leaves nothing half done"),
        (plain, {"reconcile": hook}, "is for steps with safety"),
        (later, {"safety": "unsafe", "reconcile": hook}, "must be `async def`"),
        (plain, {"safety": "unsafe", "reconcile": later}, "must be a plain function"),
        (plain, {"safety": "unsafe", "reconcile": plain}, r"takes no `step_key`.*def plain\(…, \*, step_key: str\)"),
        (plain, {"safety": "unsafe", "reconcile": 3}, "give a function"),
    ],
)
def test_what_cannot_be_kept_is_refused(function: Any, options: dict[str, Any], said: str) -> None:
    with pytest.raises(DeclarationError, match=said):
        step(**options)(function)


def test_promises_stay_with_the_step_under_another_key() -> None:
    unsafe = step(safety="unsafe", reconcile=hook)(plain).using(key="k")
    assert (unsafe.unsafe, unsafe.promise.reconcile, unsafe.key) == (True, hook, "k")
    assert step(transaction=True)(plain).using(key="k").transaction
    assert not step(plain).unsafe


def test_outside_a_run_an_unsafe_step_is_the_plain_function() -> None:
    assert step(safety="unsafe")(plain)(4) == 4


def test_a_step_key_is_known_inside_a_step_only() -> None:
    from runs import current_run
    from runs.errors import StepMisuse

    with pytest.raises(NotInRun):
        _ = current_run().step_key
    run = object.__new__(type("Run", (RunContext,), dict.fromkeys(RunContext.__abstractmethods__)))
    run.id = "r"
    with_run = current.set(run)
    try:
        with pytest.raises(StepMisuse, match="outside a step"):
            _ = current_run().step_key
        with_step = current_step.set("pay#1")
        assert current_run().step_key == "r:pay#1"
        current_step.reset(with_step)
    finally:
        current.reset(with_run)

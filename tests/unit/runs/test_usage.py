"""Amounts: what is taken, how exactly it is kept, and how it is shown."""

from __future__ import annotations

import pickle
from decimal import Decimal
from typing import Any

import pytest

from runs import task, usage
from runs.errors import DeclarationError, InvalidOption, InvalidUsage
from runs.sdk.options import Options
from runs.sdk.usage import MAX_AMOUNT, amount, budget_of, digits, plain


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (0, "0"),
        (1_200, "1200"),
        (0.1, "0.1"),
        (Decimal("0.020000000001"), "0.020000000001"),
        (Decimal(1) / Decimal(3), "0.333333333333"),
        (1e-15, "0"),
        (Decimal("1E+3"), "1000"),
        (10**17 + 1, "100000000000000001"),
    ],
)
def test_an_amount_is_exact_to_twelve_places(value: Any, kept: str) -> None:
    assert digits(amount(value)) == kept


@pytest.mark.parametrize(
    "value", [-1, -0.5, float("nan"), float("inf"), Decimal("-1"), "1", True, None, MAX_AMOUNT, []]
)
def test_what_is_no_amount_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="write a number"):
        amount(value)


def test_text_is_an_amount_where_json_brings_it() -> None:
    assert budget_of({"cost": "1.50", "pages": 3}) == {"cost": Decimal("1.5"), "pages": Decimal(3)}
    with pytest.raises(ValueError, match="write a number"):
        amount("1,5", text=True)


def test_amounts_are_shown_as_json_numbers() -> None:
    assert [plain(Decimal(text)) for text in ("3", "3.000", "0.02", "123456.789")] == [3, 3, 0.02, 123456.789]
    assert isinstance(plain(Decimal("3.0")), int)


def test_outside_a_run_usage_checks_its_arguments_and_does_nothing() -> None:
    usage(tokens_in=3, cost=Decimal("0.02"), pages=None)
    with pytest.raises(InvalidUsage, match="usage: cost is -1; write a number of 0 or more") as caught:
        usage(cost=-1)
    assert pickle.loads(pickle.dumps(caught.value)).data == {"unit": "cost"}
    with pytest.raises(InvalidUsage, match="the unit 'a b' is no name"):
        usage(**{"a b": 1})


@pytest.mark.parametrize("budget", [{}, {"a b": 1}, {"cost": 0}, {"cost": -1}, {"cost": None}, 5])
def test_a_budget_that_cannot_work_is_refused_where_it_is_declared(budget: Any) -> None:
    with pytest.raises(DeclarationError, match="task 'spends': budget"):
        task(id="spends", budget=budget)(lambda: None)
    with pytest.raises(InvalidOption, match=r"options\.budget"):
        Options(budget=budget).check()

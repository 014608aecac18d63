"""`usage`: what a run has used of anything that has a price or a limit, and budgets of it."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation, localcontext
from typing import Any, Final

from runs.errors import InvalidUsage
from runs.sdk.context import current

Number = int | float | Decimal

MAX_UNIT: Final = 60
MAX_UNITS: Final = 20
#: An amount is kept to twelve places after the point, and is less than this.
PLACES: Final = Decimal("1e-12")
MAX_AMOUNT: Final = Decimal(10) ** 18


def usage(
    *,
    tokens_in: Number | None = None,
    tokens_out: Number | None = None,
    cost: Number | None = None,
    **other_units: Number | None,
) -> None:
    """Adds to what the run has used; does not wait. Inside a step it belongs to the step as well. A failed try's usage
    counts, a replayed step's does not again. Outside steps it is left out while the run replays. Outside a run it
    does nothing.

    Args:
        tokens_in: Tokens of a prompt.
        tokens_out: Tokens of an answer.
        cost: Money, in the one currency that you use. A Decimal is kept exactly, to twelve places.
        other_units: Anything else by a name of your own: `usage(pages=3, gpu_seconds=12.5)`. None is left out.

    Raises:
        InvalidUsage: an amount is negative, or no number.
    """
    given = {"tokens_in": tokens_in, "tokens_out": tokens_out, "cost": cost, **other_units}
    amounts = {unit: _checked(unit, value) for unit, value in given.items() if value is not None}
    run = current.get()
    if run is not None:
        run.spend({unit: amount for unit, amount in amounts.items() if amount})


def _checked(unit: str, value: Any) -> Decimal:
    if problem := unit_problem(unit):
        raise InvalidUsage(f"usage: the unit {unit!r:.80} {problem}.", unit=str(unit))
    try:
        return amount(value)
    except ValueError as error:
        raise InvalidUsage(f"usage: {unit} {error}.", unit=unit) from None


def unit_problem(unit: object) -> str:
    """What is wrong with the name of a unit; empty when nothing is."""
    if isinstance(unit, str) and unit.isascii() and unit.isidentifier() and len(unit) <= MAX_UNIT:
        return ""
    return f"is no name; write letters, digits and underscores, {MAX_UNIT} at most, such as gpu_seconds"


def amount(value: Any, *, text: bool = False) -> Decimal:
    """An amount of a unit, exact to twelve places. Raises ValueError that says what is wrong with it.

    Args:
        text: takes digits in text too, as JSON and command lines have them.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal | (str if text else int)):
        raise ValueError(f"is {value!r:.60}; write a number of 0 or more")
    try:
        found = Decimal(value) if not isinstance(value, float) else Decimal(repr(value))
    except InvalidOperation:
        raise ValueError(f"is {value!r:.60}; write a number of 0 or more") from None
    if not found.is_finite() or found < 0:
        raise ValueError(f"is {value!r:.60}; write a number of 0 or more")
    if found >= MAX_AMOUNT:
        raise ValueError(f"is {value!r:.60}; write a number below {MAX_AMOUNT:,}")
    with localcontext(prec=60):
        return found.quantize(PLACES).normalize() if found else Decimal()


def budget_problems(value: Any) -> list[tuple[str, str]]:
    """What is wrong with a budget: (field within it, words)."""
    if not isinstance(value, Mapping) or not 1 <= len(value) <= MAX_UNITS:
        return [("", f"is {value!r:.60}; write 1 to {MAX_UNITS} units with their amounts, like {{'cost': 1.5}}")]
    found = []
    for unit, most in value.items():
        if problem := unit_problem(unit):
            found.append((f".{unit}"[:80], problem))
            continue
        try:
            if not amount(most, text=True):
                found.append((f".{unit}", "is 0; write a number greater than 0"))
        except ValueError as error:
            found.append((f".{unit}", str(error)))
    return found


def budget_of(value: Mapping[str, Any]) -> dict[str, Decimal]:
    """A checked budget as exact amounts."""
    return {unit: amount(most, text=True) for unit, most in value.items()}


def plain(value: Decimal) -> int | float:
    """An amount as a JSON number: whole ones as integers. Its digits are the exact ones up to 15 of them."""
    return int(value) if value == value.to_integral_value() else float(value)


def digits(value: Decimal) -> str:
    """An amount as exact text, without a tail of zeros."""
    with localcontext(prec=60):
        return f"{value.normalize():f}" if value else "0"


def plain_amounts(amounts: Mapping[str, Decimal]) -> dict[str, int | float]:
    """Amounts as JSON numbers, in the order of their units."""
    return {unit: plain(amounts[unit]) for unit in sorted(amounts)}

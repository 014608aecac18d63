"""/compare: two runs, or two attempts, side by side."""

from typing import Any

from django.http import HttpRequest
from ninja import Router, Schema
from pydantic import Field

from runs.api import docs
from runs.api.auth import needs
from runs.compare import selectors
from runs.filters import refuse_unknown

router = Router(tags=["runs"])


class CompareFactOut(Schema):
    """What is told of both."""

    name: str
    a: str
    b: str
    differs: bool


class DiffLineOut(Schema):
    """A line of a difference."""

    kind: str = Field(description="same, gone (only in a), new (only in b), or cut: lines that are the same.")
    text: str


class DiffOut(Schema):
    """A difference, line by line."""

    same: bool
    lines: list[DiffLineOut]
    cut: bool = Field(description=f"Only the first {selectors.MAX_LINES} lines were compared.")


class DoneOut(Schema):
    """What became of a step on one side."""

    seconds: float = Field(description="Of all tries together.")
    failed_tries: int
    finished: bool


class CompareStepOut(Schema):
    """A step or wait on both sides; null where it did not happen."""

    key: str
    kind: str
    a: DoneOut | None
    b: DoneOut | None
    other_result: bool
    differs: bool


class ComparisonOut(Schema):
    """Two runs or attempts, and how they differ."""

    a: str
    b: str
    facts: list[CompareFactOut]
    payload: DiffOut
    output: DiffOut
    steps: list[CompareStepOut]
    more_steps: bool = Field(description=f"Only the first {selectors.MAX_STEPS} of each were compared.")
    log: DiffOut


@router.get(
    "/compare",
    response=ComparisonOut,
    auth=needs("runs.view"),
    operation_id="runs_compare",
    openapi_extra=docs.query(
        docs.parameter("a", "A run's id, or `id:2` for its second attempt."), docs.parameter("b", "The other one.")
    ),
)
def compare(request: HttpRequest) -> Any:
    """Compares two runs, or two attempts: what went in and came out, the code, the steps, the log."""
    refuse_unknown(request.GET, ("a", "b"))
    found = selectors.compare(request.GET.get("a", ""), request.GET.get("b", ""))
    return ComparisonOut.model_validate(selectors.as_json(found))

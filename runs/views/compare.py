"""Two runs, or two attempts, side by side."""

from __future__ import annotations

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from holdfast.access.gate import ActorRequest, requires
from runs.compare.selectors import MAX_LINES, MAX_STEPS, compare
from runs.errors import InvalidFilter, UnknownRun


@require_safe
@requires("runs.view")
def compared(request: ActorRequest) -> HttpResponse:
    """`?a=…&b=…`, each a run's id or `id:2` for its second attempt; without both, a form that asks."""
    a, b = (request.GET.get(name, "") for name in "ab")
    context: dict[str, object] = {"a": a.replace("\x00", ""), "b": b.replace("\x00", ""), "most": MAX_LINES}
    status = 200
    if a or b:
        try:
            context |= {"found": compare(a, b), "most_steps": MAX_STEPS}
        except (InvalidFilter, UnknownRun) as error:
            context["refusal"], status = error, 422
    return render(request, "runs/compare.html", context, status=status)

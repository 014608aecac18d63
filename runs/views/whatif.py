"""What a proposed limit would have done, beside the form that would set it. Changes nothing."""

from __future__ import annotations

from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_POST
from pydantic_core import to_json

from holdfast.access.gate import ActorRequest, requires
from holdfast.words import duration, share
from queues.errors import InvalidChange, QueueNotFound
from queues.forms import LimitForm
from queues.whatif import Outcome
from runs import whatif


@require_POST
@requires("queues.edit")
def what_if(request: ActorRequest, name: str) -> HttpResponse:
    """The last day's runs of the queue, under its limits and under those of the form."""
    form = LimitForm(request.POST)
    if not form.is_valid():
        return render(request, "runs/_whatif.html", {"form": form}, status=422)
    try:
        found = whatif.what_if(name, form.asked)
    except QueueNotFound as error:
        raise Http404(str(error)) from None
    except InvalidChange as error:
        return render(request, "runs/_whatif.html", {"form": form, "refusal": str(error)}, status=422)
    context = {"found": found, "rows": _rows(found.before, found.after), "figure": to_json(found.figure).decode()}
    return render(request, "runs/_whatif.html", context)


def _rows(before: Outcome, after: Outcome) -> list[tuple[str, str, str]]:
    times = [(name, _time(getattr(before, name)), _time(getattr(after, name))) for name in ("p50", "p95", "longest")]
    return [*times, ("over 1 s", share(before.delayed), share(after.delayed))]


def _time(seconds: float) -> str:
    return "none" if seconds < 0.0005 else duration(seconds)

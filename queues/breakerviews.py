"""Breakers on the page Queues: each change answers with the breaker's row alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from holdfast.access.gate import ActorRequest, requires
from queues import breakers
from queues.breakers import BreakerNotFound, Standing
from queues.errors import InvalidChange
from queues.forms import ReasonForm


@dataclass(frozen=True, slots=True)
class BreakerRow:
    """A breaker as the page shows it."""

    standing: Standing
    form: ReasonForm = field(default_factory=ReasonForm)


def rows() -> list[BreakerRow]:
    """All breakers."""
    return [BreakerRow(standing) for standing in breakers.standings()]


@require_POST
@requires("queues.pause")
def force(request: ActorRequest, name: str) -> HttpResponse:
    """Holds it open or closed."""
    form = ReasonForm(request.POST)
    if not form.is_valid():
        return _answer(request, name, form)
    state, reason = request.POST.get("state", ""), form.cleaned_data["reason"]
    return _change(request, name, lambda: breakers.breaker_force(name, state, request.actor, reason), form)


@require_POST
@requires("queues.pause")
def release(request: ActorRequest, name: str) -> HttpResponse:
    """Lets calls decide again."""
    return _change(request, name, lambda: breakers.breaker_release(name, request.actor), ReasonForm({}))


def _change(request: ActorRequest, name: str, do: Callable[[], Standing], form: ReasonForm) -> HttpResponse:
    try:
        do()
    except BreakerNotFound as error:
        raise Http404(str(error)) from None
    except InvalidChange as error:
        form.add_refusal(error.data.get("errors", ()))
        return _answer(request, name, form)
    return _answer(request, name)


def _answer(request: ActorRequest, name: str, refused: ReasonForm | None = None) -> HttpResponse:
    """The row, for htmx; without it, back to the page, or the row with the form that was refused."""
    if refused is None and not request.htmx:  # type: ignore[attr-defined]
        return redirect("queues:queues")
    try:
        standing = breakers.breaker_get(name)
    except BreakerNotFound as error:
        raise Http404(str(error)) from None
    row = BreakerRow(standing) if refused is None else BreakerRow(standing, refused)
    if request.htmx:  # type: ignore[attr-defined]
        return render(request, "queues/_breaker.html", {"row": row}, status=422 if refused else 200)
    return render(request, "queues/queues.html", {"rows": [], "breakers": [row], "workers": []}, status=422)

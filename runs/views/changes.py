"""Changes: deploys, edits, pauses and what else people did, on one ribbon."""

from __future__ import annotations

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from holdfast.access.gate import ActorRequest, requires
from runs import changes as selectors
from runs.changes import SPANS, Asked
from runs.errors import InvalidFilter


@require_safe
@requires("runs.view")
def changes(request: ActorRequest) -> HttpResponse:
    """What changed lately, the latest first."""
    refusal = None
    try:
        asked = Asked.parse(*(request.GET.get(name, "") for name in ("span", "kind", "before")))
    except InvalidFilter as error:
        asked, refusal = Asked(), error
    page = selectors.page(asked, request.actor)
    context = {
        "asked": asked,
        "refusal": refusal,
        "spans": SPANS,
        "kinds": selectors.visible(request.actor),
        "page": page,
        "ribbon": selectors.ribbon(asked, request.actor, page.start, page.end),
    }
    return render(request, "runs/changes.html", context, status=422 if refusal else 200)

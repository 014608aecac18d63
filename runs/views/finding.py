"""Finding anything: a page for everybody, and the same as JSON for the dialog that Ctrl-K opens."""

from __future__ import annotations

from django.http import HttpResponse, JsonResponse
from django.shortcuts import render
from django.utils.cache import patch_vary_headers
from django.views.decorators.http import require_safe

from holdfast.access.gate import ActorRequest, requires
from holdfast.words import printable
from runs import finding
from runs.errors import InvalidFilter


@require_safe
@requires("runs.view")
def find(request: ActorRequest) -> HttpResponse:
    """What `q` may mean. To whom asks for JSON: {items: [{kind, text, note, url}]}, or {message} with 422."""
    text, refusal, hits = request.GET.get("q", ""), None, []
    try:
        hits = finding.find(text, request.actor)
    except InvalidFilter as error:
        refusal = error
    status = 422 if refusal else 200
    if request.get_preferred_type(["text/html", "application/json"]) == "application/json":
        found = {"message": str(refusal)} if refusal else finding.as_json(hits)
        response: HttpResponse = JsonResponse(found, status=status)
    else:
        shown = printable(text[: finding.MAX_TEXT])
        context = {"text": shown, "hits": hits, "refusal": refusal}
        response = render(request, "runs/find.html", context, status=status)
    patch_vary_headers(response, ["Accept"])
    return response

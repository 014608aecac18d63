"""The runs that the list shows, as a file."""

from __future__ import annotations

from django.http import HttpResponse, HttpResponseBase
from django.views.decorators.http import require_GET

from holdfast.access.gate import ActorRequest, requires
from runs.errors import InvalidFilter
from runs.exporting import response


@require_GET
@requires("runs.view")
def export(request: ActorRequest) -> HttpResponseBase:
    """`?q=…&format=csv` or `json`; what cannot be read is said as text."""
    try:
        return response(request.GET)
    except InvalidFilter as error:
        return HttpResponse(f"{error}\n", status=422, content_type="text/plain; charset=utf-8")

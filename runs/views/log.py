"""The log of one run: pages of it for readers who scroll and search, and the whole of it as text."""

from __future__ import annotations

import uuid

from django.http import Http404, JsonResponse, StreamingHttpResponse
from django.views.decorators.http import require_safe

from holdfast.access.gate import ActorRequest, requires
from runs import live, loglines, pages
from runs.errors import InvalidFilter, UnknownRun


@require_safe
@requires("runs.view")
def run_log(request: ActorRequest, run_id: uuid.UUID) -> StreamingHttpResponse:
    """The whole log as text."""
    _exists(run_id)
    response = StreamingHttpResponse(live.log_text(run_id), content_type="text/plain; charset=utf-8")
    response.headers["Content-Disposition"] = f'attachment; filename="run-{run_id}.log"'
    return response


@require_safe
@requires("runs.view")
def run_lines(request: ActorRequest, run_id: uuid.UUID) -> JsonResponse:
    """A page of lines, for a browser that holds some of them."""
    _exists(run_id)
    try:
        wanted, place = loglines.asked(request.GET)
    except InvalidFilter as error:
        return JsonResponse({"message": str(error)}, status=422)
    return JsonResponse(loglines.lines(run_id, wanted, place).as_json())


def _exists(run_id: uuid.UUID) -> None:
    try:
        pages.run_exists(run_id)
    except UnknownRun as error:
        raise Http404(str(error)) from None

"""`GET /metrics`, for Prometheus: a bearer token of a viewer, or a viewer who is signed in."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe

from runs import metrics
from runs.api import problems
from runs.api.auth import BearerAuth, SessionAuth

GRANT = "runs.view"


@csrf_exempt
@require_safe
@never_cache
def scrape(request: HttpRequest) -> HttpResponse:
    """The figures. 401 for strangers, those on this machine too: behind a proxy everybody comes from there."""
    try:
        BearerAuth(GRANT)(request) or SessionAuth(GRANT)(request)  # the latter raises for strangers
        body, content_type = metrics.exposition(request.headers.get("Accept", ""))
    except Exception as error:
        return problems.of(error)
    return HttpResponse(body, headers={"Content-Type": content_type})


scrape.grant = GRANT  # type: ignore[attr-defined]  # a test walks all URLs and asks for it

"""Addresses under /api/. Whatever lies there answers in JSON, also what does not exist."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.urls import URLPattern, URLResolver, path, re_path
from django.views.decorators.csrf import csrf_exempt

from runs.api import problems
from runs.api.api import api

View = Callable[..., Any]


@csrf_exempt
def nothing_here(request: HttpRequest) -> HttpResponse:
    """For every other address."""
    if request.path.endswith("/") and request.path.count("/") > 3:
        return problems.problem(404, "not_found", f"There is nothing here; try {request.path.rstrip('/')[:200]}.")
    return problems.of(Http404())


def _in_kind(view: View) -> View:
    """The view, answering a wrong method and its own failures with problems too."""

    @wraps(view)
    def answer(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        try:
            response = view(request, *args, **kwargs)
        except Exception as error:
            return problems.of(error)
        if isinstance(response, HttpResponseNotAllowed):
            allowed = response["Allow"]
            detail = f"{str(request.method)[:20]} is not possible here; this address takes {allowed}."
            return problems.problem(405, "method_not_allowed", detail, headers={"Allow": allowed})
        return response

    return answer


def _patterns() -> list[URLPattern | URLResolver]:
    patterns = [pattern for pattern in api.urls[0] if getattr(pattern, "name", None) != "api-root"]
    for pattern in patterns:
        if isinstance(pattern, URLPattern):
            pattern.callback = _in_kind(pattern.callback)
    # The root's name stays known: ninja derives all paths of the schema from it.
    return [*patterns, path("", nothing_here, name="api-root")]


urlpatterns = [
    path("v1/", (_patterns(), "ninja", "api")),
    re_path(r"", nothing_here),  # not `.*`: a newline is a character too
]

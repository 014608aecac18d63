"""The front page, its two charts, and the script that draws them."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from importlib.metadata import distribution, version
from pathlib import Path
from typing import Final

from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.utils.cache import patch_vary_headers
from django.views.decorators.http import require_safe

from holdfast.access.gate import ActorRequest, requires
from holdfast.access.selectors import database_now
from runs import changes, charts, dashboard
from runs.causes import selectors as causes
from runs.causes.forms import SnoozeForm
from runs.filters import InvalidFilter, RunFilter, refuse_unknown

PLOTLY_VERSION: Final = version("plotly")
_YEAR: Final = 365 * 24 * 3600


@require_safe
@requires("runs.view")
def now(request: ActorRequest) -> HttpResponse:
    """Whether things flow, and what does not."""
    window = request.GET.get("window", "1h")
    context = {
        "now": dashboard.now(),
        "windows": dashboard.WINDOWS,
        "window": window if window in dashboard.WINDOWS else "1h",
        "snooze": SnoozeForm(auto_id=False),
    }
    return render(request, "runs/_now.html" if request.headers.get("HX-Request") else "runs/now.html", context)


@require_safe
@requires("runs.view")
def verdict(request: ActorRequest) -> JsonResponse:
    """The front page's sentence, for the favicon of every other page: {kind, words, down}."""
    found = causes.story().verdict
    return JsonResponse({"kind": found.kind, "words": found.words, "down": found.is_down})


@require_safe
@requires("runs.view")
def failure_rate(request: ActorRequest) -> JsonResponse:
    """The failure rate over time, as a Plotly figure."""
    try:
        asked = _asked(request)
    except InvalidFilter as error:
        return JsonResponse({"detail": str(error)}, status=422)
    end = database_now().replace(second=0, microsecond=0) + timedelta(minutes=1)
    start = end - asked.length
    cells = dashboard.rate_cells(start, end, minutes=asked.minutes, task=asked.task)
    deploys = changes.deploys(start, end, asked.task)
    return JsonResponse(charts.failure_rate(cells, start=start, end=end, bin_minutes=asked.minutes, deploys=deploys))


@require_safe
@requires("runs.view")
def durations(request: ActorRequest) -> JsonResponse:
    """The histogram of durations, as a Plotly figure."""
    try:
        asked = _asked(request)
    except InvalidFilter as error:
        return JsonResponse({"detail": str(error)}, status=422)
    end = database_now() + timedelta(minutes=1)
    return JsonResponse(charts.duration_histogram(dashboard.duration_cells(end - asked.length, end, task=asked.task)))


@require_safe
def plotly_js(request: HttpRequest, name: str) -> HttpResponse:
    """Plotly's script from its wheel. Its address has the version, so a browser keeps it for ever."""
    if name != PLOTLY_VERSION:
        raise Http404
    zipped = "gzip" in request.headers.get("Accept-Encoding", "")
    plain, packed = _plotly()
    response = HttpResponse(packed if zipped else plain, content_type="text/javascript; charset=utf-8")
    if zipped:
        response.headers["Content-Encoding"] = "gzip"
    response.headers["Cache-Control"] = f"public, max-age={_YEAR}, immutable"
    patch_vary_headers(response, ["Accept-Encoding"])
    return response


@lru_cache(maxsize=1)
def _plotly() -> tuple[bytes, bytes]:
    # Found without importing plotly, which takes half a second and is not needed: figures are plain dictionaries.
    plain = Path(str(distribution("plotly").locate_file("plotly/package_data/plotly.min.js"))).read_bytes()
    return plain, gzip.compress(plain, 6, mtime=0)


@dataclass(frozen=True, slots=True)
class _Asked:
    length: timedelta
    minutes: int  # of one bin
    task: str | None


def _asked(request: ActorRequest) -> _Asked:
    """What a chart is asked for. Raises InvalidFilter."""
    refuse_unknown(request.GET, ("window", "task"))
    task = RunFilter.parse({"task": request.GET.get("task", "")}).task
    return _Asked(*dashboard.WINDOWS.get(request.GET.get("window", "1h"), dashboard.WINDOWS["1h"]), task)

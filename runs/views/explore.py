"""Explore: how runs ended and how long they took, over time, and where that leads."""

from __future__ import annotations

from typing import Final

from django.http import Http404, HttpResponse, JsonResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from holdfast.access.gate import ActorRequest, requires
from queues.selectors import queue_names
from runs.errors import InvalidFilter
from runs.explore import figures
from runs.explore.asked import BOX, GROUPINGS, SPANS, Asked
from runs.explore.forms import BoxForm, LookForm
from runs.lists import MAX_CHOICES, task_ids

#: Charts of the page: name, heading, what screen readers hear, caption.
CHARTS: Final = (
    ("throughput", "Throughput", "Runs that ended, over time", "Runs that ended, per bin."),
    (
        "failure-rate",
        "Failure rate",
        "Failure rate over time",
        "Failed, crashed, timed-out and expired runs of all that ended. Where none ended, there is a gap.",
    ),
    (
        "percentiles",
        "Duration",
        "Percentiles of durations over time",
        "p50, p95 and p99, from a run's creation to its end, waiting and retries included.",
    ),
    ("durations", "All durations", "Histogram of durations", "The same runs, by how long they took. Logarithmic."),
    (
        "waits",
        "Wait for a start",
        "Percentiles of waits over time",
        "p50, p95 and p99 of the time from when a run could start to its start, by the minute of the start.",
    ),
    (
        "depth",
        "Waiting and running",
        "Runs that waited and ran, over time",
        "The highest of each bin; the scheduler looks once a minute. Of the filters only the queue narrows it.",
    ),
)


@require_safe
@requires("runs.view")
def explore(request: ActorRequest) -> HttpResponse:
    """The page; its charts are fetched after it. What is wrong with a box is said at its fields, beside the map."""
    asked, refusal = _asked(request)
    page, boxless = None, refusal is not None and _is_of_box(refusal)
    try:
        page = figures.page(asked) if boxless or not refusal else None
    except InvalidFilter as error:
        refusal, boxless = error, False
    context = {
        "asked": asked,
        "refusal": None if boxless else refusal,
        "form": LookForm(asked, request.GET.dict(), None if boxless else refusal),
        "box_form": BoxForm(asked.at(page.window) if page else asked, request.GET.dict(), refusal),
        "tasks": task_ids(),
        "queues": queue_names(limit=MAX_CHOICES),
        "spans": [(name, asked.without_box(span=name, **{"from": None, "to": None})) for name in SPANS],
        "groupings": [(name, f"{asked.address(by=name)}#by") for name in GROUPINGS],
        "page": page,
        "without_box_url": asked.without_box(),
        "charts": [(*chart, _chart_url(chart[0], asked)) for chart in CHARTS],
        "slots_url": _chart_url("slots", asked),
        "map_url": _chart_url("heatmap", asked),
    }
    return render(request, "runs/explore.html", context, status=422 if refusal else 200)


@require_safe
@requires("runs.view")
def chart(request: ActorRequest, name: str) -> JsonResponse:
    """One of the charts, as a Plotly figure."""
    if name not in figures.FIGURES:
        raise Http404(f"There is no chart {name!r}; there are {', '.join(figures.FIGURES)}.")
    asked, refusal = _asked(request)
    try:
        if refusal:
            raise refusal
        return JsonResponse(figures.draw(name, asked))
    except InvalidFilter as error:
        return JsonResponse({"detail": str(error)}, status=422)


def _asked(request: ActorRequest) -> tuple[Asked, InvalidFilter | None]:
    try:
        return Asked.parse(request.GET), None
    except InvalidFilter as error:
        if not _is_of_box(error):
            return Asked(), error
        refusal = error
    try:
        return Asked.parse({name: request.GET.getlist(name) for name in request.GET if name not in BOX}), refusal
    except InvalidFilter as error:  # only seen once all else can be read
        return Asked(), error


def _is_of_box(refusal: InvalidFilter) -> bool:
    """Whether nothing but the sides of a box is wrong: all else can be shown."""
    return {fault["field"] for fault in refusal.data["errors"]} <= set(BOX)


def _chart_url(name: str, asked: Asked) -> str:
    return reverse("runs:explore_chart", args=[name]) + asked.address()

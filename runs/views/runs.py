"""The list of runs. What is filtered stands in the address, so a view is a link."""

from __future__ import annotations

import uuid
from urllib.parse import urlencode

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from holdfast.access.gate import ActorRequest, requires
from queues.selectors import queue_names
from runs import lists
from runs.filters import InvalidFilter, RunFilter, parse_cursor


@require_safe
@requires("runs.view")
def runs(request: ActorRequest) -> HttpResponse:
    """A page of runs. With `shown`, the ids a page has on it, those rows anew and how many newer ones there are."""
    fragment = bool(request.headers.get("HX-Request"))
    try:
        filters = RunFilter.parse(request.GET, also=("cursor", "shown"))
        cursor = parse_cursor(request.GET.get("cursor"))
    except InvalidFilter as error:
        return render(request, "runs/runs.html", {"refused": error, **_choices(RunFilter())}, status=422)
    shown = _ids(request.GET.get("shown", "")) if fragment else []
    listing = lists.again(filters, shown, newest=cursor is None) if shown else lists.page(filters, cursor)
    context = {"list": listing, "cursor": cursor, **_choices(filters), **_links(filters, cursor, listing)}
    return render(request, "runs/_list.html" if fragment else "runs/runs.html", context)


def _choices(filters: RunFilter) -> dict[str, object]:
    return {
        "filters": filters,
        "tabs": lists.tabs(filters),
        "task_ids": lists.task_ids(),
        "queue_names": queue_names(limit=lists.MAX_CHOICES),
    }


def _links(filters: RunFilter, cursor: uuid.UUID | None, listing: lists.Listing) -> dict[str, str]:
    base = filters.params()
    here = [*base, ("cursor", str(cursor))] if cursor else base
    return {
        "newest_url": f"?{urlencode(base)}",
        "older_url": f"?{urlencode([*base, ('cursor', str(listing.next))])}" if listing.next else "",
        "refresh_url": f"?{urlencode([*here, ('shown', ','.join(str(row.run.id) for row in listing.rows))])}",
    }


def _ids(text: str) -> list[uuid.UUID]:
    try:
        return [uuid.UUID(part) for part in text.split(",")[: lists.PAGE]] if text else []
    except ValueError:
        return []

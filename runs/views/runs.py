"""The list of runs. What is searched for stands in the address, so a view is a link."""

from __future__ import annotations

import uuid

from django.http import HttpResponse, JsonResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from holdfast.access.gate import ActorRequest, requires
from holdfast.access.grants import Actor
from holdfast.words import printable
from queues.selectors import queue_names
from runs import columns, exporting, lists
from runs.filters import InvalidFilter, RunFilter, parse_cursor
from runs.savedviews import selectors as savedviews
from runs.savedviews.model import SavedView
from runs.search import pointing
from runs.search.suggest import suggest


@require_safe
@requires("runs.view")
def runs(request: ActorRequest) -> HttpResponse:
    """A page of runs. With `shown`, the ids a page has on it, those rows anew and how many newer ones there are."""
    fragment = bool(request.headers.get("HX-Request"))
    try:
        filters = RunFilter.parse(request.GET, also=("cursor", "shown", "columns"))
        chosen = columns.asked(request.GET, columns.LISTED)
        cursor = parse_cursor(request.GET.get("cursor"))
        shown = _ids(request.GET.get("shown", "")) if fragment else []
        listing = lists.again(filters, shown, newest=cursor is None) if shown else lists.page(filters, cursor)
    except InvalidFilter as error:
        if fragment:  # the page keeps what it shows
            return HttpResponse(status=204)
        return render(request, "runs/runs.html", _refused(error, request.GET.get("q", "")), status=422)
    if fragment:
        return render(request, "runs/_list.html", _listed(filters, chosen, cursor, listing))
    return render(request, "runs/runs.html", _page(request.actor, filters, chosen, cursor, listing))


def with_refused_view(request: ActorRequest, filters: RunFilter, chosen: tuple[str, ...], why: str) -> HttpResponse:
    """The page of a search that could not be saved as a view: with the form as it was sent, and why."""
    context = _page(request.actor, filters, chosen, None, lists.page(filters, None))
    sent = {"name": printable(request.POST.get("name", "")), "shared": request.POST.get("shared") == "1", "why": why}
    return render(request, "runs/runs.html", context | {"refused_view": sent}, status=422)


@require_safe
@requires("runs.view")
def suggestions(request: ActorRequest) -> JsonResponse:
    """What could be typed next: {start, end, items: [{text, note, open}]}."""
    text, at = request.GET.get("q", ""), request.GET.get("at", "")
    cursor = int(at) if at.isascii() and at.isdigit() and len(at) < 6 else len(text)
    return JsonResponse(suggest(printable(text), cursor).as_json())


def _refused(error: InvalidFilter, text: str) -> dict[str, object]:
    places = pointing.places(error)
    mended = [(place, RunFilter.link(place.mended) if place.mended else "") for place in places]
    return {"refused": error, "places": mended, **_choices(RunFilter()), "text": text}


def _listed(
    filters: RunFilter, chosen: tuple[str, ...], cursor: uuid.UUID | None, listing: lists.Listing
) -> dict[str, object]:
    return {
        "list": listing,
        "cursor": cursor,
        "text": filters.text,
        "columns": chosen or columns.USUAL,
        "asked_columns": ",".join(chosen),
        **_links(filters, chosen, cursor, listing),
    }


def _page(
    actor: Actor, filters: RunFilter, chosen: tuple[str, ...], cursor: uuid.UUID | None, listing: lists.Listing
) -> dict[str, object]:
    views = {"views": _views(actor, filters, chosen), "most_exported": exporting.MOST}
    return _listed(filters, chosen, cursor, listing) | views | _choices(filters, chosen)


def _choices(filters: RunFilter, chosen: tuple[str, ...] = ()) -> dict[str, object]:
    task, queue = filters.only("task"), filters.only("queue")
    rest = filters
    for name, values in (("task", task), ("queue", queue)):
        rest = rest.having(name, ()) if len(values) == 1 else rest
    return {
        "text": filters.text,
        "rest": rest.text,
        "task": task[0] if len(task) == 1 else "",
        "queue": queue[0] if len(queue) == 1 else "",
        "tabs": lists.tabs(filters, *columns.pairs(chosen)),
        "column_choices": columns.CHOICES,
        "task_ids": lists.task_ids(),
        "queue_names": queue_names(limit=lists.MAX_CHOICES),
    }


def _views(actor: Actor, filters: RunFilter, chosen: tuple[str, ...]) -> list[tuple[SavedView, str, bool]]:
    """Saved views, the address of each, and whether it is what the page shows."""
    here = (filters.text, ",".join(chosen))
    found = []
    for view in savedviews.visible(actor):
        # One that leaves the columns to the reader is what the page shows whichever they are.
        shown = (view.search, view.columns or here[1])
        found.append((view, savedviews.address(view), shown == here and bool(view.search or view.columns)))
    return found


def _links(
    filters: RunFilter, chosen: tuple[str, ...], cursor: uuid.UUID | None, listing: lists.Listing
) -> dict[str, str]:
    here, kept = [("cursor", str(cursor))] if cursor else [], columns.pairs(chosen)
    filed = columns.pairs(columns.of_file(chosen))
    return {
        "newest_url": filters.address(*kept),
        "csv_url": filters.address(*filed, ("format", "csv")),
        "json_url": filters.address(*filed, ("format", "json")),
        "older_url": filters.address(*kept, ("cursor", str(listing.next))) if listing.next else "",
        "usual_url": filters.address(*here),
        "refresh_url": filters.address(*kept, *here, ("shown", ",".join(str(row.run.id) for row in listing.rows))),
    }


def _ids(text: str) -> list[uuid.UUID]:
    try:
        return [uuid.UUID(part) for part in text.split(",")[: lists.PAGE]] if text else []
    except ValueError:
        return []

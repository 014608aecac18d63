"""Saved views on the page of runs: one is saved, one is deleted."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.views.decorators.http import require_POST

from holdfast.access.errors import AccessError
from holdfast.access.gate import ActorRequest, requires
from runs.columns import LISTED, asked, pairs
from runs.errors import HoldfastError
from runs.filters import InvalidFilter, RunFilter
from runs.savedviews import services
from runs.views.runs import with_refused_view


@require_POST
@requires("runs.view")
def view_save(request: ActorRequest) -> HttpResponse:
    """Saves the search that the page shows."""
    sent, search = request.POST, request.POST.get("q", "")
    columns = sent.get("columns", "")
    try:
        view = services.view_save(
            sent.get("name", ""),
            search,
            columns=columns,
            shared=sent.get("shared") == "1",
            reason=sent.get("reason", ""),
            actor=request.actor,
        )
    except (InvalidFilter, AccessError) as error:  # nothing that other words in the form would mend
        messages.error(request, str(error))
        return _back(search, columns)
    except HoldfastError as error:
        chosen = asked({"columns": columns}, LISTED)
        return with_refused_view(request, RunFilter.parse({"q": search}), chosen, str(error))
    messages.success(request, f"{view.name} is saved{' for all' if view.shared else ''}.")
    return _back(search, columns)


@require_POST
@requires("runs.view")
def view_delete(request: ActorRequest, view_id: int) -> HttpResponse:
    """Deletes a view; the runs that it showed are still shown."""
    try:
        view = services.view_delete(view_id, reason=request.POST.get("reason", ""), actor=request.actor)
    except (HoldfastError, AccessError) as error:
        messages.error(request, str(error))
    else:
        messages.success(request, f"The view {view.name} is deleted; its runs are not touched.")
    return _back(request.POST.get("q", ""), request.POST.get("columns", ""))


def _back(search: str, columns: str) -> HttpResponse:
    try:
        query = RunFilter.parse({"q": search}).address(*pairs(asked({"columns": columns}, LISTED)))
    except InvalidFilter:
        query = ""
    return HttpResponseRedirect(reverse("runs:runs") + query, status=303)

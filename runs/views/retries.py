"""Retries: which runs make progress, which burn money, and what may be done about their next attempt."""

from __future__ import annotations

import uuid
from functools import partial

from django.contrib import messages
from django.http import Http404, HttpResponse, HttpResponseRedirect, QueryDict
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from holdfast.access.gate import ActorRequest, requires
from queues.selectors import queue_names
from runs import lists, services
from runs.bulk import asking
from runs.bulk.choices import Action
from runs.errorgroups.selectors import having
from runs.errors import InvalidFilter, UnknownRun
from runs.filters import parse_cursor
from runs.retries import selectors
from runs.retries.forms import PostponeForm
from runs.retries.selectors import Asked, Group
from runs.retries.services import run_hurry, run_postpone
from runs.retries.verdict import Verdict
from runs.selectors import run_exists
from runs.views.hookparts import act


@require_safe
@requires("runs.view")
def retries(request: ActorRequest) -> HttpResponse:
    """Runs that have failed and are not over; for htmx the part that changes."""
    fragment = bool(request.headers.get("HX-Request"))
    refusal = cursor = None
    try:
        asked = Asked.parse(request.GET, also=("cursor",))
        cursor = parse_cursor(request.GET.get("cursor"))
    except InvalidFilter as error:
        asked, refusal = Asked(), error
    context = {**_list(asked, cursor), "refusal": refusal, "asked": asked}
    template = "runs/_retries.html" if fragment else "runs/retries.html"
    return render(request, template, context, status=422 if refusal else 200)


@require_POST
@requires("runs.cancel")
def retry_stop(request: ActorRequest, run_id: uuid.UUID) -> HttpResponse:
    """Cancels the run, and those that it waits for."""
    stop = partial(services.run_cancel, run_id, actor=request.actor)
    return act(request, _back(request, run_id), lambda reason: stop(reason=reason), "The run is stopped.")


@require_POST
@requires("runs.retry")
def retry_postpone(request: ActorRequest, run_id: uuid.UUID) -> HttpResponse:
    """Its next attempt begins later."""
    back, form = _back(request, run_id), PostponeForm(request.POST)
    if not form.is_valid():
        messages.error(request, "Write when the next attempt begins: so many seconds from now. Nothing was done.")
        return HttpResponseRedirect(back, status=303)
    move = partial(run_postpone, run_id, delay=form.cleaned_data["delay"], actor=request.actor)
    return act(request, back, lambda reason: move(reason=reason), lambda at: f"The next attempt begins {at:%H:%M} UTC.")


@require_POST
@requires("runs.retry")
def retry_hurry(request: ActorRequest, run_id: uuid.UUID) -> HttpResponse:
    """Its next attempt begins now."""
    hurry = partial(run_hurry, run_id, actor=request.actor)
    done = "The next attempt begins as soon as there is a slot."
    return act(request, _back(request, run_id), lambda reason: hurry(reason=reason), done)


def _list(asked: Asked, cursor: uuid.UUID | None) -> dict[str, object]:
    page = selectors.page(asked, cursor=cursor)
    counts = page.summary.counts if page.summary else {}
    tabs: list[tuple[str, str, bool, int | None]] = [("All", asked.address(verdict=""), asked.verdict is None, None)]
    tabs += [(v.words.capitalize(), asked.address(verdict=v), asked.verdict is v, counts.get(v)) for v in Verdict]
    return {
        "page": page,
        "groups": [(group, _ways(group, asked)) for group in page.summary.groups] if page.summary else [],
        "cursor": cursor,
        "here": asked.address(**({"cursor": str(cursor)} if cursor else {})),
        "newest": asked.address(),
        "older": asked.address(cursor=str(page.next)) if page.next else "",
        "tabs": tabs,
        "task_ids": lists.task_ids(),
        "queue_names": queue_names(limit=lists.MAX_CHOICES),
    }


def _ways(group: Group, asked: Asked) -> dict[str, str]:
    """Where it is asked what is to be done to all runs of a group, those included that the page has not looked at."""
    if not group.fingerprint:
        return {}
    found = having(group.fingerprint)
    for name in ("task", "queue"):
        if value := getattr(asked, name):
            found = found.having(name, (value,))
    return {
        "stop": asking.address(Action.CANCEL, found.text),
        "later": asking.address(Action.POSTPONE, found.text),
        "redrive": asking.redrive(found.text),
    }


def _back(request: ActorRequest, run_id: uuid.UUID) -> str:
    """Where the form was: the list, with its filters, or the page of the run."""
    _known(run_id)
    if "list" not in request.POST:
        return reverse("runs:run", args=[run_id])
    try:
        query = Asked.parse(QueryDict(request.POST["list"].lstrip("?")), also=("cursor",)).address()
    except InvalidFilter:
        query = ""
    return reverse("runs:retries") + query


def _known(run_id: uuid.UUID) -> None:
    try:
        run_exists(run_id)
    except UnknownRun as error:
        raise Http404(str(error)) from None

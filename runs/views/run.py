"""One run: its page, its live stream over HTTP, a snapshot's contents; what may be done to it."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from django.contrib import messages
from django.http import Http404, HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from holdfast.access.errors import AccessError
from holdfast.access.gate import ActorRequest, requires
from holdfast.access.grants import Actor
from runs import answers, budgets, jsonvalue, live, manysteps, pages, services, updates
from runs.errors import HoldfastError, InvalidFilter, UnknownRun
from runs.filters import parse_number
from runs.why import why

T = TypeVar("T")

#: The highest sequence that a snapshot can have: an integer of PostgreSQL.
MAX_SEQUENCE = 2**31 - 1


@require_safe
@requires("runs.view")
def run(request: ActorRequest, run_id: uuid.UUID) -> HttpResponse:
    """The run; for htmx its summary alone."""
    base = request.build_absolute_uri("/")
    context = {"page": _or_404(pages.run_page, run_id, actor=request.actor, base=base)}
    return render(request, "runs/_run.html" if request.headers.get("HX-Request") else "runs/run.html", context)


@require_safe
@requires("runs.view")
def run_live(request: ActorRequest, run_id: uuid.UUID) -> JsonResponse:
    """What the websocket would tell after these cursors, for pages that cannot have one."""
    cursor = live.cursor_from(run_id, *(request.GET.get(name, "") for name in ("after", "snapshots", "chunks")))
    batch = live.reads(cursor)
    if batch.gone:
        raise Http404(f"There is no run {run_id}.")
    return JsonResponse({"v": live.VERSION, "messages": batch.messages, "more": batch.more})


@require_safe
@requires("runs.view")
def run_steps(request: ActorRequest, run_id: uuid.UUID) -> JsonResponse:
    """The next page of snapshots after a sequence, for a page that holds only those in sight."""
    try:
        after = parse_number("after", request.GET.get("after"), least=0, most=MAX_SEQUENCE, default=0)
    except InvalidFilter as error:
        return JsonResponse({"message": str(error)}, status=422)
    return JsonResponse(manysteps.page(run_id, after))


@require_safe
@requires("runs.view")
def run_overview(request: ActorRequest, run_id: uuid.UUID) -> JsonResponse:
    """All snapshots at a glance."""
    return JsonResponse(manysteps.overview(run_id))


@require_safe
@requires("runs.view")
def run_why(request: ActorRequest, run_id: uuid.UUID) -> HttpResponse:
    """Why the run waits, as a fragment that asks again while it does."""
    found = _or_404(why, run_id)
    return render(request, "runs/_run_why.html", {"why": found, "run_id": run_id})


@require_safe
@requires("runs.view")
def snapshot(request: ActorRequest, run_id: uuid.UUID, sequence: int) -> HttpResponse:
    """What one snapshot holds, as a fragment."""
    found = pages.snapshot_get(run_id, sequence) if sequence <= MAX_SEQUENCE else None
    if found is None:
        raise Http404(f"Run {run_id} has no snapshot {sequence}.")
    return render(request, "runs/_snapshot.html", {"snapshot": found})


@require_POST
@requires("runs.retry")
def run_retry(request: ActorRequest, run_id: uuid.UUID) -> HttpResponse:
    """Queues a run that ended badly again."""
    return _act(request, run_id, services.run_retry, "The run is queued again; finished steps are kept.")


@require_POST
@requires("runs.cancel")
def run_cancel(request: ActorRequest, run_id: uuid.UUID) -> HttpResponse:
    """Cancels a run and those that it waits for; one that a worker holds is stopped."""
    words = {"cancelling": "The run is being stopped: it says cancelled when its code has ended."}
    return _act(request, run_id, services.run_cancel, lambda status: words.get(str(status), "The run is cancelled."))


@require_POST
@requires("runs.top_up")
def run_top_up(request: ActorRequest, run_id: uuid.UUID) -> HttpResponse:
    """Raises one of a run's budgets; the page to go back to may be that of a run that shares it."""
    budget = {request.POST.get("unit", ""): request.POST.get("amount", "").strip()}
    back = _uuid(request.POST.get("back", "")) or run_id
    done = "The budget is raised; what was parked for it goes on when every unit has room."
    return _act(request, run_id, partial(budgets.run_top_up, budget=budget), done, back)


def _uuid(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None


@require_POST
@requires("runs.retry")
def run_resolve(request: ActorRequest, run_id: uuid.UUID) -> HttpResponse:
    """Says what became of the unsafe step of a run that is unknown."""
    text = request.POST.get("output", "").strip()

    def resolve(run_id: uuid.UUID, **who: Any) -> None:
        decision = services.decision_of(request.POST.get("decision", ""))
        happened = decision is services.Decision.HAPPENED and text
        output = jsonvalue.parse(text.encode("utf-8", "replace")) if happened else None
        services.run_resolve_unknown(run_id, decision=decision, output=output, **who)

    return _act(request, run_id, resolve, "Your decision is stored, and the run goes by it.")


@require_POST
@requires("runs.enqueue")
def run_replay(request: ActorRequest, run_id: uuid.UUID) -> HttpResponse:
    """Starts a new run with this one's payload and options, and leads to it."""
    try:
        new = _or_404(services.run_replay, run_id, actor=request.actor, reason=request.POST.get("reason", ""))
    except (HoldfastError, AccessError) as error:
        messages.error(request, str(error))
        return redirect("runs:run", run_id)
    messages.success(request, "This is the new run.")
    return redirect("runs:run", new)


@require_POST
@requires("runs.signal")
def run_signal(request: ActorRequest, run_id: uuid.UUID) -> HttpResponse:
    """Sends the run a signal; an empty value is null."""
    return _send(request, run_id, answers.run_signal, "The run has the signal {}.")


@require_POST
@requires("runs.signal")
def run_update(request: ActorRequest, run_id: uuid.UUID) -> HttpResponse:
    """Asks the run for something; an empty value is null. The page shows the reply when there is one."""
    return _send(request, run_id, updates.update_send, "The run is asked for {}. Its answer will stand under Updates.")


@require_safe
@requires("runs.view")
def run_updates(request: ActorRequest, run_id: uuid.UUID) -> HttpResponse:
    """What it was asked for, as a fragment."""
    _or_404(pages.run_exists, run_id)
    return render(request, "runs/_run_updates.html", {"updates": updates.latest(run_id)})


@require_safe
@requires("runs.view")
def run_children(request: ActorRequest, run_id: uuid.UUID) -> HttpResponse:
    """A page of the runs that it started, as a fragment."""
    _or_404(pages.run_exists, run_id)
    found = pages.children(run_id, after=_uuid(request.GET.get("after", "")))
    return render(request, "runs/_run_children.html", {"run_id": run_id, "children": found})


def _send(request: ActorRequest, run_id: uuid.UUID, service: Callable[..., Any], done: str) -> HttpResponse:
    """Sends the run what was posted, by its name; `done` says so, with the name."""
    name, text = request.POST.get("name", ""), request.POST.get("payload", "").strip() or "null"

    def send(run_id: uuid.UUID, *, actor: Actor, reason: str) -> None:
        del reason
        service(run_id, name, jsonvalue.parse(text.encode()), actor=actor)

    return _act(request, run_id, send, done.format(name))


def _act(
    request: ActorRequest,
    run_id: uuid.UUID,
    service: Callable[..., Any],
    done: str | Callable[[Any], str],
    back: uuid.UUID | None = None,
) -> HttpResponse:
    try:
        became = _or_404(service, run_id, actor=request.actor, reason=request.POST.get("reason", ""))
    except (HoldfastError, AccessError) as error:
        messages.error(request, str(error))
    else:
        messages.success(request, done if isinstance(done, str) else done(became))
    return HttpResponseRedirect(reverse("runs:run", args=(back or run_id,)), status=303)


def _or_404(read: Callable[..., T], run_id: uuid.UUID, **more: Any) -> T:
    try:
        return read(run_id, **more)
    except UnknownRun as error:
        raise Http404(str(error)) from None

"""Where a run is, and what a worker has in its hands."""

from __future__ import annotations

import uuid

from django.contrib import messages
from django.http import Http404, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from holdfast.access.gate import ActorRequest, requires
from runs.errors import HoldfastError, UnknownRun
from runs.stuck import selectors
from runs.stuck.services import stack_take


@require_POST
@requires("runs.view")
def run_stack(request: ActorRequest, run_id: uuid.UUID) -> HttpResponse:
    """Asks the run's worker where it is; htmx gets the stack alone."""
    taken, refused = None, ""
    try:
        taken = stack_take(run_id)
    except UnknownRun as error:
        raise Http404(str(error)) from None
    except HoldfastError as error:
        refused = str(error)
    if request.headers.get("HX-Request"):
        return render(request, "runs/_stack.html", {"taken": taken, "refused": refused, "run_id": run_id})
    if refused:
        messages.error(request, refused)
    return HttpResponseRedirect(f"{reverse('runs:run', args=(run_id,))}#run-stack", status=303)


@require_safe
@requires("runs.view")
def worker(request: ActorRequest, worker_id: int) -> HttpResponse:
    """A worker and its runs; htmx gets their table alone."""
    page = selectors.worker_page(worker_id)
    if page is None:
        raise Http404(f"There is no worker {worker_id}.")
    partial = bool(request.headers.get("HX-Request"))
    return render(request, "runs/_worker.html" if partial else "runs/worker.html", {"page": page})

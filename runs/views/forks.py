"""A run forked at one of its snapshots."""

from __future__ import annotations

import uuid

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from holdfast.access.errors import AccessError
from holdfast.access.gate import ActorRequest, requires
from holdfast.access.grants import require
from runs.errors import HoldfastError, InvalidOption, UnknownRun
from runs.forks.forms import ForkForm
from runs.forks.selectors import ForkPage, fork_page
from runs.forks.services import run_fork


@require_http_methods(["GET", "HEAD", "POST"])
@requires("runs.view")
def fork(request: ActorRequest, run_id: uuid.UUID, sequence: int) -> HttpResponse:
    """What a fork keeps and does again; a POST starts it and leads to it."""
    page = _page(run_id, sequence)
    if request.method != "POST":
        return _render(request, page, ForkForm.of(page))
    actor, form = require(request.actor, "runs.enqueue"), ForkForm(request.POST)
    if form.is_valid():
        try:
            new = run_fork(run_id, sequence=sequence, actor=actor, **form.asked(page))
        except (HoldfastError, AccessError) as error:
            form.add_refusal(error)
        else:
            messages.success(request, f"This is the new run. It goes on after snapshot {sequence}.")
            return redirect("runs:run", new)
    return _render(request, page, form, 422)


def _render(request: ActorRequest, page: ForkPage, form: ForkForm, status: int = 200) -> HttpResponse:
    return render(request, "runs/fork.html", {"page": page, "form": form}, status=status)


def _page(run_id: uuid.UUID, sequence: int) -> ForkPage:
    try:
        return fork_page(run_id, sequence)
    except (UnknownRun, InvalidOption) as error:
        raise Http404(str(error)) from None

"""What tasks there are, and trying one."""

from __future__ import annotations

import uuid

from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_safe

from holdfast.access.gate import ActorRequest, requires
from holdfast.access.grants import require
from runs import dashboard, selectors, tryit
from runs.errors import UnknownRun, UnknownTask
from runs.filters import RunFilter
from runs.models import Run, Task

RECENT = 8


@require_safe
@requires("runs.view")
def tasks(request: ActorRequest) -> HttpResponse:
    """The registered tasks, or those with `?q=` in their id, with their last 24 hours."""
    after, named = (request.GET.get(name, "").replace("\x00", "").strip() for name in ("after", "q"))
    page = selectors.tasks(after=after, named=named)
    stats = dashboard.task_stats([task.id for task in page.items])
    rows = [(task, stats[task.id]) for task in page.items]
    context = {"rows": rows, "next": page.next, "named": named, "many": bool(named or after or page.next)}
    return render(request, "runs/tasks.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@requires("runs.view")
def task(request: ActorRequest, task_id: str) -> HttpResponse:
    """One task, with its form; the form's POST starts a run and leads to it."""
    found = _task(task_id)
    old = _replayed(request, found)
    if request.method != "POST":
        return _page(request, found, tryit.fresh(found, old), old)
    actor = require(request.actor, "runs.enqueue")
    tried = tryit.submit(found, request.POST, actor, replay_of=old.id if old else None)
    if tried.run_id:
        return redirect("runs:run", tried.run_id)
    return _page(request, found, tried, old)


def _replayed(request: ActorRequest, found: Task) -> Run | None:
    """The run whose payload fills the form: `?payload_of=<id>`, a run of this task."""
    text = request.GET.get("payload_of")
    if not text:
        return None
    try:
        old = selectors.run_get(uuid.UUID(text))
    except (ValueError, UnknownRun):
        raise Http404("There is no such run.") from None
    if old.task_id != found.id:
        raise Http404(f"Run {old.id} is not one of {found.id}.")
    return old


def _page(request: ActorRequest, found: Task, tried: tryit.Try, old: Run | None) -> HttpResponse:
    context = {
        "task": found,
        "replayed": old,
        "try": tried,
        "stats": dashboard.task_stats([found.id])[found.id],
        "recent": selectors.runs_page(RunFilter(task=found.id), limit=RECENT).items,
        "same": tryit.equivalents(found, request.build_absolute_uri("/").rstrip("/")),
    }
    return render(request, "runs/task.html", context, status=tried.status)


def _task(task_id: str) -> Task:
    try:
        return selectors.task_get(task_id)
    except UnknownTask as error:
        raise Http404(str(error)) from None

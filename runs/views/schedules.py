"""Schedules: what begins by the clock, when next, and what became of it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from holdfast.access.errors import AccessError
from holdfast.access.gate import ActorRequest, requires
from holdfast.access.grants import Actor, require
from runs.errors import HoldfastError
from runs.lists import task_ids
from runs.models import Run
from runs.schedules import selectors, services
from runs.schedules.backfill import backfill
from runs.schedules.forms import BackfillForm, ScheduleForm
from runs.schedules.model import Schedule
from runs.schedules.services import UnknownSchedule
from runs.views import hookparts as parts

#: Ticks that are shown of a schedule.
LAST = 50


@require_http_methods(["GET", "HEAD", "POST"])
@requires("runs.view")
def schedules(request: ActorRequest) -> HttpResponse:
    """All schedules; a POST makes one."""
    if request.method != "POST":
        return _list(request, ScheduleForm())
    actor = require(request.actor, "schedules.edit")
    form = ScheduleForm(request.POST)
    if form.is_valid():
        asked = form.cleaned_data
        try:
            made = services.schedule_create(asked["name"], actor, asked["reason"], **form.values)
        except (HoldfastError, AccessError) as error:
            form.add_refusal(error)
        else:
            messages.success(request, f"Schedule {made.name} is made.")
            return redirect("runs:schedule", made.name)
    return _list(request, form, status=422)


@require_http_methods(["GET", "HEAD", "POST"])
@requires("runs.view")
def schedule(request: ActorRequest, name: str) -> HttpResponse:
    """One schedule; a POST changes it."""
    found = _found(name)
    if request.method != "POST":
        return _page(request, found)
    actor = require(request.actor, "schedules.edit")
    if "as_declared" in request.POST:
        reset = partial(services.schedule_update, as_declared=True, seen=parts.seen(request))
        return _act(request, found, reset, "As in code again.")
    form = ScheduleForm.of(found, request.POST)

    def change() -> None:
        services.schedule_update(name, actor, form.cleaned_data["reason"], seen=parts.seen(request), **form.values)

    if parts.accepted(form, change):
        messages.success(request, "The change is in force from the next tick on.")
        return redirect("runs:schedule", name)
    return _page(request, found, form=form)


@require_POST
@requires("schedules.run")
def schedule_pause(request: ActorRequest, name: str) -> HttpResponse:
    """No tick begins a run."""
    return _act(request, _found(name), services.schedule_pause, "It is paused.")


@require_POST
@requires("schedules.run")
def schedule_resume(request: ActorRequest, name: str) -> HttpResponse:
    """Ticks begin runs again."""
    return _act(request, _found(name), services.schedule_resume, "Its ticks begin runs again.")


@require_POST
@requires("schedules.run")
def schedule_run(request: ActorRequest, name: str) -> HttpResponse:
    """Begins a run now, and leads to it."""
    _found(name)
    try:
        run_id = services.schedule_run(name, request.actor, _reason(request))
    except (HoldfastError, AccessError) as error:
        messages.error(request, str(error))
        return redirect("runs:schedule", name)
    return redirect("runs:run", run_id)


@require_POST
@requires("schedules.edit")
def schedule_delete(request: ActorRequest, name: str) -> HttpResponse:
    """Deletes it; its runs stay."""
    done = f"Schedule {name} is deleted. Its runs stay."
    _found(name)

    def delete(reason: str) -> None:
        services.schedule_delete(name, request.actor, reason)

    return parts.act(request, reverse("runs:schedules"), delete, done)


@require_POST
@requires("schedules.run")
def schedule_backfill(request: ActorRequest, name: str) -> HttpResponse:
    """Begins the runs of ticks that are over."""
    found, form = _found(name), BackfillForm(request.POST)
    if form.is_valid():
        asked = form.cleaned_data
        try:
            done = backfill(name, asked["from"].strip(), asked["to"].strip(), request.actor, asked["reason"])
        except (HoldfastError, AccessError) as error:
            form.add_refusal(error)
        else:
            messages.success(request, f"{done.runs:,} runs are begun; {done.skipped:,} ticks had begun one before.")
            return redirect("runs:schedule", name)
    return _page(request, found, backfill_form=form)


def _act(request: ActorRequest, found: Schedule, do: Callable[[str, Actor, str], Any], done: str) -> HttpResponse:
    page = reverse("runs:schedule", args=[found.name])
    return parts.act(request, page, lambda reason: do(found.name, request.actor, reason), done)


def _list(request: ActorRequest, form: ScheduleForm, status: int = 200) -> HttpResponse:
    found = selectors.schedules()
    last = Run.objects.in_bulk([row.last_run for row in found if row.last_run])
    rows = [(row, last.get(row.last_run) if row.last_run else None) for row in found]
    context = {"rows": rows, "form": form, "tasks": task_ids(), "open": status != 200 or "new" in request.GET}
    return render(request, "runs/schedules.html", context, status=status)


def _page(
    request: ActorRequest,
    found: Schedule,
    *,
    form: ScheduleForm | None = None,
    backfill_form: BackfillForm | None = None,
) -> HttpResponse:
    ticks = selectors.last_ticks(found, LAST)
    runs = Run.objects.in_bulk([tick.run_id for tick in ticks if tick.run_id])
    refused = form is not None or backfill_form is not None
    context = {
        "schedule": found,
        "upcoming": selectors.upcoming(found),
        "ticks": [(tick, runs.get(tick.run_id) if tick.run_id else None) for tick in ticks],
        "form": form or ScheduleForm.of(found),
        "editing": form is not None,
        "mark": services.settings_mark(found),
        "backfill_form": backfill_form or BackfillForm(auto_id="id_backfill_%s"),
        "filling": backfill_form is not None,
        "tasks": task_ids(),
    }
    return render(request, "runs/schedule.html", context, status=422 if refused else 200)


def _reason(request: ActorRequest) -> str:
    return request.POST.get("reason", "").strip()


def _found(name: str) -> Schedule:
    try:
        return selectors.schedule_get(name)
    except UnknownSchedule as error:
        raise Http404(str(error)) from None

"""Alerts: what fires, what is unmeasured, and what a rule would have done."""

from __future__ import annotations

from typing import Any, Final

from django.contrib import messages
from django.db.models import prefetch_related_objects
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe
from pydantic_core import to_json

from holdfast.access.errors import AccessError
from holdfast.access.gate import ActorRequest, requires
from holdfast.access.grants import require
from queues.selectors import queue_names
from runs.alerts import delivering, selectors, services, words
from runs.alerts.forms import AlertForm, SilenceForm
from runs.alerts.measuring import TooSlow
from runs.alerts.model import Alert, Channel, Firing
from runs.alerts.selectors import Past, Preview
from runs.errors import HoldfastError, InvalidFilter
from runs.filters import parse_number
from runs.lists import MAX_CHOICES, task_ids
from runs.schedules.model import Schedule
from runs.views import hookparts as parts
from runs.webhooks import examples

#: What the page of one shows of the command line.
VERBS: Final = ("show NAME", "preview NAME", "firings NAME", "silence NAME 1h", "set NAME --for 10m", "delete NAME")
#: Firings and deliveries of a page.
FIRINGS, DELIVERIES = 20, 10
COMMAND: Final = "manage.py alerts create invoices-fail failure_rate 10 --task send-invoice --window 1h --for 5m"


@require_http_methods(["GET", "HEAD", "POST"])
@requires("runs.view")
def alerts(request: ActorRequest) -> HttpResponse:
    """All alerts; a POST makes one, or shows what it would have done."""
    if request.method != "POST":
        return _list(request, AlertForm())
    actor = require(request.actor, "alerts.edit")
    form = AlertForm(request.POST)
    if not form.is_valid():
        return _list(request, form, status=422)
    try:
        if "preview" in request.POST:
            return _list(request, form, preview=selectors.preview(services.alert_draft(**form.values)))
        asked = form.cleaned_data
        made = services.alert_create(asked["name"], actor=actor, reason=asked["reason"], **form.values)
    except (HoldfastError, AccessError) as error:
        form.add_refusal(error)
        return _list(request, form, status=422)
    messages.success(request, f"Alert {made.name} is made; it is looked at each minute.")
    return redirect("runs:alert", made.name)


@require_http_methods(["GET", "HEAD", "POST"])
@requires("runs.view")
def alert(request: ActorRequest, name: str) -> HttpResponse:
    """One alert; a POST changes it, or shows what the change would have done."""
    found = _found(name)
    if request.method != "POST":
        return _page(request, found)
    actor = require(request.actor, "alerts.edit")
    form = AlertForm.of(found, request.POST)
    if not form.is_valid():
        return _page(request, found, form=form, status=422)
    try:
        if "preview" in request.POST:
            draft = services.alert_draft(**{"kind": found.kind, **form.values})
            return _page(request, found, form=form, preview=selectors.preview(draft))
        reason = form.cleaned_data["reason"]
        services.alert_update(name, form.values, actor=actor, reason=reason, seen=parts.seen(request))
    except (HoldfastError, AccessError) as error:
        form.add_refusal(error)
        return _page(request, found, form=form, status=422)
    messages.success(request, "The change is in force.")
    return redirect("runs:alert", name)


@require_safe
@requires("runs.view")
def alert_preview(request: ActorRequest, name: str) -> HttpResponse:
    """The last seven days of an alert, drawn: a part of its page that comes after the rest."""
    return render(request, "runs/_alert_preview.html", {**_preview_of(_found(name)), "stored": True})


@require_POST
@requires("alerts.silence")
def alert_silence(request: ActorRequest, name: str) -> HttpResponse:
    """Nobody is told for a time."""
    _found(name)
    form = SilenceForm(request.POST)
    if not form.is_valid():
        messages.error(request, " ".join(f"{field}: {said[0]}" for field, said in form.errors.items()))
        return redirect("runs:alert", name)

    def silence(reason: str) -> Alert:
        return services.alert_silence(name, form.seconds, actor=request.actor, reason=reason)

    return parts.act(request, _page_of(name), silence, "It is silenced. What still fires then is told then.")


@require_POST
@requires("alerts.silence")
def alert_unsilence(request: ActorRequest, name: str) -> HttpResponse:
    """People are told again."""
    _found(name)

    def unsilence(reason: str) -> Alert:
        return services.alert_unsilence(name, actor=request.actor, reason=reason)

    return parts.act(request, _page_of(name), unsilence, "It tells again.")


@require_POST
@requires("alerts.silence")
def alert_acknowledge(request: ActorRequest, name: str) -> HttpResponse:
    """Somebody knows of what fires."""
    _found(name)

    def acknowledge(reason: str) -> Firing:
        return services.alert_acknowledge(name, actor=request.actor, reason=reason)

    return parts.act(request, _page_of(name), acknowledge, "The others see that you know of it.")


@require_POST
@requires("alerts.edit")
def alert_switch(request: ActorRequest, name: str, on: bool) -> HttpResponse:
    """It is looked at, or not."""
    _found(name)
    done = "It is looked at each minute." if on else "It is switched off: nobody looks at it."

    def switch(reason: str) -> Alert:
        return services.alert_update(name, {"enabled": on}, actor=request.actor, reason=reason)

    return parts.act(request, _page_of(name), switch, done)


@require_POST
@requires("alerts.edit")
def alert_delete(request: ActorRequest, name: str) -> HttpResponse:
    """Deletes it and its history."""
    _found(name)

    def delete(reason: str) -> None:
        services.alert_delete(name, actor=request.actor, reason=reason)

    return parts.act(request, reverse("runs:alerts"), delete, f"Alert {name} is deleted.")


def _list(request: ActorRequest, form: AlertForm, status: int = 200, preview: Preview | None = None) -> HttpResponse:
    body = {"name": "invoices-fail", "kind": "failure_rate", "task": "send-invoice", "threshold": 10, "hold": 300}
    context = {
        "rows": selectors.rows(),
        "lately": selectors.lately(),
        "form": form,
        "open": form.is_bound or "new" in request.GET,
        "command": COMMAND,
        "http": examples.http(parts.base(request), "/alerts", body),
        **_choices(),
        **_preview(preview),
    }
    return render(request, "runs/alerts.html", context, status=status)


def _page(
    request: ActorRequest,
    found: Alert,
    *,
    form: AlertForm | None = None,
    preview: Preview | None = None,
    status: int = 200,
) -> HttpResponse:
    prefetch_related_objects([found], "channels")
    cursor = _cursor(request)
    firings = selectors.firings(found, cursor=cursor, limit=FIRINGS)
    sent = selectors.deliveries(delivering.alert_tag(found.name), limit=DELIVERIES).items
    without_scripts = form is None and "preview" in request.GET
    context: dict[str, Any] = {
        "row": selectors.row(found),
        "alert": found,
        "over": words.span(found.window),
        "held": words.span(found.hold),
        "firings": [Past(firing, found) for firing in firings.items],
        "cursor": cursor,
        "next": firings.next,
        "deliveries": [selectors.describe_delivery(run) for run in sent],
        "form": form or AlertForm.of(found),
        "editing": form is not None,
        "mark": services.settings_mark(found),
        "silence": SilenceForm(auto_id="id_silence_%s"),
        "command": examples.commands("alerts", found.name, VERBS),
        "http": examples.http(parts.base(request), f"/alerts/{found.name}/silence", {"seconds": 3600}),
        **_choices(),
        **(_preview_of(found) if without_scripts else _preview(preview)),
    }
    return render(request, "runs/alert.html", context, status=status)


def _preview(found: Preview | None) -> dict[str, Any]:
    return {"preview": found, "figure": to_json(found.figure).decode()} if found else {}


def _preview_of(found: Alert) -> dict[str, Any]:
    """The preview of an alert that is there, or why there is none."""
    try:
        return _preview(selectors.preview(found))
    except TooSlow as error:
        return {"preview_refused": str(error)}


def _choices() -> dict[str, Any]:
    schedules = Schedule.objects.order_by("name").values_list("name", flat=True)[:MAX_CHOICES]
    known = {"tasks": task_ids(), "queues": queue_names(limit=MAX_CHOICES), "schedules": list(schedules)}
    return {"lists": known, "no_channels": not Channel.objects.exists()}


def _cursor(request: ActorRequest) -> int | None:
    """Where the page of firings begins; one that is none is the first."""
    try:
        return parse_number("cursor", request.GET.get("cursor"), least=1, most=2**63 - 1, default=0) or None
    except InvalidFilter:
        return None


def _page_of(name: str) -> str:
    return reverse("runs:alert", args=[name])


def _found(name: str) -> Alert:
    try:
        return services.alert_get(name)
    except services.UnknownAlert as error:
        raise Http404(str(error)) from None

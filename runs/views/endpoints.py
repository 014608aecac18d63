"""Webhooks, out: who is told how runs have ended, and whether they took it."""

from __future__ import annotations

import uuid
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST

from holdfast.access.errors import AccessError
from holdfast.access.gate import ActorRequest, requires
from holdfast.access.grants import require
from runs.errors import HoldfastError
from runs.forms import ReasonForm
from runs.lists import task_ids
from runs.outbound import selectors, services
from runs.outbound.forms import EndpointForm
from runs.outbound.model import Endpoint
from runs.states import RETRYABLE, Status
from runs.views import hookparts as parts
from runs.webhooks import examples, vault

#: What the page of one shows of the command line.
VERBS = ("test NAME", "deliveries NAME", "resend NAME DELIVERY", "rotate NAME", "pause NAME", "delete NAME")
#: Deliveries that may be sent again.
AGAIN = RETRYABLE | {Status.COMPLETED}


@require_http_methods(["GET", "HEAD", "POST"])
@requires("webhooks.view")
def endpoints(request: ActorRequest) -> HttpResponse:
    """All endpoints; a POST makes one, and shows its secret once."""
    if request.method != "POST":
        return _list(request, EndpointForm())
    actor = require(request.actor, "webhooks.edit")
    form = EndpointForm(request.POST)
    if form.is_valid():
        try:
            return _told(request, *services.endpoint_create(**form.cleaned_data, actor=actor))
        except (HoldfastError, AccessError) as error:
            form.add_refusal(error)
    return _list(request, form, status=422)


@require_http_methods(["GET", "HEAD", "POST"])
@requires("webhooks.view")
def endpoint(request: ActorRequest, name: str) -> HttpResponse:
    """One endpoint; a POST changes it."""
    found = _found(name)
    if request.method != "POST":
        return _page(request, found)
    actor = require(request.actor, "webhooks.edit")
    form = EndpointForm.of(found, request.POST)

    def change() -> None:
        services.endpoint_update(
            name, form.values, actor=actor, reason=form.cleaned_data["reason"], seen=parts.seen(request)
        )

    if parts.accepted(form, change):
        messages.success(request, "The change is in force for the runs that end from now on.")
        return redirect("runs:endpoint", name)
    return _page(request, found, form=form)


@require_POST
@requires("webhooks.edit")
def endpoint_rotate(request: ActorRequest, name: str) -> HttpResponse:
    """A new secret, which is shown once."""
    found, form = _found(name), ReasonForm(request.POST)
    if parts.seen(request) != parts.secret_mark(found.secret):
        messages.error(request, parts.ROTATED)
    elif not form.is_valid():
        messages.error(request, parts.refused(form))
    else:
        try:
            row, secret = services.endpoint_rotate(name, actor=request.actor, reason=form.cleaned_data["reason"])
            return _told(request, row, secret)
        except (HoldfastError, AccessError) as error:
            messages.error(request, str(error))
    return redirect("runs:endpoint", name)


@require_POST
@requires("webhooks.edit")
def endpoint_switch(request: ActorRequest, name: str, on: bool) -> HttpResponse:
    """Tells it of what ends from now on, or nothing."""
    _found(name)
    done = "It is told of the runs that end from now on." if on else "It is switched off: it is told nothing."

    def switch(reason: str) -> None:
        services.endpoint_update(name, {"enabled": on}, actor=request.actor, reason=reason)

    return parts.act(request, reverse("runs:endpoint", args=[name]), switch, done)


@require_POST
@requires("webhooks.edit")
def endpoint_test(request: ActorRequest, name: str) -> HttpResponse:
    """Sends it a test that says nothing of any run."""
    _found(name)

    def test(reason: str) -> uuid.UUID:
        return services.endpoint_test(name, actor=request.actor, reason=reason)

    done = "A test is on its way; it stands first among the deliveries."
    return parts.act(request, reverse("runs:endpoint", args=[name]), test, done)


@require_POST
@requires("webhooks.edit")
def endpoint_delete(request: ActorRequest, name: str) -> HttpResponse:
    """Deletes it; what is on its way to it is not delivered."""
    _found(name)

    def delete(reason: str) -> None:
        services.endpoint_delete(name, actor=request.actor, reason=reason)

    return parts.act(request, reverse("runs:endpoints"), delete, f"Endpoint {name} is deleted.")


@require_POST
@requires("webhooks.resend")
def endpoint_resend(request: ActorRequest, name: str, run_id: uuid.UUID) -> HttpResponse:
    """Sends a delivery once more."""
    if selectors.delivery(_found(name), run_id) is None:
        raise Http404(f"There is no delivery {run_id} to endpoint {name}.")

    def resend(reason: str) -> uuid.UUID:
        return services.delivery_resend(name, run_id, actor=request.actor, reason=reason)

    return parts.act(request, reverse("runs:endpoint", args=[name]), resend, "It is sent again.")


def _list(request: ActorRequest, form: EndpointForm, status: int = 200) -> HttpResponse:
    rows, more = selectors.endpoints()
    body = {"name": "crm", "url": "https://example.org/hooks", "events": ["run.failed", "run.crashed"]}
    context = {
        "rows": rows,
        "more": more,
        "most": selectors.MAX_LATELY,
        "form": form,
        "tasks": task_ids(),
        "open": status != 200 or "new" in request.GET,
        "command": "manage.py endpoints create crm https://example.org/hooks --event run.failed --event run.crashed",
        "http": examples.http(parts.base(request), "/endpoints", body),
    }
    return render(request, "runs/endpoints.html", context, status=status)


def _page(request: ActorRequest, found: Endpoint, *, form: EndpointForm | None = None) -> HttpResponse:
    cursor = parts.cursor_of(request)
    page = selectors.deliveries(found, cursor=cursor, limit=parts.PAGE)
    deliveries = [
        {**selectors.describe(run), "again": run.status in AGAIN and found.enabled and selectors.is_for(found, run)}
        for run in page.items
    ]
    context: dict[str, Any] = {
        "endpoint": found,
        "rotating": vault.rotating(found.old_until, timezone.now()),
        "deliveries": deliveries,
        "cursor": cursor,
        "next": page.next,
        "command": examples.commands("endpoints", found.name, VERBS),
        "test": f"manage.py endpoints test {found.name}",
        "http": examples.http(parts.base(request), f"/endpoints/{found.name}/test", {"reason": "does it come?"}),
        "form": form or EndpointForm.of(found),
        "editing": form is not None,
        "secret_mark": parts.secret_mark(found.secret),
        "mark": services.settings_mark(found),
        "tasks": task_ids(),
    }
    return render(request, "runs/endpoint.html", context, status=422 if form else 200)


def _told(request: ActorRequest, row: Endpoint, secret: str) -> HttpResponse:
    page = reverse("runs:endpoint", args=[row.name])
    told = {"name": row.name, "secret": secret, "page": page, "list": reverse("runs:endpoints")}
    return parts.tell_secret(request, told)


def _found(name: str) -> Endpoint:
    try:
        return services.endpoint_get(name)
    except services.UnknownEndpoint as error:
        raise Http404(str(error)) from None

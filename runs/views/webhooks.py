"""Webhooks, in: what others may start, and what came of what they sent."""

from __future__ import annotations

import uuid
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from holdfast.access.errors import AccessError
from holdfast.access.gate import ActorRequest, requires
from holdfast.access.grants import require
from runs.errors import HoldfastError
from runs.lists import task_ids
from runs.models import Run, Task
from runs.tryit import example
from runs.views import hookparts as parts
from runs.webhooks import examples, selectors, services, vault
from runs.webhooks.forms import RotateForm, WebhookForm
from runs.webhooks.model import Delivery, Webhook

#: What the page of one shows of the command line.
VERBS = ("deliveries NAME", "resend DELIVERY", "set NAME --mapping '…'", "rotate NAME", "pause NAME", "delete NAME")


@sensitive_post_parameters("secret")
@require_http_methods(["GET", "HEAD", "POST"])
@requires("webhooks.view")
def webhooks(request: ActorRequest) -> HttpResponse:
    """All inbound webhooks; a POST makes one, and shows its secret once."""
    if request.method != "POST":
        return _list(request, WebhookForm())
    actor = require(request.actor, "webhooks.edit")
    form = WebhookForm(request.POST)
    if form.is_valid():
        asked = {**form.cleaned_data, "secret": form.cleaned_data["secret"] or None}
        try:
            row, secret = services.webhook_create(**asked, actor=actor)
        except (HoldfastError, AccessError) as error:
            form.add_refusal(error)
        else:
            return _told(request, row, secret)
    return _list(request, form, status=422)


@require_http_methods(["GET", "HEAD", "POST"])
@requires("webhooks.view")
def webhook(request: ActorRequest, name: str) -> HttpResponse:
    """One webhook; a POST changes it."""
    found = _found(name)
    if request.method != "POST":
        return _page(request, found)
    actor = require(request.actor, "webhooks.edit")
    form = WebhookForm.of(found, request.POST)

    def change() -> None:
        services.webhook_update(
            name, form.values, actor=actor, reason=form.cleaned_data["reason"], seen=parts.seen(request)
        )

    if parts.accepted(form, change):
        messages.success(request, "The change is in force with the next request.")
        return redirect("runs:webhook", name)
    return _page(request, found, form=form)


@sensitive_post_parameters("secret")
@require_POST
@requires("webhooks.edit")
def webhook_rotate(request: ActorRequest, name: str) -> HttpResponse:
    """A new secret, which is shown once."""
    found, form = _found(name), RotateForm(request.POST)
    if parts.seen(request) != parts.secret_mark(found.secret):
        messages.error(request, parts.ROTATED)
        return redirect("runs:webhook", name)
    if form.is_valid():
        asked = {**form.cleaned_data, "secret": form.cleaned_data["secret"] or None}
        try:
            return _told(request, *services.webhook_rotate(name, **asked, actor=request.actor))
        except (HoldfastError, AccessError) as error:
            form.add_refusal(error)
    return _page(request, found, rotate_form=form)


@require_POST
@requires("webhooks.edit")
def webhook_switch(request: ActorRequest, name: str, on: bool) -> HttpResponse:
    """Takes requests, or refuses them for their senders to send again later."""
    _found(name)
    done = "It takes requests." if on else "It is switched off: senders are told to send again later."

    def switch(reason: str) -> None:
        services.webhook_update(name, {"enabled": on}, actor=request.actor, reason=reason)

    return parts.act(request, reverse("runs:webhook", args=[name]), switch, done)


@require_POST
@requires("webhooks.edit")
def webhook_delete(request: ActorRequest, name: str) -> HttpResponse:
    """Deletes it and what came to it; its runs stay."""
    _found(name)

    def delete(reason: str) -> None:
        services.webhook_delete(name, actor=request.actor, reason=reason)

    return parts.act(request, reverse("runs:webhooks"), delete, f"Webhook {name} is deleted. Its runs stay.")


@require_safe
@requires("webhooks.view")
def delivery(request: ActorRequest, name: str, delivery_id: uuid.UUID) -> HttpResponse:
    """What one request brought, as a fragment."""
    return render(request, "runs/_delivery.html", {"delivery": _delivery(name, delivery_id)})


@require_POST
@requires("webhooks.resend")
def delivery_resend(request: ActorRequest, name: str, delivery_id: uuid.UUID) -> HttpResponse:
    """Puts it through filter and mapping once more."""
    _delivery(name, delivery_id)

    def resend(reason: str) -> Delivery:
        return services.delivery_resend(delivery_id, actor=request.actor, reason=reason)

    return parts.act(request, reverse("runs:webhook", args=[name]), resend, _became)


def _became(row: Delivery) -> str:
    words = {"accepted": "accepted: a run is begun", "filtered": "filtered: no run is begun"}
    return f"It was sent again and is {words.get(row.outcome, f'refused: {row.reason}')}."


def _list(request: ActorRequest, form: WebhookForm, status: int = 200) -> HttpResponse:
    rows, more = selectors.webhooks()
    body = {"name": "github", "task": "review", "scheme": "github", "mapping": "{title: issue.title}"}
    context = {
        "rows": rows,
        "more": more,
        "most": selectors.MAX_LATELY,
        "form": form,
        "tasks": task_ids(),
        "open": status != 200 or "new" in request.GET,
        "command": "manage.py webhooks create github review --scheme github --mapping '{title: issue.title}'",
        "http": examples.http(parts.base(request), "/webhooks", body),
    }
    return render(request, "runs/webhooks.html", context, status=status)


def _page(
    request: ActorRequest, found: Webhook, *, form: WebhookForm | None = None, rotate_form: RotateForm | None = None
) -> HttpResponse:
    cursor = parts.cursor_of(request)
    page = selectors.deliveries(found, cursor=cursor, limit=parts.PAGE, bodies=False)
    runs = Run.objects.only("id", "status").in_bulk([row.run_id for row in page.items if row.run_id])
    task = Task.objects.filter(pk=found.task_id).first()
    payload = example(task.payload_schema) if task and not found.mapping.strip() else {}
    address = request.build_absolute_uri(reverse("hook", args=[found.name]))
    path = f"/webhooks/{found.name}"
    context: dict[str, Any] = {
        "webhook": found,
        "rotating": vault.rotating(found.old_until, timezone.now()),
        "deliveries": [(row, runs.get(row.run_id) if row.run_id else None) for row in page.items],
        "cursor": cursor,
        "next": page.next,
        "address": address,
        "example": examples.signed(found.scheme, address, payload),
        "command": examples.commands("webhooks", found.name, VERBS),
        "http": examples.http(parts.base(request), path, {"enabled": False, "reason": "too many"}, "PATCH"),
        "form": form or WebhookForm.of(found),
        "editing": form is not None,
        "rotate_form": rotate_form or RotateForm(auto_id="id_rotate_%s"),
        "asking": rotate_form is not None,
        "secret_mark": parts.secret_mark(found.secret),
        "mark": services.settings_mark(found),
        "tasks": task_ids(),
    }
    return render(request, "runs/webhook.html", context, status=422 if form or rotate_form else 200)


def _told(request: ActorRequest, row: Webhook, secret: str) -> HttpResponse:
    address = request.build_absolute_uri(reverse("hook", args=[row.name]))
    page = reverse("runs:webhook", args=[row.name])
    told = {"name": row.name, "secret": secret, "address": address, "page": page, "list": reverse("runs:webhooks")}
    return parts.tell_secret(request, told)


def _found(name: str) -> Webhook:
    try:
        return services.webhook_get(name)
    except services.UnknownWebhook as error:
        raise Http404(str(error)) from None


def _delivery(name: str, delivery_id: uuid.UUID) -> Delivery:
    row = Delivery.objects.filter(pk=delivery_id, webhook=_found(name)).first()
    if row is None:
        raise Http404(f"There is no delivery {delivery_id}; old ones are dropped.")
    return row

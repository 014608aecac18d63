"""Channels: where alerts arrive, and whether what was told was taken."""

from __future__ import annotations

import uuid
from typing import Any, Final

from django.conf import settings
from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from holdfast.access.errors import AccessError
from holdfast.access.gate import ActorRequest, requires
from holdfast.access.grants import require
from runs.alerts import channels as services
from runs.alerts import delivering, selectors
from runs.alerts.choices import ChannelKind
from runs.alerts.forms import ChannelForm
from runs.alerts.model import Channel
from runs.errors import HoldfastError
from runs.views import hookparts as parts
from runs.webhooks import examples

#: What the page of one shows of the command line.
VERBS: Final = ("test NAME", "deliveries NAME", "pause NAME", "delete NAME")


@sensitive_post_parameters("url")
@require_http_methods(["GET", "HEAD", "POST"])
@requires("runs.view")
def channels(request: ActorRequest) -> HttpResponse:
    """All channels; a POST makes one."""
    if request.method != "POST":
        return _list(request, ChannelForm())
    actor = require(request.actor, "alerts.edit")
    form = ChannelForm(request.POST)
    if form.is_valid():
        asked = form.cleaned_data
        try:
            made = services.channel_create(
                asked["name"], asked["kind"], actor=actor, reason=asked["reason"], **form.values
            )
        except (HoldfastError, AccessError) as error:
            form.add_refusal(error)
        else:
            messages.success(request, f"Channel {made.name} is made. Send it a test.")
            return redirect("runs:channel", made.name)
    return _list(request, form, status=422)


@sensitive_post_parameters("url")
@require_http_methods(["GET", "HEAD", "POST"])
@requires("runs.view")
def channel(request: ActorRequest, name: str) -> HttpResponse:
    """One channel; a POST changes it."""
    found = _found(name)
    if request.method != "POST":
        return _page(request, found)
    actor = require(request.actor, "alerts.edit")
    form = ChannelForm.of(found, request.POST)

    def change() -> None:
        services.channel_update(
            name, form.values, actor=actor, reason=form.cleaned_data["reason"], seen=parts.seen(request)
        )

    if parts.accepted(form, change):
        messages.success(request, "The change is in force for what is sent from now on.")
        return redirect("runs:channel", name)
    return _page(request, found, form=form)


@require_POST
@requires("alerts.edit")
def channel_test(request: ActorRequest, name: str) -> HttpResponse:
    """Sends it a test that says so."""
    _found(name)

    def test(reason: str) -> uuid.UUID:
        return services.channel_test(name, actor=request.actor, reason=reason)

    done = "A test is on its way; it stands first among the deliveries."
    return parts.act(request, reverse("runs:channel", args=[name]), test, done)


@require_POST
@requires("alerts.edit")
def channel_switch(request: ActorRequest, name: str, on: bool) -> HttpResponse:
    """Tells it what comes from now on, or nothing."""
    _found(name)
    done = "It is told what comes from now on." if on else "It is switched off: it is told nothing."

    def switch(reason: str) -> Channel:
        return services.channel_update(name, {"enabled": on}, actor=request.actor, reason=reason)

    return parts.act(request, reverse("runs:channel", args=[name]), switch, done)


@require_POST
@requires("alerts.edit")
def channel_delete(request: ActorRequest, name: str) -> HttpResponse:
    """Deletes it; what is on its way to it is not delivered."""
    _found(name)

    def delete(reason: str) -> None:
        services.channel_delete(name, actor=request.actor, reason=reason)

    return parts.act(request, reverse("runs:channels"), delete, f"Channel {name} is deleted.")


def _list(request: ActorRequest, form: ChannelForm, status: int = 200) -> HttpResponse:
    body = {"name": "ops", "kind": "email", "recipients": ["ops@example.org"]}
    context = {
        "rows": selectors.channel_rows(),
        "form": form,
        "open": form.is_bound or "new" in request.GET,
        "mails": settings.HOLDFAST_MAILS,
        "command": "manage.py channels create ops email --to ops@example.org",
        "http": examples.http(parts.base(request), "/channels", body),
    }
    return render(request, "runs/channels.html", context, status=status)


def _page(request: ActorRequest, found: Channel, *, form: ChannelForm | None = None) -> HttpResponse:
    cursor = parts.cursor_of(request)
    page = selectors.deliveries(delivering.channel_tag(found.name), cursor=cursor, limit=parts.PAGE)
    context: dict[str, Any] = {
        "channel": found,
        "place": services.place(found),
        "alerts": list(found.alerts.order_by("name").values_list("name", flat=True)),
        "deliveries": [selectors.describe_delivery(run) for run in page.items],
        "cursor": cursor,
        "next": page.next,
        "no_mails": found.kind == ChannelKind.EMAIL and not settings.HOLDFAST_MAILS,
        "command": examples.commands("channels", found.name, VERBS),
        "test": f"manage.py channels test {found.name}",
        "http": examples.http(parts.base(request), f"/channels/{found.name}/test", {"reason": "does it come?"}),
        "form": form or ChannelForm.of(found),
        "editing": form is not None,
        "mark": services.settings_mark(found),
    }
    return render(request, "runs/channel.html", context, status=422 if form else 200)


def _found(name: str) -> Channel:
    try:
        return services.channel_get(name)
    except services.UnknownChannel as error:
        raise Http404(str(error)) from None

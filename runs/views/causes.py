"""What people say of causes of the verdict: each answers with the page Now."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.views.decorators.http import require_POST

from holdfast.access.gate import ActorRequest, requires
from runs.causes import services
from runs.causes.forms import SnoozeForm
from runs.views import hookparts as parts


@require_POST
@requires("alerts.silence")
def cause_acknowledge(request: ActorRequest, key: str) -> HttpResponse:
    """Somebody works on it."""

    def acknowledge(reason: str) -> Any:
        return services.cause_acknowledge(key, actor=request.actor, reason=reason)

    return parts.act(request, reverse("runs:now"), acknowledge, "The others see that you work on it.")


@require_POST
@requires("alerts.silence")
def cause_snooze(request: ActorRequest, key: str) -> HttpResponse:
    """Nobody wants a word of it for a time."""
    form = SnoozeForm(request.POST)
    if not form.is_valid():
        messages.error(request, f"{form.refusal} Nothing was done.")
        return HttpResponseRedirect(reverse("runs:now"), status=303)

    def snooze(reason: str) -> Any:
        return services.cause_snooze(key, duration=form.cleaned_data["duration"], actor=request.actor, reason=reason)

    return parts.act(request, reverse("runs:now"), snooze, "It is snoozed: the verdict leaves it out.")


@require_POST
@requires("alerts.silence")
def cause_reopen(request: ActorRequest, key: str) -> HttpResponse:
    """What was said of it is taken back."""

    def reopen(reason: str) -> Any:
        return services.cause_reopen(key, actor=request.actor, reason=reason)

    return parts.act(request, reverse("runs:now"), reopen, "It counts again.")

"""What the views of what people make and edit share: webhooks, in and out, channels, schedules."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils.cache import add_never_cache_headers

from holdfast.access.errors import AccessError
from holdfast.access.gate import ActorRequest
from holdfast.access.seen import mark
from runs.errors import HoldfastError
from runs.filters import parse_cursor
from runs.forms import ErrorsForm, ReasonForm

#: Deliveries of a page.
PAGE = 20
ROTATED = "Its secret was rotated since this page was drawn. Nothing was done."


def base(request: ActorRequest) -> str:
    """Where this installation is, for what is to be copied."""
    return request.build_absolute_uri("/").rstrip("/")


def cursor_of(request: ActorRequest) -> uuid.UUID | None:
    """Where the page of deliveries begins; one that is none is the first."""
    try:
        return parse_cursor(request.GET.get("cursor"))
    except HoldfastError:
        return None


def seen(request: ActorRequest) -> str | None:
    """The mark of what the form was drawn with; None of programs that send no such thing."""
    return request.POST.get("seen") or None


def secret_mark(stored: str) -> str:
    """Names the secret that a page was drawn with, and tells nothing of it: a form that is sent twice rotates once."""
    return mark({"secret": stored})


def act(request: ActorRequest, back: str, do: Callable[[str], Any], done: str | Callable[[Any], str]) -> HttpResponse:
    """Does it for the reason that was posted, says what came of it, and leads back."""
    form = ReasonForm(request.POST)
    if not form.is_valid():
        messages.error(request, refused(form))
        return HttpResponseRedirect(back, status=303)
    try:
        became = do(form.cleaned_data["reason"])
    except (HoldfastError, AccessError) as error:
        messages.error(request, str(error))
    else:
        messages.success(request, done if isinstance(done, str) else done(became))
    return HttpResponseRedirect(back, status=303)


def accepted(form: ErrorsForm, do: Callable[[], Any]) -> bool:
    """Whether what was posted is valid, and was done. If not, the form says why."""
    if not form.is_valid():
        return False
    try:
        do()
    except (HoldfastError, AccessError) as error:
        form.add_refusal(error)
        return False
    return True


def refused(form: ReasonForm) -> str:
    """Why a reason is none."""
    return f"Reason: {form.errors['reason'][0]} Nothing was done."


def tell_secret(request: ActorRequest, context: dict[str, Any]) -> HttpResponse:
    """The one page that shows a secret; nothing on the way keeps it."""
    response = render(request, "runs/webhook_secret.html", context)
    add_never_cache_headers(response)
    return response

"""What runs ask people: the list of approvals, the page on which one is answered, and the same without an account."""

from __future__ import annotations

import uuid

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from holdfast.access.gate import ActorRequest, requires
from holdfast.access.grants import require
from holdfast.navigation import badge
from runs import answerform, answers, waitlinks, waits
from runs import approvals as listings
from runs.errors import InvalidLink, UnknownWait
from runs.filters import InvalidFilter
from runs.models import Wait


@require_safe
@requires("runs.view")
def approvals(request: ActorRequest) -> HttpResponse:
    """Approvals that are open, oldest first."""
    cursor = request.GET.get("cursor")
    try:
        listing = listings.page(request.actor, cursor)
    except InvalidFilter as error:
        raise Http404(str(error)) from None
    context = {"list": listing, "cursor": cursor}
    if not request.headers.get("HX-Request"):
        return render(request, "runs/approvals.html", context)
    return render(request, "runs/_approvals.html", {**context, "badge": badge(waits.approvals_count())})


@require_http_methods(["GET", "HEAD", "POST"])
@requires("runs.view")
def wait(request: ActorRequest, wait_id: uuid.UUID) -> HttpResponse:
    """One approval or token, with its form; the form's POST answers it."""
    found = _wait(wait_id)
    if request.method != "POST":
        return _page(request, found, answerform.fresh(found))
    filled = answerform.submit(found, request.POST, actor=require(request.actor, "runs.answer"))
    if not filled.done:
        return _page(request, _wait(wait_id), filled)
    messages.success(request, f"{found.name}: {answers.outcome_words(_wait(wait_id))}.")
    return redirect("runs:approvals") if found.kind == "approval" else redirect("runs:run", found.run_id)


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def signed_wait(request: HttpRequest, signed: str) -> HttpResponse:
    """The same for whoever has the signed address. It shows nothing of the run but what is asked."""
    found = _wait(_signed(signed))
    filled = answerform.fresh(found)
    if request.method == "POST":
        filled = answerform.submit(found, request.POST, actor=answers.SIGNED, signed=True)
        if filled.done:
            return redirect("runs:signed_wait", signed)
        found = _wait(found.pk)
    [row] = listings.rows([found], answers.SIGNED, "")
    context = {"row": row, "wait": found, "form": filled, "is_open": waits.is_open(found)}
    return render(request, "runs/signed_wait.html", context, status=filled.status)


def _page(request: ActorRequest, found: Wait, filled: answerform.AnswerForm) -> HttpResponse:
    [row] = listings.rows([found], request.actor, request.build_absolute_uri("/"))
    context = {"row": row, "wait": found, "form": filled, "is_open": waits.is_open(found)}
    return render(request, "runs/wait.html", context, status=filled.status)


def _signed(signed: str) -> uuid.UUID:
    """The wait of an address whose signature is right."""
    try:
        wait_id, is_signed = waitlinks.read(signed)
    except InvalidLink as error:
        raise Http404(str(error)) from None
    if not is_signed:
        raise Http404("This address is not signed.")
    return wait_id


def _wait(wait_id: uuid.UUID) -> Wait:
    """A wait that has a page: those of the other kinds are answered on the page of their run."""
    try:
        found = waits.wait_get(wait_id)
    except UnknownWait as error:
        raise Http404(str(error)) from None
    if found.kind not in ("approval", "token"):
        raise Http404(f"A wait of kind {found.kind} has no page.")
    return found

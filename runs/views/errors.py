"""Errors: what fails in the same way, as one thing; and what people say of it."""

from __future__ import annotations

from typing import Any, Final

from django.contrib import messages
from django.http import Http404, HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_POST, require_safe

from holdfast.access.gate import ActorRequest, requires
from holdfast.access.selectors import database_now
from runs import changes, charts
from runs import selectors as runs
from runs.bulk.asking import redrive
from runs.errorgroups import selectors, services
from runs.errorgroups.forms import SnoozeForm
from runs.errorgroups.selectors import ALL, DEFAULT_SPAN, SPANS, Asked, Group, UnknownErrorGroup, span_of
from runs.errorgroups.spark import spark
from runs.errorgroups.states import State
from runs.errorgroups.trace import lines
from runs.errors import InvalidFilter
from runs.lists import task_ids
from runs.models import Task
from runs.states import Status
from runs.views import hookparts as parts
from runs.webhooks import examples

#: Runs that the page of a group lists.
RECENT: Final = 8
#: How long a bin is, in words.
BINS: Final = {"24h": "an hour", "7d": "six hours", "30d": "a day"}
_NAMES: Final = ("span", "state", "task", "cursor")
VERBS: Final = ("show NAME", "resolve NAME --reason mended", "snooze NAME --for 1d --reason known", "reopen NAME")


@require_safe
@requires("runs.view")
def errors(request: ActorRequest) -> HttpResponse:
    """Groups of errors, the latest first."""
    refusal = None
    try:
        asked = Asked.parse(*(request.GET.get(name, "") for name in _NAMES))
    except InvalidFilter as error:
        asked, refusal = Asked(), error
    page = selectors.page(asked)
    context = {
        "asked": asked,
        "refusal": refusal,
        "page": page,
        "rows": [(group, spark(group.bins, BINS[asked.span])) for group in page.items],
        "tabs": _tabs(asked, page.counts),
        "spans": [(name, _address(asked, span=name, cursor="")) for name in SPANS],
        "older": _address(asked, cursor=str(page.next)) if page.next else "",
        "latest": _address(asked, cursor="") if asked.cursor else "",
        "tasks": task_ids(),
    }
    return render(request, "runs/errors.html", context, status=422 if refusal else 200)


@require_safe
@requires("runs.view")
def error(request: ActorRequest, fingerprint: str) -> HttpResponse:
    """One group: since when, where, in which versions, and an example."""
    span = request.GET.get("span", "")
    span = span if span in SPANS else DEFAULT_SPAN
    try:
        group = selectors.group_get(fingerprint, span)
    except UnknownErrorGroup as missing:
        return _runs_of(fingerprint, missing)
    return render(request, "runs/error.html", _context(request, group, span))


def _context(request: ActorRequest, group: Group, span: str) -> dict[str, Any]:
    found = selectors.example(group)
    path = f"/errors/{group.fingerprint}"
    return {
        "group": group,
        "span": span,
        "spans": SPANS,
        "example": found,
        "trace": lines(str(found.error.get("traceback") or "")) if found else [],
        "current": set(Task.objects.filter(id__in=group.tasks).values_list("version", flat=True)),
        "recent": runs.runs_page(selectors.having(group.fingerprint), limit=RECENT).items,
        "search": selectors.having(group.fingerprint).address(),
        "open_search": _under_way(group),
        "redrive": redrive(selectors.having(group.fingerprint).text),
        "form": SnoozeForm(),
        "command": examples.commands("errors", group.fingerprint, VERBS),
        "http": examples.http(parts.base(request), f"{path}/snooze", {"duration": "1d", "reason": "known"}),
    }


@require_safe
@requires("runs.view")
def error_chart(request: ActorRequest, fingerprint: str) -> JsonResponse:
    """Failed tries over time, as a Plotly figure."""
    span = request.GET.get("span", "") or DEFAULT_SPAN
    try:
        Asked.parse(span)
        group = selectors.group_get(fingerprint, span)
    except InvalidFilter as refused:
        return JsonResponse({"detail": str(refused)}, status=422)
    except UnknownErrorGroup as missing:
        return JsonResponse({"detail": str(missing)}, status=404)
    start, end = span_of(span, database_now())
    deploys = [deploy for deploy in changes.deploys(start, end) if deploy[1] in group.tasks]
    figure = charts.failed_tries(group.bins, start=start, hours=SPANS[span][1], deploys=deploys)
    return JsonResponse(figure)


@require_POST
@requires("errors.judge")
def error_resolve(request: ActorRequest, fingerprint: str) -> HttpResponse:
    """It is resolved in the current versions of its tasks."""

    def resolve(reason: str) -> Any:
        return services.error_resolve(fingerprint, actor=request.actor, reason=reason)

    done = "It is resolved. A version in which it was not seen so far makes it regressed if it meets it."
    return parts.act(request, _page_of(fingerprint), resolve, done)


@require_POST
@requires("errors.judge")
def error_reopen(request: ActorRequest, fingerprint: str) -> HttpResponse:
    """It is neither resolved nor snoozed."""

    def reopen(reason: str) -> Any:
        return services.error_reopen(fingerprint, actor=request.actor, reason=reason)

    return parts.act(request, _page_of(fingerprint), reopen, "It is open again.")


@require_POST
@requires("errors.judge")
def error_snooze(request: ActorRequest, fingerprint: str) -> HttpResponse:
    """It is quiet for a time, or for a number of failed tries."""
    back, form = _page_of(fingerprint), SnoozeForm(request.POST)
    if not form.is_valid():
        messages.error(request, f"{form.refusal} Nothing was done.")
        return HttpResponseRedirect(back, status=303)
    asked = form.cleaned_data

    def snooze(reason: str) -> Any:
        return services.error_snooze(
            fingerprint, duration=asked["duration"], tries=asked["tries"], actor=request.actor, reason=reason
        )

    return parts.act(request, back, snooze, "It is snoozed.")


def _page_of(fingerprint: str) -> str:
    """Where the page of a group is. Raises Http404."""
    if not selectors.is_print(fingerprint):
        raise Http404("This is no fingerprint of an error.")
    return reverse("runs:error", args=[fingerprint])


def _runs_of(fingerprint: str, missing: UnknownErrorGroup) -> HttpResponse:
    """Runs of an error that is no group (any more): a list of them says more than that there is none."""
    if selectors.has_runs(fingerprint):
        return redirect(f"{reverse('runs:runs')}{selectors.having(fingerprint).address()}")
    raise Http404(str(missing))


def _address(asked: Asked, **changed: str) -> str:
    """The query of an address that asks for the same but for what is changed."""
    said = {"span": "" if asked.span == DEFAULT_SPAN else asked.span, "state": asked.state, "task": asked.task or ""}
    chosen = {name: value for name, value in {**said, **changed}.items() if value}
    return f"?{urlencode(chosen)}" if chosen else reverse("runs:errors")


def _tabs(asked: Asked, counts: dict[str, int]) -> list[tuple[str, str, int | None, bool]]:
    """(name, address, how many, whether it is shown)."""
    is_open = sum(count for state, count in counts.items() if State(state).is_open)
    known: list[tuple[str, str, int | None]] = [("Open", "", is_open)]
    known += [(state.capitalize(), str(state), counts.get(state, 0)) for state in State]
    known.append(("All", ALL, sum(counts.values())))
    return [
        (name, _address(asked, state=state, cursor=""), None if asked.cursor else count, asked.state == state)
        for name, state, count in known
    ]


def _under_way(group: Group) -> str:
    """The search for its runs that are not over."""
    statuses = (Status.RETRYING, Status.RUNNING, Status.QUEUED, Status.WAITING, Status.CANCELLING)
    return selectors.having(group.fingerprint).having("status", tuple(map(str, statuses))).address()

"""Bulk jobs: what is asked before, how far they are, and what became of each run."""

from __future__ import annotations

import uuid
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from holdfast.access.errors import InvalidInput
from holdfast.access.gate import ActorRequest, requires
from holdfast.access.grants import require
from runs.bulk import asking, scope, selectors, services
from runs.bulk.choices import Outcome, Pace
from runs.errors import HoldfastError, InvalidFilter
from runs.filters import parse_number, refuse_choice
from runs.views import hookparts as parts
from runs.webhooks import examples

#: Jobs of a page, and runs of a job's page.
PAGE = 50


@require_http_methods(["GET", "HEAD", "POST"])
@requires("runs.view")
def bulk_jobs(request: ActorRequest) -> HttpResponse:
    """All jobs, the latest first; a POST begins one."""
    if request.method == "POST":
        return _begin(request)
    cursor = parts.cursor_of(request)
    context = {"page": selectors.jobs(cursor=cursor, limit=PAGE), "cursor": cursor, **_ways(request)}
    return render(request, "runs/_bulk_jobs.html" if _is_fragment(request) else "runs/bulk_jobs.html", context)


@require_safe
@requires("runs.view")
def bulk_new(request: ActorRequest) -> HttpResponse:
    """The question before a job: what it is about, and how many."""
    try:
        require(request.actor, asking.grant_of(request.GET.get("action", "")))
        question = asking.question_of(request.GET)
    except HoldfastError as error:
        return _ask(request, None, asking.BulkForm(), error)
    return _ask(request, question, asking.BulkForm(initial={"pace": request.GET.get("pace", Pace.ALL)}))


@require_safe
@requires("runs.view")
def bulk_matching(request: ActorRequest) -> HttpResponse:
    """How many runs a search finds, as a button that takes them all."""
    try:
        runs = asking.counted(*scope.count(request.GET.get("q", "")))
    except InvalidFilter:  # the list says what is wrong with it
        return HttpResponse(status=204)
    return render(request, "runs/_bulk_matching.html", {"runs": runs})


@require_safe
@requires("runs.view")
def bulk_job(request: ActorRequest, job_id: uuid.UUID) -> HttpResponse:
    """How far a job is, what became of its runs, and why."""
    found, fragment = _found(job_id), _is_fragment(request)
    context = {
        "found": found,
        "job": found.job,
        "fragment": fragment,
        **_items(request, job_id),
        **_job_ways(request, found),
    }
    return render(request, "runs/_bulk_job.html" if fragment else "runs/bulk_job.html", context)


@require_POST
@requires(services.ABORTS)
def bulk_abort(request: ActorRequest, job_id: uuid.UUID) -> HttpResponse:
    """No further run is acted upon."""
    _found(job_id)

    def abort(reason: str) -> str:
        return services.bulk_abort(job_id, actor=request.actor, reason=reason)

    done = "The job is aborted: no further run is acted upon, and what was done stays done."
    return parts.act(request, reverse("runs:bulk_job", args=[job_id]), abort, done)


def _begin(request: ActorRequest) -> HttpResponse:
    form, action = asking.BulkForm(request.POST), request.POST.get("action", "")
    if form.is_valid():
        try:
            job = services.bulk_create(action=action, actor=request.actor, **form.values)
        except (HoldfastError, InvalidInput) as error:
            form.add_refusal(error)
        else:
            messages.success(request, "It has begun; this page shows how far it is.")
            return redirect("runs:bulk_job", job.id)
    try:
        require(request.actor, asking.grant_of(action))
        return _ask(request, asking.question_of(request.POST), form)
    except HoldfastError as error:
        return _ask(request, None, form, error)


def _ask(
    request: ActorRequest, question: asking.Question | None, form: asking.BulkForm, refusal: HoldfastError | None = None
) -> HttpResponse:
    fragment = _is_fragment(request)
    context: dict[str, Any] = {"question": question, "form": form, "refusal": refusal, "fragment": fragment}
    if question:
        context["http"] = examples.http(parts.base(request), "/bulk", question.body)
    template = "runs/_bulk_question.html" if fragment else "runs/bulk_new.html"
    return render(request, template, context, status=422 if refusal or form.errors else 200)


def _items(request: ActorRequest, job_id: uuid.UUID) -> dict[str, Any]:
    """The runs of the job that are shown: of one outcome, or all."""
    try:
        outcome = request.GET.get("outcome") or None
        refuse_choice("outcome", outcome or "", [*Outcome.values, "none"])
        after = parse_number("after", request.GET.get("after"), least=0, most=scope.MAX_RUNS, default=-1)
    except InvalidFilter:
        outcome, after = None, -1
    kind = "" if outcome == "none" else outcome
    page = selectors.items(job_id, outcome=kind, after=after, limit=PAGE)
    runs = selectors.runs_of(page.items)
    rows = [(item, runs.get(item.run_id)) for item in page.items]
    return {
        "rows": rows,
        "next": page.next,
        "outcome": outcome,
        "after": after,
        "reasons": selectors.reasons(job_id),
        "here": request.get_full_path(),
    }


def _ways(request: ActorRequest) -> dict[str, str]:
    search = "status:failed age:<1d"
    return {
        "command": f"manage.py bulk retry --search '{search}'",
        "http": examples.http(parts.base(request), "/bulk", {"action": "retry", "q": search, "pace": "canary"}),
    }


def _job_ways(request: ActorRequest, found: selectors.Look) -> dict[str, str]:
    verbs = ("show NAME",) if found.over else ("show NAME", "abort NAME")
    path = f"/bulk/{found.job.id}"
    return {
        "command": examples.commands("bulk", str(found.job.id), verbs),
        "http": f"curl {parts.base(request)}/api/v1{path} -H 'Authorization: Bearer hf_…'",
    }


def _found(job_id: uuid.UUID) -> selectors.Look:
    try:
        return selectors.look(job_id)
    except selectors.UnknownBulkJob as error:
        raise Http404(str(error)) from None


def _is_fragment(request: ActorRequest) -> bool:
    return bool(request.headers.get("HX-Request"))

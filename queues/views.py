"""Queues: what waits, what runs, and the two things to change. Each change answers with the queue's row alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from holdfast.access.errors import ChangedMeanwhile
from holdfast.access.gate import ActorRequest, requires
from holdfast.access.models import AuditEntry
from queues import breakerviews, heads, selectors, services, tickets
from queues.editable import SETTINGS
from queues.errors import InvalidChange, QueueNotFound
from queues.forms import LimitForm, PauseForm
from queues.selectors import QueueFlow
from queues.workers import pools_served, workers_alive

#: Queues of a page: each has two forms, which take Django ten times as long as all the rest of its row.
ROWS: Final = 25
#: Digits of the id of an audit entry: fewer than those of PostgreSQL's largest.
MAX_DIGITS: Final = 19


@dataclass(frozen=True, slots=True)
class Row:
    """A queue as the page shows it."""

    flow: QueueFlow
    served: bool  # a worker is alive for its pool
    limit_form: LimitForm
    pause_form: PauseForm
    open: str = ""  # which of the row's forms stands open
    changed: int | None = None  # what was changed just now, in the audit log, so that it may be undone
    refusal: str = ""  # why nothing was
    stuck: bool = False  # its first entry waits for long, and nothing holds it

    @property
    def limits(self) -> str:
        """`of 4, 2 a key, 10 per minute`."""
        queue = self.flow.queue
        of, keys, rate, key_rate = queue.concurrency_limit, queue.key_concurrency_limit, queue.rate, queue.key_rate
        words = [
            f"of {of:,}" if of else "",
            f"{keys:,} a key" if keys else "",
            rate.words if rate else "",
            f"{key_rate.words} a key" if key_rate else "",
        ]
        return ", ".join(filter(None, words)) or "no limit"

    @property
    def settings_mark(self) -> str:
        return services.settings_mark(self.flow.queue)

    @property
    def pause_mark(self) -> str:
        return services.pause_mark(self.flow.queue)

    @property
    def settings(self) -> Iterator[tuple[Any, str]]:
        """The fields of the form, each with what the code says where a person's edit overrides it."""
        queue = self.flow.queue
        for name, setting in SETTINGS.items():
            said = setting.words(queue.declares(name)).replace("\n", ", ") or setting.none
            yield self.limit_form[name], said if name in queue.edited else ""

    @property
    def full(self) -> bool:
        """Saturated: no slot is left, and something waits for one."""
        limit = self.flow.queue.concurrency_limit
        return limit is not None and self.flow.running >= limit and self.flow.depth > 0

    @property
    def stalled(self) -> bool:
        """Work is ready, and nobody is there to take it."""
        return not self.served and self.flow.depth > 0 and not self.flow.queue.paused


@require_safe
@requires("queues.view")
def queues(request: ActorRequest) -> HttpResponse:
    """All queues, and the workers that serve them; htmx gets the tables alone."""
    page = selectors.queues_page(after=_plain(request, "after"), search=_plain(request, "search"), limit=ROWS)
    workers = workers_alive()
    served = pools_served(workers)
    still = {one.queue for one in heads.standing(page.items, workers)}
    rows = [_row(flow, served, stuck=flow.queue.name in still) for flow in page.items]
    context = {
        "rows": rows,
        "next": page.next,
        "breakers": breakerviews.rows(),
        "workers": workers,
        "suspended": tickets.suspended(),
        "search": _plain(request, "search"),
    }
    partial = bool(request.htmx) and not request.htmx.boosted  # type: ignore[attr-defined]
    return render(request, "queues/_queues.html" if partial else "queues/queues.html", context)


@require_POST
@requires("queues.edit")
def queue_limit(request: ActorRequest, name: str) -> HttpResponse:
    """Changes the limits, or takes a person's edits back to what the code declares."""
    form = LimitForm(request.POST)
    if "reset" in request.POST:
        return _change(request, name, lambda: services.queue_as_declared(name, request.actor, seen=_seen(request)))
    if not form.is_valid():
        return _answer(request, name, limit_form=form, open="limit")
    return _change(request, name, lambda: services.queue_update(name, request.actor, seen=_seen(request), **form.asked))


@require_POST
@requires("queues.pause")
def queue_pause(request: ActorRequest, name: str) -> HttpResponse:
    """Pauses the queue, with a reason."""
    form = PauseForm(request.POST)
    if not form.is_valid():
        return _answer(request, name, pause_form=form, open="pause")
    return _change(
        request, name, lambda: services.queue_pause(name, request.actor, seen=_seen(request), **form.asked), form
    )


@require_POST
@requires("queues.pause")
def queue_resume(request: ActorRequest, name: str) -> HttpResponse:
    """Lets the queue go on."""
    return _change(request, name, lambda: services.queue_resume(name, request.actor, seen=_seen(request)))


@require_POST
@requires("queues.edit")
def queue_undo(request: ActorRequest, name: str) -> HttpResponse:
    """Takes the last change back."""
    sent = request.POST.get("change", "")
    change = int(sent) if sent.isascii() and sent.isdecimal() and len(sent) < MAX_DIGITS else None
    return _change(request, name, lambda: services.queue_undo(name, request.actor, change=change))


def _seen(request: HttpRequest) -> str | None:
    """What the form was drawn with; None of programs that send no such thing."""
    return request.POST.get("seen") or None


def _change(request: ActorRequest, name: str, do: Any, pause_form: PauseForm | None = None) -> HttpResponse:
    before = services.changes(name).first()
    try:
        do()
    except QueueNotFound as error:
        raise Http404(str(error)) from None
    except InvalidChange as error:
        form = pause_form or PauseForm({})
        form.add_refusal(error.data.get("errors", ()))
        return _answer(request, name, pause_form=form, open="pause")
    except ChangedMeanwhile as error:
        return _answer(request, name, refusal=str(error))
    return _answer(request, name, changed=_made(request, name, before))


def _made(request: ActorRequest, name: str, before: AuditEntry | None) -> int | None:
    """The change that was made now; None when all was so already, or somebody else has come between."""
    last = services.changes(name).first()
    own = last is not None and last != before and last.actor_label == request.actor.label
    return last.pk if last is not None and own else None


def _answer(request: HttpRequest, name: str, **shown: Any) -> HttpResponse:
    """The row, for htmx; without it, back to the page, or the whole page with the form that was refused."""
    refused = "open" in shown or "refusal" in shown
    htmx = bool(request.htmx)  # type: ignore[attr-defined]
    if not htmx and not refused:
        return redirect("queues:queues")
    workers = workers_alive()
    try:
        row = _row(selectors.queue_get(name), pools_served(workers), **shown)
    except QueueNotFound as error:
        raise Http404(str(error)) from None
    status = 422 if refused else 200
    if htmx:
        return render(request, "queues/_queue.html", {"row": row}, status=status)
    context = {"rows": [row], "workers": workers, "suspended": tickets.suspended()}
    return render(request, "queues/queues.html", context, status=status)


def _row(flow: QueueFlow, served: set[str], **shown: Any) -> Row:
    limit_form = LimitForm.of(flow.queue)
    forms = {"limit_form": limit_form, "pause_form": PauseForm(auto_id=f"id_{flow.queue.name}_%s")}
    return Row(flow, flow.queue.pool in served, **(forms | shown))


def _plain(request: HttpRequest, name: str) -> str:
    return request.GET.get(name, "").replace("\x00", "")[:100]

"""Finding anything: what a few typed letters may mean, as addresses to go to.

Pages, tasks, queues, saved views, schedules and webhooks are looked for by a part of their name, in tables of few rows.
Runs are found by their id, or the first digits of one; by an idempotency key, a concurrency key or a tag, whole, by
index, and tags and keys also by a part, among the newest runs. Nobody is told of what they may not see.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from django.db.models import Model
from django.urls import reverse
from django.utils.text import Truncator

from holdfast.access.grants import Actor, require
from holdfast.navigation import PLACES
from holdfast.words import status_words
from queues.models import Queue, Worker
from runs.errors import InvalidFilter
from runs.filters import RunFilter
from runs.models import IdempotencyKey, Run, Task, Wait
from runs.outbound.model import Endpoint
from runs.savedviews import selectors as savedviews
from runs.schedules.model import Schedule
from runs.search import plan
from runs.search.suggest import recently
from runs.search.terms import Term, quoted
from runs.webhooks.model import Webhook

#: Hits of one kind, and of all kinds.
EACH: Final = 5
MOST: Final = 30
MAX_TEXT: Final = 200
MAX_NOTE: Final = 80
#: Tasks whose idempotency keys are asked for: each is one look into the index of (task, key).
MAX_TASKS: Final = 1_000
#: Workers, the latest, whose names are compared.
LATEST: Final = 500
#: So many first digits of an id are worth a look: they are a minute of ids.
_DIGITS = re.compile(r"[0-9a-f]{8}[0-9a-f-]{0,27}", re.IGNORECASE)
_LAST_ID: Final = "ffffffffffffffffffffffffffffffff"


@dataclass(frozen=True, slots=True)
class Hit:
    """Something to go to. `kind`: page, task, queue, worker, view, schedule, webhook, endpoint, run, approval, key, tag
    or search; `note` says what it is, in words."""

    kind: str
    text: str
    note: str
    url: str

    def as_json(self) -> dict[str, str]:
        return {"kind": self.kind, "text": self.text, "note": self.note, "url": self.url}


def find(text: str, actor: Actor) -> list[Hit]:
    """What `text` may mean, the likeliest first; of nothing, the pages.

    Raises:
        InvalidFilter: it is too long, or holds a control character.
        GrantMissing: the actor may not see runs.
    """
    require(actor, "runs.view")
    asked = _checked(text)
    pages = _pages(asked, actor)
    if not asked:
        return pages
    if found := _by_id(asked):
        return found
    named = [*pages, *_named(asked, actor)]
    named.sort(key=lambda hit: not hit.text.lower().startswith(asked.lower()))  # stable
    hits = [*_by_digits(asked), *named, *_by_labels(asked)]
    search = _search(asked)
    ordered = [search, *hits] if ":" in asked else [*hits[: MOST - 1], search]
    return ordered[:MOST]


def _checked(text: str) -> str:
    fault = ""
    if len(text) > MAX_TEXT:
        fault = f"has {len(text):,} characters; write at most {MAX_TEXT}"
    elif not text.isprintable():
        fault = "holds a control character; write plain text"
    if fault:
        raise InvalidFilter(f"q {fault}.", errors=[{"field": "q", "message": fault}])
    return text.strip()


def _pages(asked: str, actor: Actor) -> list[Hit]:
    seen = [place for place in PLACES if place.grant in actor.grants and asked.lower() in place.name.lower()]
    return [Hit("page", place.name, "page", place.path) for place in seen]


def _named(asked: str, actor: Actor) -> Iterator[Hit]:
    yield from _rows(Task, "id", asked, "task", lambda name: reverse("runs:task", args=[name]))
    if "queues.view" in actor.grants:
        queues = reverse("queues:queues")
        yield from _rows(Queue, "name", asked, "queue", lambda name: f"{queues}?search={quote(name)}#{name}")
        yield from _workers(asked)
    yield from _views(asked, actor)
    yield from _rows(Schedule, "name", asked, "schedule", lambda name: reverse("runs:schedule", args=[name]))
    if "webhooks.view" in actor.grants:
        yield from _rows(Webhook, "name", asked, "webhook", lambda name: reverse("runs:webhook", args=[name]))
        yield from _rows(Endpoint, "name", asked, "endpoint", lambda name: reverse("runs:endpoint", args=[name]))


def _rows(of: type[Model], field: str, asked: str, kind: str, url: Callable[[str], str]) -> list[Hit]:
    rows = of._default_manager.filter(**{f"{field}__icontains": asked}).order_by(field)
    return [Hit(kind, name, kind, url(name)) for name in rows.values_list(field, flat=True)[:EACH]]


def _workers(asked: str) -> list[Hit]:
    latest = Worker.objects.order_by("-id").values_list("name", "stopped_at", "lost_at")[:LATEST]
    states: dict[str, str] = {}
    for name, stopped, lost in latest:
        if asked.lower() in name.lower():
            states.setdefault(name, "lost" if lost else "stopped" if stopped else "alive")
    found = list(states.items())[:EACH]
    return [Hit("worker", name, f"worker, {state}: its runs", _runs(Term("worker", (name,)))) for name, state in found]


def _views(asked: str, actor: Actor) -> list[Hit]:
    notes = {True: "saved view, shared: ", False: "saved view: "}
    return [
        Hit("view", view.name, Truncator(f"{notes[view.shared]}{view.search or 'all runs'}").chars(MAX_NOTE),
            f"{reverse('runs:runs')}{savedviews.address(view)}")
        for view in savedviews.named(asked, actor, EACH)
    ]  # fmt: skip


def _by_id(asked: str) -> list[Hit]:
    try:
        found = uuid.UUID(asked)
    except ValueError:
        return []
    if hits := _hits(Run.objects.filter(pk=found)):
        return hits
    # A person may have copied the id of what somebody is asked.
    if Wait.objects.filter(pk=found).exists():
        return [Hit("approval", str(found), "what somebody is asked", reverse("runs:wait", args=[found]))]
    return []


def _by_digits(asked: str) -> list[Hit]:
    """Runs whose id begins so: a range of the primary key."""
    if not _DIGITS.fullmatch(asked):
        return []
    digits = asked.replace("-", "").lower()
    least, most = uuid.UUID(digits.ljust(32, "0")), uuid.UUID(digits + _LAST_ID[len(digits) :])
    return _hits(Run.objects.filter(pk__gte=least, pk__lte=most).order_by("-id"))


def _hits(runs: Any) -> list[Hit]:
    rows = runs.values_list("pk", "task_id", "status")[:EACH]
    return [
        Hit("run", str(pk), f"run of {task}, {status_words(status)}", reverse("runs:run", args=[pk]))
        for pk, task, status in rows
    ]


def _by_labels(asked: str) -> Iterator[Hit]:
    tasks = Task.objects.order_by("id").values_list("id", flat=True)[:MAX_TASKS]
    keys = IdempotencyKey.objects.filter(task__in=list(tasks), key=asked).order_by("-id")
    for task, run_id in keys.values_list("task_id", "run_id")[:EACH]:
        yield Hit("key", asked, f"idempotency key of a run of {task}", reverse("runs:run", args=[run_id]))
    yield from _labelled("tag", "tags", "tag", asked)
    yield from _labelled("key", "concurrency_key", "concurrency key", asked)


def _labelled(field: str, column: str, words: str, asked: str) -> list[Hit]:
    """Tags or keys: those of the newest runs that hold it, and the one that is called exactly so."""
    names = [name for name in recently(column)[1] if asked.lower() in name.lower()]
    if asked in names or plan.exists(Term(field, (asked,))):
        names = [asked, *(name for name in names if name != asked)]
    return [Hit(field, name, f"{words}: its runs", _runs(Term(field, (name,)))) for name in names[:EACH]]


def _search(asked: str) -> Hit:
    """The last resort: the list of runs, searched for it. What is no search is searched for as a word."""
    try:
        text = RunFilter.parse({"q": asked}).text
    except InvalidFilter:
        text = quoted(asked)
    return Hit("search", f"Runs: {asked}", "search the runs", _address(text))


def _runs(*terms: Term) -> str:
    return _address(RunFilter(search=terms).text)


def _address(text: str) -> str:
    return f"{reverse('runs:runs')}{RunFilter.link(text)}"


def as_json(hits: Iterable[Hit]) -> dict[str, Any]:
    """As the page's script, the API and the command line have it."""
    return {"items": [hit.as_json() for hit in hits]}

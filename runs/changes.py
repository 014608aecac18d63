"""What people and deploys have changed: the audit log, as operators ask it. "What changed, before it broke?"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import reduce
from operator import or_
from typing import Any, Final
from urllib.parse import quote

from django.db.models import Q, QuerySet
from django.urls import reverse

from holdfast.access.grants import Actor
from holdfast.access.models import AuditEntry
from holdfast.access.selectors import database_now
from holdfast.redaction import redacted
from runs.filters import parse_number, refuse_choice
from runs.registration import DEPLOY

SPANS: Final = {"24h": timedelta(days=1), "7d": timedelta(days=7), "21d": timedelta(days=21)}
DEFAULT_SPAN: Final = "7d"
PAGE: Final = 100
#: Marks on the ribbon, the latest of them.
MAX_MARKS: Final = 500
#: Characters that are shown of a value, and fields of one change.
MAX_VALUE, MAX_FIELDS = 120, 20


@dataclass(frozen=True, slots=True)
class Kind:
    """What changes are about: the beginnings of their actions, and the grant that one needs to see them."""

    key: str
    name: str
    actions: tuple[str, ...]
    grant: str = "runs.view"

    @property
    def q(self) -> Q:
        return reduce(or_, (Q(action__startswith=action) for action in self.actions))


KINDS: Final = (
    Kind("deploys", "Deploys", (DEPLOY,)),
    Kind("queues", "Queues", ("queues.", "breakers."), "queues.view"),
    Kind("runs", "Runs", ("runs.", "waits.", "bulk.")),
    Kind("errors", "Errors", ("errors.", "causes.")),
    Kind("schedules", "Schedules", ("schedules.",)),
    Kind("webhooks", "Webhooks", ("webhooks.",), "webhooks.view"),
    Kind("alerts", "Alerts", ("alerts.",)),
    Kind("access", "Access", ("access.",), "access.manage"),
)

_PAGES: Final = {
    "task": "runs:task",
    "run": "runs:run",
    "error": "runs:error",
    "schedule": "runs:schedule",
    "webhook": "runs:webhook",
    "endpoint": "runs:endpoint",
    "wait": "runs:wait",
    "bulk": "runs:bulk_job",
    "alert": "runs:alert",
    "channel": "runs:channel",
}
_VERBS: Final = {
    DEPLOY: "new code of",
    "queues.drain_worker": "drained",
    "breakers.force": "held",
    "breakers.release": "let go",
    "runs.retry": "retried",
    "runs.cancel": "cancelled",
    "runs.postpone": "postponed",
    "runs.hurry": "hurried",
    "runs.fork": "forked",
    "runs.replay": "replayed",
    "runs.resolve": "resolved",
    "runs.signal": "signalled",
    "runs.update": "asked",
    "bulk.retry": "retried in",
    "bulk.cancel": "cancelled in",
    "bulk.replay": "replayed in",
    "bulk.postpone": "put off in",
    "bulk.abort": "aborted",
    "errors.resolve": "resolved",
    "errors.reopen": "reopened",
    "errors.snooze": "snoozed",
    "causes.acknowledge": "acknowledged",
    "causes.snooze": "snoozed",
    "causes.reopen": "reopened",
    "access.sign_in": "signed in",
}


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a change, as text; empty for nothing."""

    name: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Change:
    """An entry of the log, in words."""

    entry: AuditEntry
    kind: Kind | None
    fields: list[Field]
    more: int  # fields that are not shown

    @property
    def words(self) -> str:
        """`paused queue`, to be followed by the object's name."""
        action = self.entry.action
        plain = action.partition(".")[2].removesuffix(f"_{self.entry.object_type}")
        verb = _VERBS.get(action) or plain.removeprefix(f"{self.entry.object_type}_").replace("_", " ")
        return f"{verb} {self.entry.object_type}"

    @property
    def url(self) -> str:
        """Where the object is; it may be gone."""
        of, name = self.entry.object_type, self.entry.object_id
        if of == "queue":
            return f"{reverse('queues:queues')}?search={quote(name)}#{name}"
        if of == "breaker":
            return f"{reverse('queues:queues')}#breaker-{name}"
        return reverse(_PAGES[of], args=[name]) if of in _PAGES else ""


@dataclass(frozen=True, slots=True)
class Mark:
    """A change on the ribbon: how far it is from the beginning, in thousandths."""

    id: int
    at: datetime
    place: int
    title: str


@dataclass(frozen=True, slots=True)
class Lane:
    """The ribbon of one kind."""

    kind: Kind
    marks: list[Mark]


@dataclass(frozen=True, slots=True)
class Asked:
    """What to show: parsed from query parameters. Raises InvalidFilter."""

    span: str = DEFAULT_SPAN
    kind: str = ""
    before: int | None = None

    @classmethod
    def parse(cls, span: str, kind: str, before: str) -> Asked:
        refuse_choice("span", span, SPANS)
        refuse_choice("kind", kind, [k.key for k in KINDS])
        number = parse_number("before", before, least=-(2**63), most=2**63 - 1, default=0)  # a seed's are below 0
        return cls(span or DEFAULT_SPAN, kind, number or None)


@dataclass(frozen=True, slots=True)
class Page:
    """Changes, the latest first, and the cursor of older ones."""

    start: datetime
    end: datetime
    items: list[Change]
    next: int | None


def visible(actor: Actor) -> list[Kind]:
    """The kinds of changes that somebody may see."""
    return [kind for kind in KINDS if kind.grant in actor.grants]


def page(asked: Asked, actor: Actor, limit: int = PAGE) -> Page:
    """The changes of a span that somebody may see."""
    end = database_now()
    start = end - SPANS[asked.span]
    found = _entries(asked, actor, start)
    rows = list((found.filter(pk__lt=asked.before) if asked.before else found)[: limit + 1])
    return Page(start, end, [_change(row) for row in rows[:limit]], rows[limit - 1].pk if len(rows) > limit else None)


def ribbon(asked: Asked, actor: Actor, start: datetime, end: datetime) -> list[Lane]:
    """When there were changes, by kind; lanes without one are left out."""
    rows = _entries(asked, actor, start).values_list("id", "at", "action", "object_id")[:MAX_MARKS]
    lanes: dict[str, list[Mark]] = {}
    for number, at, action, name in rows:
        if kind := _kind(action):
            place = round(1_000 * ((at - start) / (end - start)))
            lanes.setdefault(kind.key, []).append(Mark(number, at, min(max(place, 0), 1_000), f"{action} {name}"))
    return [Lane(kind, lanes[kind.key]) for kind in KINDS if kind.key in lanes]


def deploys(start: datetime, end: datetime, task: str | None = None) -> list[tuple[datetime, str]]:
    """When other code of a task came, or of any: marks on charts over time."""
    found = AuditEntry.objects.filter(action=DEPLOY, at__gte=start, at__lt=end)
    if task:
        found = found.filter(object_type="task", object_id=task)
    return list(found.order_by("-id").values_list("at", "object_id")[:MAX_MARKS])


def as_json(change: Change) -> dict[str, Any]:
    """A change by the names of the API."""
    entry = change.entry
    of = {
        name: getattr(entry, name)
        for name in ("id", "at", "action", "object_type", "object_id", "reason", "before", "after")
    }
    of |= {"before": redacted(entry.before), "after": redacted(entry.after)}
    return {**of, "by": entry.actor_label, "kind": change.kind.key if change.kind else "other"}


def _entries(asked: Asked, actor: Actor, start: datetime) -> QuerySet[AuditEntry]:
    found = AuditEntry.objects.filter(at__gte=start).order_by("-id")
    kinds = visible(actor)
    if asked.kind:
        kinds = [kind for kind in kinds if kind.key == asked.kind]
        return found.filter(reduce(or_, (kind.q for kind in kinds))) if kinds else found.none()
    for kind in KINDS:
        if kind not in kinds:
            found = found.exclude(kind.q)
    return found


def _kind(action: str) -> Kind | None:
    return next((kind for kind in KINDS if action.startswith(kind.actions)), None)


def _change(entry: AuditEntry) -> Change:
    before, after = entry.before or {}, entry.after or {}
    names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    before, after = redacted(before), redacted(after)
    fields = [Field(name, _text(before.get(name)), _text(after.get(name))) for name in names[:MAX_FIELDS]]
    return Change(entry, _kind(entry.action), fields, max(0, len(names) - MAX_FIELDS))


def _text(value: Any) -> str:
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= MAX_VALUE else text[:MAX_VALUE] + "…"

"""What pages, API and command line read of error groups. A look takes the latest groups, and judges each: its cost goes
by groups and hours, never by runs."""

from __future__ import annotations

import re
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

from django.db.models import QuerySet

from holdfast import db
from holdfast.access.selectors import database_now
from runs import changes
from runs.errorgroups.states import BASELINE, DAY, DEPLOYS, Facts, State, state_of
from runs.errors import HoldfastError, InvalidFilter
from runs.filters import DEFAULT_LIMIT, RunFilter, refuse_choice
from runs.models import Attempt, Run, Snapshot, SnapshotKind
from runs.search.conditions import column_is
from runs.search.terms import Term
from runs.store import SQL
from runs.words import EXACT_UP_TO

#: name → (length, hours of one bin).
SPANS: Final = {"24h": (timedelta(days=1), 1), "7d": (timedelta(days=7), 6), "30d": (timedelta(days=30), 24)}
DEFAULT_SPAN: Final = "7d"
#: What a list may be asked for beside a state: all that is open (nothing said), or everything.
ALL: Final = "all"
#: Groups that one look takes and judges.
MAX_LOOKED: Final = 500
#: Parts of a group in the list, and on its page.
PARTS, MAX_PARTS = 5, 100
#: Runs under way are counted so far in the list.
MAX_OPEN: Final = 1_000
#: Snapshots of failed tries that are looked through for an example.
MAX_TRIES: Final = 500

_PRINT: Final = re.compile(r"[A-Za-z0-9-]{1,64}")
_CURSOR: Final = re.compile(r"(\d{1,17})-([A-Za-z0-9-]{1,64})", re.ASCII)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class UnknownErrorGroup(HoldfastError):
    """No such group of errors."""

    status, code = 404, "unknown_error"


class Cursor(NamedTuple):
    """The group after which a page begins."""

    at: datetime
    fingerprint: str

    def __str__(self) -> str:
        return f"{(self.at - _EPOCH) // timedelta(microseconds=1)}-{self.fingerprint}"


@dataclass(frozen=True, slots=True)
class Asked:
    """What to list: parsed from query parameters. Raises InvalidFilter."""

    span: str = DEFAULT_SPAN
    state: str = ""
    task: str | None = None
    cursor: Cursor | None = None

    @classmethod
    def parse(cls, span: str = "", state: str = "", task: str = "", cursor: str = "") -> Asked:
        refuse_choice("span", span, SPANS)
        refuse_choice("state", state, [*State, ALL])
        return cls(span or DEFAULT_SPAN, state, RunFilter.parse({"task": task}).task, _cursor(cursor))

    def has(self, state: State) -> bool:
        """Whether a group of this state is asked for."""
        return state.is_open if not self.state else self.state in (ALL, state)


class Part(NamedTuple):
    """How often one version has met it, in one step of one task."""

    task: str
    step: str
    version: str
    tries: int
    ended_runs: int
    first: datetime  # hours
    last: datetime


@dataclass(slots=True)
class Group:
    """A group of errors as it stands. What is shown of it (from `tries` on) is of the span that was asked for."""

    fingerprint: str
    type: str
    message: str
    tasks: list[str]
    first_seen: datetime
    last_seen: datetime
    example: uuid.UUID | None
    resolved_at: datetime | None
    resolved_by: str
    resolved_in: list[str]
    snoozed_at: datetime | None
    snoozed_by: str
    snoozed_until: datetime | None
    snoozed_for: int | None
    reason: str
    lately: int
    before: int
    today: int
    since: int
    relapsed: bool
    state: State = State.STEADY
    tries: int = 0
    ended: int = 0
    bins: list[int] = field(default_factory=list)
    parts: list[Part] = field(default_factory=list)
    open: int = 0  # runs that are not over and whose last error it is

    @property
    def name(self) -> str:
        """The error's name without its module."""
        return self.type.rpartition(".")[2]

    @property
    def versions(self) -> list[str]:
        return list(dict.fromkeys(part.version for part in self.parts if part.version))

    @property
    def steps(self) -> list[str]:
        return list(dict.fromkeys(part.step for part in self.parts if part.step))

    @property
    def facts(self) -> Facts:
        return Facts(
            self.first_seen,
            self.resolved_at,
            self.snoozed_at,
            self.snoozed_until,
            self.snoozed_for,
            self.lately,
            self.before,
            self.today,
            self.since,
            self.relapsed,
        )


@dataclass(frozen=True, slots=True)
class Page:
    """Groups, the latest first, and the cursor of older ones; `counts` of each state, on the first page alone."""

    start: datetime
    end: datetime
    items: list[Group]
    next: Cursor | None
    counts: dict[str, int]
    #: The look ended before a page was full: it went back to here.
    searched_to: datetime | None = None


@dataclass(frozen=True, slots=True)
class Example:
    """A failure of the group as it was stored: {type, message, traceback, …}."""

    run: Run
    error: dict[str, Any]
    at: datetime | None


def page(asked: Asked, limit: int = DEFAULT_LIMIT) -> Page:
    """The groups of a span that were asked for."""
    now = database_now()
    start, end = span_of(asked.span, now)
    looked = _look(now, start, asked, most=MAX_LOOKED + 1)
    whole, looked = len(looked) <= MAX_LOOKED, looked[:MAX_LOOKED]
    fitting = [group for group in looked if asked.has(group.state)]
    items = fitting[:limit]
    _fill(items, asked, start, end)
    counts = {} if asked.cursor else dict(Counter(str(group.state) for group in looked))
    if len(fitting) > limit:
        return Page(start, end, items, Cursor(items[-1].last_seen, items[-1].fingerprint), counts)
    if whole:
        return Page(start, end, items, None, counts)
    last = looked[-1]
    return Page(start, end, items, Cursor(last.last_seen, last.fingerprint), counts, last.last_seen)


def group_get(fingerprint: str, span: str = DEFAULT_SPAN) -> Group:
    """One group, with its parts and bins of the span. Raises UnknownErrorGroup."""
    now = database_now()
    start, end = span_of(span, now)
    found = _look(now, start, Asked(span), most=1, fingerprint=fingerprint) if is_print(fingerprint) else []
    if not found:
        raise UnknownErrorGroup(f"There is no error {fingerprint!r:.80}. `manage.py errors list` shows them.")
    _fill(found, Asked(span), start, end, most=MAX_PARTS, count_to=EXACT_UP_TO)
    return found[0]


def is_print(text: str) -> bool:
    """Whether a text may be a fingerprint."""
    return _PRINT.fullmatch(text) is not None


def span_of(span: str, now: datetime) -> tuple[datetime, datetime]:
    """From the beginning of its first bin to the end of this hour."""
    length, _ = SPANS[span]
    end = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
    return end - length, end


def having(fingerprint: str) -> RunFilter:
    """The search for runs whose last error it is."""
    return RunFilter(search=(Term("error", (fingerprint,)),))


def example(group: Group) -> Example | None:
    """A failure of the group: of the latest run whose last error it is, or of one that has met it and gone on."""
    latest = _runs(group.fingerprint).order_by("-id").defer("payload", "output").first()
    if latest is not None:
        return Example(latest, latest.error or {}, latest.finished_at)
    run = Run.objects.filter(pk=group.example).defer("payload", "output").first() if group.example else None
    if run is None:
        return None
    attempt = Attempt.objects.filter(run=run, error__fingerprint=group.fingerprint).order_by("-number").first()
    if attempt is not None:
        return Example(run, attempt.error or {}, attempt.finished_at)
    tries = Snapshot.objects.filter(run=run, kind=SnapshotKind.FAILURE, error__isnull=False).order_by("-sequence")
    for tried in tries.only("error", "finished_at")[:MAX_TRIES]:
        error = tried.error or {}
        if error.get("fingerprint") == group.fingerprint:
            return Example(run, error, tried.finished_at)
    return None


def has_runs(fingerprint: str) -> bool:
    """Whether it is the last error of any run."""
    return is_print(fingerprint) and _runs(fingerprint).exists()


def as_json(group: Group) -> dict[str, Any]:
    """A group by the names of the API."""
    names = ("fingerprint", "type", "message", "tasks", "steps", "versions", "tries", "first_seen", "last_seen",
             "resolved_at", "resolved_by", "resolved_in", "snoozed_at", "snoozed_by", "snoozed_until", "snoozed_for",
             "reason")  # fmt: skip
    return {
        **{name: getattr(group, name) for name in names},
        "state": str(group.state),
        "ended_runs": group.ended,
        "open_runs": group.open,
        "trend": group.bins,
        "snoozed_so_far": group.since if group.snoozed_at else 0,
    }


def detail_as_json(group: Group) -> dict[str, Any]:
    """With its parts and an example."""
    found = example(group)
    shown = found and {
        "run_id": found.run.pk,
        **{name: str(found.error.get(name) or "") for name in ("type", "message", "step", "traceback")},
        "at": found.at,
    }
    return {**as_json(group), "parts": [part._asdict() for part in group.parts], "example": shown}


def _runs(fingerprint: str) -> QuerySet[Run]:
    # The shape for which run_by_error is made.
    return Run.objects.filter(column_is("error", (fingerprint,)), error__isnull=False)


def _look(now: datetime, start: datetime, asked: Asked, *, most: int, fingerprint: str | None = None) -> list[Group]:
    """Groups, the latest first, judged."""
    hour = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    lately = hour - timedelta(hours=1)
    cursor = asked.cursor
    rows = _rows(
        "error_look",
        seen_since=_EPOCH if fingerprint else start,
        before_at=cursor.at if cursor else None,
        before_print=cursor.fingerprint if cursor else "",
        task=asked.task,
        fingerprint=fingerprint,
        most=most,
        lately=lately,
        baseline=lately - timedelta(hours=BASELINE),
        today=hour - DAY,
    )
    groups = [Group(*row) for row in rows]
    deployed: dict[str, datetime] = {}
    for at, task in changes.deploys(now - DEPLOYS, now) if groups else ():  # the latest first
        deployed.setdefault(task, at)
    for group in groups:
        of_tasks = [deployed[task] for task in group.tasks if task in deployed]
        group.state = state_of(group.facts, now, max(of_tasks, default=None))
    return groups


def _fill(
    groups: Sequence[Group],
    asked: Asked,
    start: datetime,
    end: datetime,
    *,
    most: int = PARTS,
    count_to: int = MAX_OPEN,
) -> None:
    """Adds what is shown of groups: bins of the span, parts, runs under way."""
    if not groups:
        return
    hours = SPANS[asked.span][1]
    by_print = {group.fingerprint: group for group in groups}
    said: dict[str, Any] = {"fingerprints": list(by_print), "start": start, "task": asked.task}
    for group in groups:
        group.bins = [0] * round((end - start) / timedelta(hours=hours))
    for name, at, count, ended in _rows("error_bins", hours=hours, **said):
        by_print[name].tries += count
        by_print[name].ended += ended
        place = int((at - start) / timedelta(hours=hours))
        if 0 <= place < len(by_print[name].bins):
            by_print[name].bins[place] += count
    for row in _rows("error_parts", most=most, **said):
        by_print[row[0]].parts.append(Part(*row[1:8]))
    for name, count in _rows("error_open", fingerprints=list(by_print), most=count_to + 1):
        by_print[name].open = count


def _cursor(text: str) -> Cursor | None:
    if not text:
        return None
    found = _CURSOR.fullmatch(text)
    try:
        if found:
            return Cursor(_EPOCH + timedelta(microseconds=int(found[1])), found[2])
    except OverflowError:
        pass
    message = "is no cursor; send the `next` of the page before, unchanged"
    raise InvalidFilter(f"cursor {message}.", errors=[{"field": "cursor", "message": message}])


def _rows(name: str, **params: Any) -> list[Any]:
    with db.callers() as conn:
        return conn.execute(getattr(SQL, name), params).fetchall()

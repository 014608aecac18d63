"""What the page Retries, the API and the command line read. See `verdict.py` for the rule."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final
from urllib.parse import urlencode

from holdfast import db
from queues.models import Queue
from runs import filters, store
from runs.filters import DEFAULT_LIMIT, RunFilter
from runs.models import Run
from runs.reasons import Reason, reasons
from runs.retries.verdict import Verdict, idle, streak, verdict
from runs.sdk.usage import digits, plain_amounts
from runs.states import Status
from runs.store import RetryFacts

#: Runs that a page looks at, the newest of those that have failed and are not over; and groups that it shows.
LOOK: Final = 300
GROUPS: Final = 8
#: Attempts and snapshots of each that are looked at, the latest ones.
ATTEMPTS: Final = 10
WINDOW: Final = 100
NAMES: Final = ("task", "queue", "verdict")


@dataclass(frozen=True, slots=True)
class Asked:
    """Which runs to show: parsed from query parameters. Raises InvalidFilter."""

    task: str | None = None
    queue: str | None = None
    verdict: Verdict | None = None

    @classmethod
    def parse(cls, params: Mapping[str, Any], also: Iterable[str] = ()) -> Asked:
        filters.refuse_unknown(params, (*NAMES, *also))
        plain = RunFilter.parse({name: params.get(name) or "" for name in ("task", "queue")})
        asked = params.get("verdict") or ""
        filters.refuse_choice("verdict", asked, Verdict)
        return cls(plain.task, plain.queue, Verdict(asked) if asked else None)

    def address(self, **more: str) -> str:
        """The query that asks for this, with other values for some of it; empty for everything."""
        values = {name: str(getattr(self, name) or "") for name in NAMES} | more
        kept = {name: value for name, value in values.items() if value}
        return f"?{urlencode(kept)}" if kept else ""


@dataclass(frozen=True, slots=True)
class Story:
    """What the attempts of one run come to."""

    facts: RetryFacts

    @property
    def verdict(self) -> Verdict:
        return verdict(self.facts.numbers, self.facts.prints, self.facts.made_in)

    @property
    def streak(self) -> int:
        """The latest attempts that met one error; at ATTEMPTS the counting stopped."""
        return streak(self.facts.prints)

    @property
    def idle(self) -> int:
        """The latest attempts that finished nothing new; at ATTEMPTS the counting stopped."""
        return idle(self.facts.numbers, self.facts.made_in)

    @property
    def fingerprint(self) -> str:
        return (self.facts.prints[0] if self.facts.prints else None) or ""

    @property
    def counted(self) -> list[tuple[int, int]]:
        """The attempts that were looked at, first one first, and how many new things each has finished."""
        made = self.facts.steps
        numbers = sorted({*self.facts.numbers, self.facts.attempt})
        return [(number, int(made.get(str(number), 0))) for number in numbers]

    @property
    def new_steps(self) -> int:
        """New things of the attempts that were looked at, but the first: that one is no retry."""
        return sum(steps for number, steps in self.counted if number > 1)

    @property
    def attempts_per_step(self) -> float | None:
        """Retries for each new thing that they finished; None while they have finished nothing."""
        tried = sum(number > 1 for number, _ in self.counted)
        return tried / self.new_steps if self.new_steps else None

    @property
    def spent(self) -> dict[str, Decimal]:
        """What was used since the last new thing, by unit."""
        return {unit: Decimal(amount) for unit, amount in sorted(self.facts.spent.items())}


@dataclass(frozen=True, slots=True)
class Row:
    """A run on the page."""

    run: Run
    story: Story
    reason: Reason | None

    @property
    def can_move(self) -> bool:
        """Whether its next attempt can be made earlier or later."""
        return self.run.status == Status.RETRYING

    @property
    def is_due(self) -> bool:
        """Its next attempt waits for nothing but a worker or a slot: it cannot begin earlier."""
        return self.reason is None or self.reason.at is None or self.run.next_at is None


@dataclass(slots=True)
class Group:
    """Runs that burn on one error."""

    fingerprint: str
    type: str
    message: str
    latest: uuid.UUID
    runs: int = 0
    tasks: list[str] = field(default_factory=list)
    attempts: int = 0  # that finished nothing new
    spent: dict[str, Decimal] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The error's name without its module."""
        return self.type.rpartition(".")[2] or "Error"

    @property
    def address(self) -> str:
        """The query of the list of runs that shows them."""
        return RunFilter.link(f"error:{self.fingerprint} status:retrying,running,queued,waiting")


@dataclass(frozen=True, slots=True)
class Summary:
    """The newest runs that have failed and are not over, by verdict, and the errors on which they burn."""

    counts: dict[Verdict, int]
    groups: list[Group]
    looked_at: int
    more: bool  # there are others that were not looked at

    @property
    def burning(self) -> int:
        return self.counts[Verdict.BURNING]


@dataclass(frozen=True, slots=True)
class Page:
    """Rows, the cursor of older ones, and on the first page what all of them come to."""

    rows: list[Row]
    next: uuid.UUID | None
    summary: Summary | None


def page(asked: Asked, *, cursor: uuid.UUID | None = None, limit: int = DEFAULT_LIMIT) -> Page:
    """Runs that have failed at least once and are not over, newest first.

    The verdict is no column, so a page that asks for one looks at LOOK runs at most: it may be shorter than its limit,
    even empty, and `next` goes on.
    """
    look = limit if cursor and asked.verdict is None else LOOK
    stories, more = _stories(asked, cursor, max(look, limit))
    fitting = [story for story in stories if asked.verdict in (None, story.verdict)]
    shown = fitting[:limit]
    following = None
    if len(fitting) > limit:
        following = shown[-1].facts.id
    elif more:
        following = stories[-1].facts.id
    return Page(_rows(shown), following, None if cursor else _summary(stories, more))


def summary() -> Summary:
    """What all of them come to."""
    return _summary(*_stories(Asked(), None, LOOK))


def story_of(run_id: uuid.UUID) -> Story | None:
    """What the attempts of one run come to; None when it is over or there is no such run."""
    with db.callers() as conn:
        found = store.retry_facts(conn, [run_id], attempts=ATTEMPTS, window=WINDOW)
    return Story(found[0]) if found else None


def spent_words(spent: Mapping[str, Decimal]) -> str:
    """`0.35 cost, 1200 tokens_in`; empty for nothing."""
    return ", ".join(f"{digits(amount)} {unit}" for unit, amount in sorted(spent.items()) if amount)


def _stories(asked: Asked, cursor: uuid.UUID | None, look: int) -> tuple[list[Story], bool]:
    """The newest of them, and whether there are more."""
    queue = Queue.objects.filter(name=asked.queue).values_list("pk", flat=True).first() if asked.queue else None
    if asked.queue and queue is None:
        return [], False
    with db.callers() as conn:
        ids = store.struggling(conn, task=asked.task, queue=queue, before=cursor, limit=look + 1)
        found = store.retry_facts(conn, ids[:look], attempts=ATTEMPTS, window=WINDOW) if ids else []
    return [Story(facts) for facts in found], bool(found) and len(ids) > look


def _rows(stories: Sequence[Story]) -> list[Row]:
    ids = [story.facts.id for story in stories]
    runs = Run.objects.select_related("queue").defer("payload", "output").in_bulk(ids)
    why = reasons(list(runs.values()))
    alive = [(run, story) for story in stories if (run := runs.get(story.facts.id)) and not run.finished_at]
    return [Row(run, story, why.get(run.id)) for run, story in alive]


def _summary(stories: Sequence[Story], more: bool) -> Summary:
    counted = Counter(story.verdict for story in stories)
    groups: dict[str, Group] = {}
    for story in stories:
        if story.verdict is not Verdict.BURNING:
            continue
        facts = story.facts
        new = Group(story.fingerprint, facts.type or "", facts.message or "", facts.id)
        group = groups.setdefault(story.fingerprint, new)
        group.runs += 1
        group.attempts += story.idle
        if facts.task not in group.tasks:
            group.tasks.append(facts.task)
        for unit, amount in story.spent.items():
            group.spent[unit] = group.spent.get(unit, Decimal()) + amount
    largest = sorted(groups.values(), key=lambda group: (-group.runs, group.fingerprint))[:GROUPS]
    return Summary({v: counted.get(v, 0) for v in Verdict}, largest, len(stories), more)


def as_json(row: Row) -> dict[str, Any]:
    """A row by the names of the API."""
    run, story = row.run, row.story
    return {
        "id": run.id,
        "task": run.task_id,
        "queue": run.queue.name,
        "status": run.status,
        "verdict": str(story.verdict),
        "attempt": run.attempt,
        "max_attempts": run.max_attempts,
        "attempts": [{"number": number, "new_steps": steps} for number, steps in story.counted],
        "attempts_per_new_step": story.attempts_per_step,
        "attempts_without_progress": story.idle,
        "same_error_streak": story.streak,
        "fingerprint": story.fingerprint or None,
        "last_progress_at": story.facts.made_at,
        "last_progress": story.facts.made,
        "spent_since": plain_amounts(story.spent),
        "next_at": run.next_at,
        "error_type": story.facts.type,
        "error_message": story.facts.message,
    }


def group_json(group: Group) -> dict[str, Any]:
    """A group by the names of the API."""
    return {
        "fingerprint": group.fingerprint,
        "type": group.type,
        "message": group.message,
        "runs": group.runs,
        "tasks": group.tasks,
        "attempts_without_progress": group.attempts,
        "spent_since": plain_amounts(group.spent),
        "latest": group.latest,
    }


def page_json(page: Page) -> dict[str, Any]:
    """A page by the names of the API."""
    found = page.summary
    return {
        "items": [as_json(row) for row in page.rows],
        "next": page.next,
        "summary": found
        and {
            "progress": found.counts[Verdict.PROGRESS],
            "burning": found.burning,
            "early": found.counts[Verdict.EARLY],
            "looked_at": found.looked_at,
            "more": found.more,
            "groups": [group_json(group) for group in found.groups],
        },
    }

"""What pages, API and command line read of alerts and channels."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.db.models import QuerySet

from holdfast.access.selectors import database_now
from holdfast.words import share
from runs import changes, charts
from runs.alerts import channels, delivering, rules, words
from runs.alerts.choices import DEFAULTS, Kind, State
from runs.alerts.evaluating import SETTLE
from runs.alerts.measuring import Point, points
from runs.alerts.model import Alert, Channel, Firing
from runs.alerts.rules import Span
from runs.alerts.services import MAX_ALERTS
from runs.filters import DEFAULT_LIMIT
from runs.models import Run
from runs.selectors import Page, page_of
from runs.states import Status

#: How far back a preview looks, and the minutes of one of its bins.
HISTORY: Final = timedelta(days=7)
BIN: Final = 15
#: The part of the minutes from which on a preview says nothing of those that are unmeasured.
MOSTLY: Final = 0.99
#: Firings of all alerts that the list shows.
LATELY: Final = 20
_ORDER: Final = (State.FIRING, State.PENDING, State.UNMEASURED, State.OK)
_AS_IT_IS: Final = (
    "name",
    "kind",
    *DEFAULTS,
    "threshold",
    "hold",
    "enabled",
    "state",
    "since",
    "value",
    "note",
    "evaluated_at",
    "silenced_by",
    "silence_reason",
)
_OF_FIRING: Final = (
    "id",
    "since",
    "until",
    "ended",
    "threshold",
    "value",
    "peak",
    "peak_at",
    "summary",
    "told_at",
    "acknowledged_at",
    "acknowledged_by",
    "acknowledged_why",
)


@dataclass(frozen=True, slots=True)
class Row:
    """An alert, as lists and pages show it."""

    alert: Alert
    firing: Firing | None  # that goes on
    channels: list[Channel]
    silenced_until: datetime | None  # None once it is over

    @property
    def state(self) -> str:
        """In the words of its pill."""
        return str(self.alert.state) if self.alert.enabled else "off"

    @property
    def condition(self) -> str:
        return words.condition(self.alert)

    @property
    def value(self) -> str:
        return words.shown(self.alert, self.alert.value)

    @property
    def limit(self) -> str:
        return words.limit(self.alert)


@dataclass(frozen=True, slots=True)
class Past:
    """A firing, in words."""

    firing: Firing
    alert: Alert

    @property
    def peak(self) -> str:
        return words.shown(self.alert, self.firing.peak)

    @property
    def about(self) -> str:
        """What was measured, without the rule."""
        return self.firing.summary.partition(": ")[0]


@dataclass(frozen=True, slots=True)
class Preview:
    """What a rule would have done over the last days."""

    rule: Alert
    start: datetime
    end: datetime
    points: list[Point]
    spans: list[Span]

    @property
    def times(self) -> int:
        return len(self.spans)

    @property
    def condition(self) -> str:
        return words.condition(self.rule)

    @property
    def measured(self) -> float:
        """The part of the minutes that had a value."""
        return sum(point.value is not None for point in self.points) / len(self.points)

    @property
    def gaps(self) -> bool:
        """Whether so much was not measured that it is worth a word."""
        return self.measured < MOSTLY

    @property
    def measured_words(self) -> str:
        return share(self.measured)

    @property
    def highest(self) -> float | None:
        return max((point.value for point in self.points if point.value is not None), default=None)

    @property
    def highest_words(self) -> str:
        return words.shown(self.rule, self.highest)

    @property
    def latest(self) -> list[tuple[Span, str]]:
        """The last firings, the latest first, with their peaks in words."""
        return [(span, words.shown(self.rule, span.peak)) for span in self.spans[: -LATELY - 1 : -1]]

    @property
    def bins(self) -> list[tuple[datetime, float | None]]:
        """The highest value of each bin."""
        found = []
        for place in range(0, len(self.points), BIN):
            part = self.points[place : place + BIN]
            found.append((part[0].at, max((p.value for p in part if p.value is not None), default=None)))
        return found

    @property
    def figure(self) -> charts.Figure:
        """As a chart."""
        scale, suffix = self._scale()
        drawn = [
            (at, None if value is None else round(value * scale, 3), words.shown(self.rule, value))
            for at, value in self.bins
        ]
        return charts.watched(
            drawn,
            start=self.start,
            end=self.end,
            threshold=self.rule.threshold * scale,
            fired=[(span.since, span.until or self.end) for span in self.spans],
            suffix=suffix,
            deploys=changes.deploys(self.start, self.end, self.rule.task) if self.rule.task else (),
        )

    def _scale(self) -> tuple[float, str]:
        if self.rule.kind == Kind.FAILURE_RATE:
            return 1, " %"
        if self.rule.kind not in words.SECONDS:
            return 1, ""
        return (1 / 60, " min") if max(self.rule.threshold, self.highest or 0) >= 300 else (1, " s")


def rows() -> list[Row]:
    """All alerts: those that fire first, then by name."""
    found = list(Alert.objects.order_by("name").prefetch_related("channels")[:MAX_ALERTS])
    open_ones = {firing.alert_id: firing for firing in Firing.objects.filter(until__isnull=True)[:MAX_ALERTS]}
    now = database_now()
    made = [_row(alert, open_ones.get(alert.pk), now) for alert in found]
    return sorted(made, key=lambda row: (not row.alert.enabled, _ORDER.index(State(row.alert.state))))


def row(alert: Alert) -> Row:
    """One of them."""
    return _row(alert, alert.firings.filter(until__isnull=True).first(), database_now())


def lately() -> list[Past]:
    """The last firings of all alerts, the latest first."""
    found = Firing.objects.select_related("alert").order_by("-id")[:LATELY]
    return [Past(firing, firing.alert) for firing in found]


def firings(alert: Alert, *, cursor: int | None = None, limit: int = DEFAULT_LIMIT) -> Page[Firing, int]:
    """When it fired, the latest first; `cursor` is the last page's `next`."""
    found = alert.firings.order_by("-id")
    found = found.filter(id__lt=cursor) if cursor else found
    return page_of(found, limit)


def preview(rule: Alert) -> Preview:
    """What a rule, stored or not, would have done over the last days. Raises TooSlow."""
    end = (database_now() - SETTLE).replace(second=0, microsecond=0)
    start = end - HISTORY
    found = points(rule, start, end)
    spans = rules.spans([(p.at, p.value) for p in found], threshold=rule.threshold, hold=rule.held)
    return Preview(rule, start, end, found, spans)


def deliveries(tag: str, *, cursor: uuid.UUID | None = None, limit: int = DEFAULT_LIMIT) -> Page[Run, uuid.UUID]:
    """What was told, the latest first, by the tag of an alert or of a channel (`delivering.alert_tag`)."""
    found = _tagged(tag).order_by("-id")
    return page_of(found.filter(id__lt=cursor) if cursor else found, limit)


def channel_rows() -> list[tuple[Channel, str, list[Alert]]]:
    """All channels with where they lead and the alerts that they are told of."""
    found = Channel.objects.order_by("name").prefetch_related("alerts")[: channels.MAX_CHANNELS]
    return [(channel, channels.place(channel), list(channel.alerts.all())) for channel in found]


# ── by the names of the API and the command line ─────────────────────────────────────────────────────────────────────


def describe(of: Row) -> dict[str, Any]:
    """An alert."""
    return {
        **{name: getattr(of.alert, name) for name in _AS_IT_IS},
        "condition": of.condition,
        "channels": [channel.name for channel in of.channels],
        "silenced_until": of.silenced_until,
        "firing": describe_firing(of.firing) if of.firing else None,
    }


def describe_firing(of: Firing) -> dict[str, Any]:
    """A time during which it fired."""
    return {**{name: getattr(of, name) for name in _OF_FIRING}, "examples": of.link}


def describe_preview(of: Preview) -> dict[str, Any]:
    """What it would have done."""
    return {
        "condition": of.condition,
        "start": of.start,
        "end": of.end,
        "times": of.times,
        "firings": [{"since": span.since, "until": span.until, "peak": span.peak} for span in of.spans],
        "measured": round(of.measured, 4),
        "highest": of.highest,
        "points": [{"at": at, "value": value} for at, value in of.bins],
    }


def describe_channel(of: Channel) -> dict[str, Any]:
    """A channel, without the address of a webhook."""
    return {
        "name": of.name,
        "kind": of.kind,
        "to": channels.place(of),
        "recipients": of.recipients,
        "enabled": of.enabled,
        "created_at": of.created_at,
    }


def describe_delivery(run: Run) -> dict[str, Any]:
    """A delivery: the run that sends it, and what came of that."""
    error, news = run.error or {}, run.payload["news"]
    return {
        "id": run.id,
        "channel": run.payload["channel"],
        "type": news["type"],
        "subject": news["subject"],
        "status": run.status,
        "attempt": run.attempt,
        "max_attempts": run.max_attempts,
        "created_at": run.created_at,
        "next_at": run.next_at if run.status == Status.RETRYING else None,
        "finished_at": run.finished_at,
        "error": error.get("message") if run.status != Status.COMPLETED else None,
    }


def _row(alert: Alert, firing: Firing | None, now: datetime) -> Row:
    until = alert.silenced_until
    return Row(alert, firing, list(alert.channels.all()), until if until and until > now else None)


def _tagged(tag: str) -> QuerySet[Run]:
    return Run.objects.filter(task_id=delivering.DELIVERS, tags__contains=[tag]).exclude(tags=[])

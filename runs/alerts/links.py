"""Where an alert and examples of what it is about are found. Written out: to ask Django for an address loads all pages,
and a scheduler has no use for them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from runs.alerts.choices import Kind
from runs.alerts.model import Alert
from runs.charts import FAILED
from runs.filters import RunFilter
from runs.search.terms import Term
from runs.search.values import Moment
from runs.states import Status

_BAD: Final = tuple(str(status) for status in Status if status in FAILED)
_AT_WORK: Final = tuple(map(str, (Status.QUEUED, Status.RUNNING, Status.RETRYING, Status.CANCELLING)))


def page_of(name: str) -> str:
    """The address of an alert's page."""
    return f"/alerts/{name}/"


def examples(rule: Alert, at: datetime) -> str:
    """The address of runs that a rule is about, or of its schedule, as seen at that moment."""
    if rule.kind == Kind.MISSED_SCHEDULE:
        return f"/schedules/{rule.schedule}/" if rule.schedule else "/schedules/"
    terms = [Term("task", (rule.task,))] if rule.task else []
    terms += [Term("queue", (rule.queue,))] if rule.queue else []
    since = _minute(at - timedelta(seconds=rule.window))
    match rule.kind:
        case Kind.FAILURE_RATE:
            terms += [Term("status", _BAD), Term("finished", (since,), ">=")]
        case Kind.LATENCY:
            longer = timedelta(seconds=round(rule.threshold, 3))
            terms += [Term("duration", (longer,), ">"), Term("finished", (since,), ">=")]
        case Kind.HEAD_WAIT:
            terms += [Term("status", (str(Status.QUEUED),))]
        case Kind.NO_PROGRESS:
            terms += [Term("status", _AT_WORK)]
        case Kind.SPEND:
            terms += [Term("finished", (since,), ">=")]
    return "/runs/" + RunFilter(search=tuple(terms)).address()


def _minute(at: datetime) -> Moment:
    start = at.replace(second=0, microsecond=0)
    return Moment(start, start + timedelta(minutes=1))

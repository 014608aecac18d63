"""/explore: the numbers behind the charts of the page, and what a box of the map has more often than the rest."""

from datetime import datetime
from typing import Any

from django.http import HttpRequest
from ninja import Router, Schema
from pydantic import Field

from runs.api.auth import needs
from runs.explore import figures, selectors
from runs.explore.asked import Asked
from runs.explore.differences import Differences, Side

router = Router(tags=["explore"])
_PARAMETERS = {
    "parameters": [
        {"name": name, "in": "query", "required": False, "schema": {"type": "string"}, "description": words}
        for name, words in (
            ("span", "1h, 6h, 24h or 7d, to now; 24h unless given."),
            ("from", "Instead: when the time begins, such as 2026-01-31T09:00:00Z; `to` is needed as well."),
            ("to", "When it ends, at most 31 days later."),
            ("task", "Only runs of this task."),
            ("queue", "Only runs of this queue."),
            ("version", "Only runs with this version of their code."),
            ("worker", "Only runs that a worker of this name had last."),
            ("by", "task, queue, version, worker or tag: what `groups` are; task unless given."),
            ("since", "The box: runs that ended from then on."),
            ("until", "The box: runs that ended before."),
            ("over", "The box: runs that took at least so long from their creation, such as 30s or 1h30m."),
            ("under", "The box: runs that took less."),
        )
    ]
}


class SumsOut(Schema):
    """How runs ended, and how long they took from their creation."""

    ended: int = Field(description="Completed or failed.")
    failed: int
    p50: float | None = Field(description="Seconds; null when none ended. Off by 19 % at most.")
    p95: float | None
    p99: float | None


class BinOut(SumsOut):
    """A part of the time."""

    start: datetime
    cancelled: int
    wait_p50: float | None = Field(description="Seconds from when runs could start to their start; null without any.")
    wait_p95: float | None
    wait_p99: float | None


class GroupOut(SumsOut):
    """The runs of a task, queue, version, worker or tag; the empty name is of those without one."""

    name: str


class QueueSampleOut(Schema):
    """The highest of the scheduler's samples of a queue in a part of the time; one sample a minute."""

    queue: str
    start: datetime
    depth: int = Field(description="Runs that were due and waited, up to 10,001.")
    running: int
    concurrency_limit: int | None
    paused: bool


class ExploreOut(Schema):
    """A time, in bins."""

    start: datetime
    end: datetime
    bin_minutes: int
    total: SumsOut
    bins: list[BinOut]
    histogram: list[list[float | None]] = Field(
        description="Lower and upper bound in seconds (null: none), and how many runs ended after so long."
    )
    groups: list[GroupOut] = Field(description="Those in which most runs ended, at most 20.")
    groups_total: int
    sampled: int = Field(description="Of tags: how many runs were looked at. Else 0: groups are counted in full.")
    queues: list[QueueSampleOut] = Field(description="Of the 20 queues that were fullest.")


class SideOut(Schema):
    """The runs of one side of a comparison."""

    runs: int = Field(description="About how many there are.")
    sampled: int = Field(description="How many were looked at.")


class DifferenceOut(Schema):
    """Something that runs in the box have more often."""

    field: str = Field(description="task, queue, version, worker, key, error, tag, or payload.<key>.")
    value: str = Field(description="Of a payload as JSON.")
    box_runs: int
    box_share: float = Field(description="0 to 1, of the runs of the box that were looked at.")
    others_runs: int
    others_share: float
    difference: float
    search: str = Field(description="The search that finds the runs of the box that have it: `q` of /runs.")


class DifferencesOut(Schema):
    """The differences of a box from the rest of its time, the greatest first."""

    box: SideOut
    others: SideOut
    items: list[DifferenceOut]


@router.get("/explore", response=ExploreOut, auth=needs("runs.view"), operation_id="explore", openapi_extra=_PARAMETERS)
def explore(request: HttpRequest) -> Any:
    """How runs ended and how long they took, over time and by groups: the numbers of the page Explore."""
    look = figures.numbers(Asked.parse(request.GET))
    window, page = look.window, look.page
    return {
        "start": window.start,
        "end": window.end,
        "bin_minutes": window.minutes,
        "total": _sums(page.totals),
        "bins": [_bin(start, *both) for start, both in zip(window.edges, look.bins, strict=False)],
        "histogram": look.histogram,
        "groups": [{"name": row.group.name, **_sums(row.group.totals)} for row in page.groups],
        "groups_total": page.groups_total,
        "sampled": page.sampled,
        "queues": [QueueSampleOut.model_construct(**sample) for sample in look.queues],
    }


@router.get(
    "/explore/differences",
    response=DifferencesOut,
    auth=needs("runs.view"),
    operation_id="explore_differences",
    openapi_extra=_PARAMETERS,
)
def differences(request: HttpRequest) -> Any:
    """What the runs of a box have more often than the others of the time. Samples of at most about 2,000 runs of each
    side are compared. At least one of since, until, over and under has to be there."""
    found = figures.compare(Asked.parse(request.GET))
    return {"box": _side(found.box), "others": _side(found.others), "items": _items(found)}


def _items(found: Differences) -> list[dict[str, Any]]:
    return [
        {
            "field": item.field,
            "value": item.value,
            "box_runs": item.inside,
            "box_share": item.inside_share,
            "others_runs": item.outside,
            "others_share": item.outside_share,
            "difference": item.difference,
            "search": search,
        }
        for item, search in found.searches
    ]


def _side(side: Side) -> dict[str, int]:
    return {"runs": max(side.runs, side.looked_at), "sampled": side.looked_at}


def _sums(sums: selectors.Totals) -> dict[str, Any]:
    return {"ended": sums.ended, "failed": sums.failed, "p50": sums.p50, "p95": sums.p95, "p99": sums.p99}


def _bin(start: datetime, ended: selectors.Totals, waited: dict[float, float | None]) -> dict[str, Any]:
    waits = {f"wait_p{q * 100:.0f}": value for q, value in waited.items()}
    return {"start": start, "cancelled": ended.cancelled, **_sums(ended), **waits}

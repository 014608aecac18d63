"""Template tags of the design system: `{% load holdfast %}`."""

import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from importlib.metadata import version
from itertools import groupby
from typing import Any
from urllib.parse import quote

from django import template
from django.http import HttpRequest
from django.template.context import RequestContext
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from holdfast import words
from holdfast.access.grants import Actor, actor_of
from holdfast.icons import ICONS
from holdfast.navigation import PLACES, Place, badge

register = template.Library()

SPARK_WIDTH, SPARK_HEIGHT = 120, 20  # units of its viewBox
#: What a snippet's template needs.
Copied = dict[str, str]
LONGEST_JSON = 200_000  # characters shown on a page; the API has the rest


@register.simple_tag
def icon(name: str) -> SafeString:
    """An inline SVG icon, hidden from screen readers: the words beside it speak."""
    return format_html(
        '<svg viewBox="0 0 16 16" width="16" height="16" fill="none" stroke="currentColor" stroke-width="1.5" '
        'stroke-linecap="round" stroke-linejoin="round" aria-hidden="true">{}</svg>',
        mark_safe(ICONS[name]),  # noqa: S308 - a constant of holdfast.icons
    )


@register.simple_tag
def status(name: str, note: str = "") -> SafeString:
    """The pill of a run's or attempt's status; `note` says more, such as `2 of 3`."""
    shape = name if name in ICONS else "unknown"
    more = format_html(" <small>{}</small>", note) if note else ""
    return format_html(
        '<span class="pill" data-status="{}">{}<span>{}{}</span></span>',
        name, icon(shape), words.status_words(name), more,
    )  # fmt: skip


@register.simple_tag
def when(at: datetime | None, empty: str = "–") -> SafeString | str:
    """A time as people say it (`5 m ago`), exact on hover; page.js keeps it current."""
    if at is None:
        return empty
    return format_html(
        '<time class="nowrap" datetime="{}" title="{}" data-relative>{}</time>',
        at.isoformat(), words.exact(at), words.relative(at, timezone.now()),
    )  # fmt: skip


@register.simple_tag
def lasting(started_at: datetime | None, finished_at: datetime | None = None) -> SafeString | str:
    """How long something took, or has been taking until now: then page.js lets it tick."""
    if started_at is None:
        return "–"
    if finished_at is not None:
        return words.duration((finished_at - started_at).total_seconds())
    so_far = words.duration((timezone.now() - started_at).total_seconds())
    return format_html('<time class="nowrap" datetime="{}" data-ticking>{}</time>', started_at.isoformat(), so_far)


@register.filter
def duration(seconds: float | None) -> str:
    """Seconds as `340 ms`, `12.5 s`, `2 m 05 s`."""
    return words.duration(seconds)


@register.filter
def count(number: int | None) -> str:
    """A number with thousands separators."""
    return words.count(number)


@register.simple_tag
def share(part: float) -> str:
    """A part of 1 as `12 %`."""
    return words.share(part)


@register.simple_tag
def sparkline(values: Sequence[float | None], label: str) -> SafeString:
    """Numbers over time as a small line, from zero up; None is a gap. `label` is what screen readers hear."""
    highest = max((value for value in values if value is not None), default=0) or 1
    step = SPARK_WIDTH / max(len(values) - 1, 1)
    parts, pen = [], "M"
    for place, value in enumerate(values):
        if value is None:
            pen = "M"
            continue
        parts.append(f"{pen}{place * step:.1f} {SPARK_HEIGHT - 1 - (SPARK_HEIGHT - 2) * value / highest:.1f}")
        pen = "L"
    # A point between two gaps is a line of no length, which round ends make visible.
    path = "".join(parts) + ("h0" if pen == "L" else "")
    return format_html(
        '<svg class="spark" viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" aria-label="{}">'
        '<path d="{}"/></svg>',
        SPARK_WIDTH, SPARK_HEIGHT, label, path,
    )  # fmt: skip


@register.simple_tag
def plotly_url() -> str:
    """The address of Plotly's script, which has its version."""
    return reverse("runs:plotly", args=[version("plotly")])


@register.inclusion_tag("holdfast/_json.html")
def json_view(value: Any, label: str = "", id: str = "") -> dict[str, Any]:  # noqa: A002 - an HTML attribute
    """A JSON value: text without scripts, a collapsible tree with json.js. Every digit of a big integer survives."""
    text = words.pretty_json(value)
    return {"text": text[:LONGEST_JSON], "cut": len(text) > LONGEST_JSON, "label": label, "id": id}


@register.inclusion_tag("holdfast/_nav.html", takes_context=True)
def nav(context: RequestContext) -> dict[str, Any]:
    """The places that the person signed in may see."""
    request: HttpRequest | None = context.get("request")
    path = request.path if request else ""
    # Functions that count what waits at a place for somebody, by its address: asked only where the menu is drawn.
    badges: Mapping[str, Callable[[], int]] = context.get("badges") or {}
    places = _places(context)
    counts = {place.path: badge(badges[place.path]()) for place in places if place.path in badges}
    shown = [(place, place.is_current(path), counts.get(place.path)) for place in places]
    return {"groups": [(name, list(of)) for name, of in groupby(shown, lambda entry: entry[0].group)]}


@register.inclusion_tag("holdfast/_shortcuts.html", takes_context=True)
def shortcuts(context: RequestContext) -> dict[str, Any]:
    """The dialog that lists the keys; it knows the places that the person may see."""
    return {"places": [place for place in _places(context) if place.key]}


@register.simple_tag(takes_context=True)
def may(context: RequestContext, grant: str) -> bool:
    """`{% may "runs.retry" as may_retry %}`: whether to show a button. The view behind it checks again."""
    actor = _actor(context)
    return actor is not None and grant in actor.grants


@register.simple_tag(takes_context=True)
def current_actor(context: RequestContext) -> Actor | None:
    """Who is signed in, or None."""
    return _actor(context)


@register.inclusion_tag("holdfast/_elsewhere.html", takes_context=True)
def elsewhere(context: RequestContext, cli: str, http: str, *of: object, body: str = "", **fields: Any) -> Copied:
    """The same action on the command line and over HTTP, to copy.

    `{% elsewhere "runs retry {} --reason …" "POST /runs/{}/retry" page.run.id %}`; each `{}` is the next of `of`.
    What is sent is `body`, a JSON object, and `fields`.
    """
    return _copied(context, cli, http, of, body, fields)


@register.inclusion_tag("holdfast/_elsewhere_beside.html", takes_context=True)
def elsewhere_beside(
    context: RequestContext, label: str, cli: str, http: str, *of: object, body: str = "", **fields: Any
) -> Copied:
    """`elsewhere` beside a button that asks nothing before: behind a small button of its own. `label`: what it does."""
    return {**_copied(context, cli, http, of, body, fields), "label": label}


def _copied(
    context: RequestContext, cli: str, http: str, of: Sequence[object], body: str, fields: Mapping[str, Any]
) -> Copied:
    request: HttpRequest | None = context.get("request")
    method, _, path = http.partition(" ")
    base = request.build_absolute_uri("/api/v1") if request else "/api/v1"
    value = {**(json.loads(body) if body else {}), **fields}
    data = shlex.quote(json.dumps(value, ensure_ascii=False, default=str))
    sent = f" \\\n  -H 'Content-Type: application/json' -d {data}" if value else ""
    address = shlex.quote(base + path.format(*(quote(str(one), safe="") for one in of)))
    return {
        "command": f"manage.py {cli.format(*(shlex.quote(str(one)) for one in of))}",
        "request": f'curl -X {method} {address} \\\n  -H "Authorization: Bearer $HOLDFAST_TOKEN"{sent}',
    }


@register.filter
def messages_kind(message: Any) -> str:
    """The toast's kind for a Django message."""
    kind: Mapping[int, str] = {30: "warning", 40: "error"}
    return kind.get(message.level, "info")


def _places(context: RequestContext) -> list[Place]:
    actor = _actor(context)
    return [place for place in PLACES if actor and place.grant in actor.grants]


def _actor(context: Mapping[str, Any] | RequestContext) -> Actor | None:
    request = context.get("request")
    user = getattr(request, "user", None)
    if request is None or user is None or not user.is_authenticated:
        return None
    known: Actor | None = getattr(request, "actor", None)
    if known is None:
        known = request.actor = actor_of(user)
    return known

"""`{% load run_retries %}`: what the attempts of a run come to, as a small picture and in words."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from django import template
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from runs.retries.selectors import ATTEMPTS, Story, spent_words

register = template.Library()

#: Units of the picture: of one attempt, and the highest bar.
WIDE, HIGH = 8, 14


@register.simple_tag
def strip(story: Story) -> SafeString:
    """A bar for each attempt: as high as what it has finished, a line for nothing. The words beside it speak."""
    counted = story.counted
    most = max((steps for _, steps in counted), default=0) or 1
    bars = []
    for place, (number, steps) in enumerate(counted):
        height = max(4, round(HIGH * steps / most)) if steps else 2
        kind = "good" if steps else "none"
        bars.append((kind, place * WIDE, HIGH - height, WIDE - 2, height, number, steps))
    drawn = format_html_join(
        "",
        '<rect class="{}" x="{}" y="{}" width="{}" height="{}"><title>attempt {}: {} new</title></rect>',
        bars,
    )
    width = WIDE * len(counted)
    return format_html(
        '<svg class="strip" viewBox="0 0 {} {}" width="{}" height="{}" aria-hidden="true">{}</svg>',
        width, HIGH, width, HIGH, drawn,
    )  # fmt: skip


@register.filter
def tally(story: Story) -> str:
    """`4 retries, 2 new (2.0 each)`."""
    tried = sum(number > 1 for number, _ in story.counted)
    if not tried:
        return "no retry yet"
    shown = "1 retry" if tried == 1 else f"{tried} retries"
    shown = f"last {shown}" if len(story.facts.numbers) >= ATTEMPTS else shown
    made = "nothing new" if not story.new_steps else f"{story.new_steps} new"
    each = story.attempts_per_step
    return f"{shown}, {made}" if each is None else f"{shown}, {made} ({each:.1f} each)"


@register.filter
def capped_attempts(number: int) -> str:
    """A number of attempts in a row; the counting stops at ATTEMPTS."""
    return f"{ATTEMPTS}+" if number >= ATTEMPTS else str(number)


@register.filter
def spent(amounts: Mapping[str, Decimal]) -> str:
    """Amounts with their units."""
    return spent_words(amounts)

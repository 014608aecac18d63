"""`{% load run_words %}`: ids, counts that stopped counting, and sizes."""

import uuid

from django import template
from django.utils.html import conditional_escape
from django.utils.safestring import SafeString, mark_safe

from runs import words
from runs.schedules import ticks

register = template.Library()


@register.filter
def short_id(run_id: uuid.UUID) -> str:
    """The end of a run's id: its beginning is a time, which runs of one moment share."""
    return f"…{run_id.hex[-8:]}"


@register.filter
def capped(number: int) -> str:
    """A count; beyond 10,000 it says where the counting stopped."""
    return words.count(number)


@register.filter
def size(number: int) -> str:
    """Bytes as a person reads them."""
    return words.size(number)


@register.filter
def error_name(error: dict[str, object] | None) -> str:
    """The name of an error without its module."""
    return str((error or {}).get("type") or "Error").rpartition(".")[2]


@register.filter
def json_line(value: object) -> str:
    """A JSON value on one line, cut after some hundred characters."""
    return words.json_line(value)


@register.filter
def breakable(search: str) -> SafeString:
    """A search that a narrow place breaks behind its commas, rather than inside a word."""
    return mark_safe(conditional_escape(search).replace(",", ",<wbr>"))  # noqa: S308 - it is escaped


@register.filter
def prose(cron: str) -> str:
    """A cron expression in words."""
    return ticks.prose(cron)

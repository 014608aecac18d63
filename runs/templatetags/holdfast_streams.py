"""`{% load holdfast_streams %}`: a run's stream on a page of your own."""

import uuid
from typing import Any

from django import template
from django.urls import reverse

from runs.sdk import streamtoken

register = template.Library()


@register.inclusion_tag("runs/_stream.html")
def holdfast_stream(run_id: uuid.UUID | str, name: str, ttl: float = streamtoken.DEFAULT_TTL) -> dict[str, Any]:
    """`{% holdfast_stream run_id "answer" %}`: an element that fills with the stream's text as the run sends it.

    Whoever sees the page may read this one stream of this one run for `ttl` seconds. The view has to make sure that
    they are to.
    """
    token = streamtoken.issue(run_id if isinstance(run_id, uuid.UUID) else uuid.UUID(run_id), name, ttl)
    return {"address": reverse("runs:stream", args=(token,)), "name": name}

"""`/streams/<token>`: one stream of one run for whoever has the token, as server-sent events."""

from __future__ import annotations

import psycopg
from django.db import OperationalError
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.views.decorators.http import require_GET

from runs import feed, live, streams
from runs.api import problems
from runs.errors import HoldfastError, StreamMisuse, StreamTokenRefused
from runs.sdk import streamtoken


@require_GET
async def stream(request: HttpRequest, token: str) -> HttpResponseBase:
    """The stream that the token names; one for any stream of its run wants `?stream=`.

    No cookie counts here, so pages of any origin may ask.
    """
    try:
        answer = await _answer(request, token)
    except (HoldfastError, OperationalError) as error:
        answer = problems.of(error)
    answer.headers["Access-Control-Allow-Origin"] = "*"
    answer.headers["Cache-Control"] = "no-store"
    return answer


async def _answer(request: HttpRequest, token: str) -> HttpResponseBase:
    grant = streamtoken.check(token)
    name = request.GET.get("stream", grant.stream)
    if name is None:
        raise StreamMisuse("This token is for any stream of its run. Say which one: ?stream=answer")
    name = streams.stream_name(name)
    if grant.stream not in (None, name):
        raise StreamTokenRefused
    after = feed.last_event_id(request.headers.get("Last-Event-ID"))
    if after is None:
        after = feed.last_event_id(request.GET.get("after")) or 0
    try:
        async with live.READERS.open() as readers:
            streams.page(grant.run_id, await readers.rows(*streams.query(grant.run_id, name, after, 1)))
    except psycopg.OperationalError as error:  # PoolTimeout is one, too
        # As Django's own connections would say it, but without the cause, from which `problems` would tell a stranger
        # what PostgreSQL says.
        raise OperationalError(str(error)) from None

    async def allowed() -> bool:
        try:
            streamtoken.check(token)
        except StreamTokenRefused:
            return False
        return True

    return feed.response(grant.run_id, name, after, allowed)

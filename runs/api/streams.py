"""/runs/{id}/streams/{name}: what a run sends while it works, as a list or as server-sent events."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

from channels.db import database_sync_to_async
from django.db import connection
from django.http import HttpRequest
from ninja import Router

from holdfast.access import bearer
from holdfast.access.errors import AccessError
from holdfast.access.grants import require
from runs import feed, streams
from runs.api import docs
from runs.api.auth import needs
from runs.api.runs import MAX_SEQUENCE, existing
from runs.api.schemas import ChunkOut, PageOut
from runs.consumers import may_watch
from runs.filters import parse_limit, parse_number, refuse_unknown

router = Router(tags=["runs"])

GRANT: Final = "runs.view"
MAX_CHUNKS: Final = 1_000


@router.get(
    "/runs/{run_id}/streams/{name}",
    response=PageOut[ChunkOut],
    auth=needs(GRANT),
    operation_id="run_stream",
    openapi_extra=docs.query(
        docs.parameter("after", "The sequence of the last chunk seen.", {"type": "integer", "minimum": 0}),
        docs.parameter("Last-Event-ID", "The same, as browsers send it.", {"type": "integer"}, place="header"),
        *docs.page(MAX_CHUNKS, streams.BATCH),
    ),
)
def run_stream(request: HttpRequest, run_id: str, name: str) -> Any:
    """A stream's chunks in sequence. With `Accept: text/event-stream` they come as they are sent, until the run ends
    (`event: end`); after a cut, send the last `id` as `Last-Event-ID`. A stream that has no chunk yet is empty."""
    refuse_unknown(request.GET, ("after", "cursor", "limit"))
    found, stream = existing(run_id), streams.stream_name(name)
    after = max(_sequence(request, "after"), _sequence(request, "cursor"))
    limit = parse_limit(request.GET.get("limit"), most=MAX_CHUNKS, default=streams.BATCH)
    if feed.CONTENT_TYPE in request.headers.get("Accept", ""):
        last = feed.last_event_id(request.headers.get("Last-Event-ID"))
        answer = feed.response(found, stream, after if last is None else last, _still(request))
        _let_go()
        return answer
    page = streams.read(found, stream, after=after, limit=limit)
    following = page.items[-1].sequence if page.more and page.items else None
    return PageOut[ChunkOut].model_construct(items=[ChunkOut.of(chunk) for chunk in page.items], next=following)


def _sequence(request: HttpRequest, name: str) -> int:
    return parse_number(name, request.GET.get(name), least=0, most=MAX_SEQUENCE, default=0)


def _still(request: HttpRequest) -> Callable[[], Awaitable[bool]]:
    """Whether the caller may still read: a connection outlives tokens, roles and sessions."""
    header, session = request.headers.get("Authorization"), request.session

    def by_token() -> bool:
        try:
            require(bearer.authenticate(header), GRANT)
        except AccessError:
            return False
        return True

    async def allowed() -> bool:
        if header is None:
            return await may_watch(session)
        return bool(await database_sync_to_async(by_token)())

    return allowed


def _let_go() -> None:
    """Gives the request's own connection back now: its response may last for hours."""
    if not connection.in_atomic_block:
        connection.close()

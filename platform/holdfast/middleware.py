"""What every response carries."""

import re
from collections.abc import Awaitable, Callable

from asgiref.sync import iscoroutinefunction
from django.core.exceptions import PermissionDenied
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.utils.cache import patch_vary_headers
from django.utils.decorators import sync_and_async_middleware
from django.utils.deprecation import MiddlewareMixin

from holdfast import db

# Scripts and styles come from our own files only; there is no inline code to allow, so what is injected never runs.
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data: blob:",
        "font-src 'self'",
        "connect-src 'self'",
        "manifest-src 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    )
)
HEADER = "Content-Security-Policy"

_Sync = Callable[[HttpRequest], HttpResponseBase]
_Async = Callable[[HttpRequest], Awaitable[HttpResponseBase]]


@sync_and_async_middleware
def content_security_policy(get_response: _Sync | _Async) -> _Sync | _Async:
    """Sends the policy with every response; a view may set a narrower one itself."""
    if iscoroutinefunction(get_response):

        async def answer_async(request: HttpRequest) -> HttpResponseBase:
            response: HttpResponseBase = await get_response(request)
            response.headers.setdefault(HEADER, POLICY)
            return response

        return answer_async

    def answer(request: HttpRequest) -> HttpResponseBase:
        response = get_response(request)
        assert isinstance(response, HttpResponseBase)
        response.headers.setdefault(HEADER, POLICY)
        return response

    return answer


#: Embeddings, overrides and isolates of direction, as UTF-8: they reorder the text in which they stand.
_REORDERS = re.compile(rb"\xe2(?:\x80[\xaa-\xae]|\x81[\xa6-\xa9])")


class Inert(MiddlewareMixin):
    """Pages show characters that reorder text as what they are, `\\u202e`, as JSON writes them: somebody's log line or
    error must not turn around what stands beside it. Scripts do the same with what they draw (`inert` in page.js)."""

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        is_page = response.headers.get("Content-Type", "").startswith("text/html")
        if is_page and isinstance(response, HttpResponse) and _REORDERS.search(response.content):
            response.content = _REORDERS.sub(
                lambda found: f"\\u{ord(found[0].decode()):04x}".encode(), response.content
            )
        return response


class PageOrFragment(MiddlewareMixin):
    """One address answers with a page, or with the part of it that htmx asks for. A browser's cache has to know: else
    the last live refresh takes the page's place there, and Back shows a fragment without navigation or styles."""

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        patch_vary_headers(response, ["HX-Request"])
        return response


class RqIsForLooking(MiddlewareMixin):
    """The pages of django-rq show Redis. What they would change there, past every service and the audit log, is
    refused: a ticket is nothing but a call to a worker, and Holdfast makes new ones as they are needed."""

    def process_view(self, request: HttpRequest, view: Callable[..., object], args: object, kwargs: object) -> None:
        if view.__module__.startswith("django_rq.") and request.method not in ("GET", "HEAD", "OPTIONS"):
            raise PermissionDenied(
                "Nothing is changed on the pages of RQ: it would leave no trace in the audit log. Pause a queue on the "
                "page Queues, cancel or retry runs on the page Runs."
            )


class DatabaseRefuses(MiddlewareMixin):
    """A page whose database is full or takes no writes for a while says so, instead of that it is broken."""

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        if not isinstance(error, DatabaseError) or not db.is_passing(error):
            return None
        db.drop_callers_if_read_only(error)
        reason = str(error).strip().splitlines()[0]
        response = render(request, "503.html", {"reason": reason}, status=503)
        response.headers["Retry-After"] = "5"
        return response

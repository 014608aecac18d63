"""What every response carries."""

from collections.abc import Awaitable, Callable

from asgiref.sync import iscoroutinefunction
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
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

"""Who may call what. Programs send `Authorization: Bearer hf_…`; a signed-in browser is let in by its session, and
sends the page's CSRF token with every change."""

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseForbidden, QueryDict
from django.middleware.csrf import CsrfViewMiddleware
from ninja.security.base import AuthBase

from holdfast.access import bearer
from holdfast.access.errors import BearerMissing
from holdfast.access.grants import Actor, require
from runs import answers, waitlinks
from runs.api.problems import CsrfMissing

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


class BearerAuth(AuthBase):
    """Lets tokens in that hold the grant."""

    openapi_type = "http"
    openapi_scheme = "bearer"

    def __init__(self, grant: str) -> None:
        self.grant = grant
        super().__init__()

    def __call__(self, request: HttpRequest) -> Actor | None:
        header = request.headers.get("Authorization")
        return None if header is None else require(bearer.authenticate(header), self.grant)


class SessionAuth(AuthBase):
    """Lets people in who are signed in and hold the grant."""

    openapi_type = "apiKey"
    openapi_in = "cookie"
    openapi_name = "holdfast_session"

    def __init__(self, grant: str) -> None:
        self.grant = grant
        super().__init__()

    def __call__(self, request: HttpRequest) -> Actor:
        if not request.user.is_authenticated:
            raise BearerMissing
        if request.method not in SAFE:
            _check_csrf(request)
        return require(request.user, self.grant)


class SignedLink:
    """Lets in whoever has a wait's signed address, whoever it is. Raises InvalidLink when the signature is wrong."""

    def __init__(self, grant: str) -> None:
        self.grant = grant  # of those who come without a signature

    def __call__(self, request: HttpRequest) -> Actor | None:
        token = str(request.resolver_match.kwargs.get("token", "")) if request.resolver_match else ""
        _, signed = waitlinks.read(token) if ":" in token else (None, False)
        return answers.SIGNED if signed else None


def needs(grant: str) -> list[Callable[[HttpRequest], Any]]:
    """What a route asks of its caller."""
    return [BearerAuth(grant), SessionAuth(grant)]


def needs_or_link(grant: str) -> list[Callable[[HttpRequest], Any]]:
    """`needs`, or the signed address of a wait."""
    return [SignedLink(grant), *needs(grant)]


def actor_of(request: HttpRequest) -> Actor:
    """Whom the route let in."""
    actor: Actor = request.auth  # type: ignore[attr-defined]  # set by ninja
    return actor


def _check_csrf(request: HttpRequest) -> None:
    # The API's views are exempt from Django's own check, because tokens need none; a cookie does.
    # The token comes by header: a form would be parsed here to look for it, however broken it is.
    request.POST = QueryDict()
    check = CsrfViewMiddleware(lambda r: HttpResponse())
    request.csrf_processing_done = False  # type: ignore[attr-defined]
    check.process_request(request)
    if isinstance(check.process_view(request, lambda r: HttpResponse(), (), {}), HttpResponseForbidden):
        raise CsrfMissing

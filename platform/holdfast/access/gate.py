"""The door of every page: `@requires("runs.view")`."""

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec
from urllib.parse import urlencode, urlsplit

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme

from holdfast.access.grants import Actor, require

P = ParamSpec("P")


class ActorRequest(HttpRequest):
    """A request that passed the gate."""

    actor: Actor


GatedView = Callable[Concatenate[ActorRequest, P], HttpResponseBase]
View = Callable[Concatenate[HttpRequest, P], HttpResponseBase]


def requires(grant: str) -> Callable[[GatedView[P]], View[P]]:
    """Let only users with `grant` in, and hand them to the view as `request.actor`.

    Nobody signed in: to the sign-in page and back. Signed in without the grant: GrantMissing, which becomes the 403
    page with its reason.
    """

    def decorate(view: GatedView[P]) -> View[P]:
        @wraps(view)
        def gated(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
            if not request.user.is_authenticated:
                return to_sign_in(request)
            request.actor = require(request.user, grant)  # type: ignore[attr-defined]
            return view(request, *args, **kwargs)  # type: ignore[arg-type]

        gated.grant = grant  # type: ignore[attr-defined]  # a test walks all URLs and asks for it
        return gated

    return decorate


def to_sign_in(request: HttpRequest) -> HttpResponse:
    """To the sign-in page, and back to where the person was. htmx is told by header: it would swap a redirect in."""
    if request.headers.get("HX-Request") == "true":
        current = urlsplit(request.headers.get("HX-Current-URL", ""))
        back = current.path + (f"?{current.query}" if current.query else "")
        return HttpResponse(status=204, headers={"HX-Redirect": sign_in_url(back or "/")})
    return HttpResponseRedirect(sign_in_url(request.get_full_path() if request.method == "GET" else "/"))


def safe_next(request: HttpRequest, target: str) -> str:
    """`target` when it is a place on this server, else the front page: sign-in is no springboard to other sites."""
    is_here = url_has_allowed_host_and_scheme(
        target, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    )
    return target if is_here else "/"


def sign_in_url(back: str) -> str:
    """The sign-in page, which leads to `back`."""
    page = reverse("access:sign_in")
    return page if back == "/" else f"{page}?{urlencode({'next': back})}"

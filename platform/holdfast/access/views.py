"""Signing in and out. A GET never signs anyone in: mail scanners and link previews open links too."""

from django.contrib import admin
from django.contrib.auth import login, logout
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from holdfast.access import selectors, services
from holdfast.access.errors import AccessError, LinkRefused, TooManyGuesses
from holdfast.access.forms import SignInForm
from holdfast.access.gate import safe_next, sign_in_url

MODEL_BACKEND = "django.contrib.auth.backends.ModelBackend"


@never_cache
@sensitive_post_parameters("password")
@require_http_methods(["GET", "HEAD", "POST"])
def sign_in(request: HttpRequest) -> HttpResponse:
    """The form with user name and password, and a word about one-time links."""
    target = safe_next(request, request.POST.get("next") or request.GET.get("next") or "/")
    if request.method != "POST":
        if request.user.is_authenticated:
            return HttpResponseRedirect(target)
        return render(request, "access/sign_in.html", {"form": SignInForm(), "next": target})
    form = SignInForm(request.POST)
    status, headers = 422, dict[str, str]()
    if form.is_valid():
        try:
            user = services.signin_password(**form.cleaned_data, address=request.META.get("REMOTE_ADDR") or "")
        except AccessError as error:
            form.add_error(None, str(error))
            if isinstance(error, TooManyGuesses):
                status, headers = 429, {"Retry-After": str(error.retry_after)}
        else:
            login(request, user, backend=MODEL_BACKEND)
            return HttpResponseRedirect(target)
    response = render(request, "access/sign_in.html", {"form": form, "next": target}, status=status)
    for name, value in headers.items():
        response.headers[name] = value
    return response


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def sign_in_link(request: HttpRequest, token: str) -> HttpResponse:
    """Shows a button on GET; the button's POST burns the link and signs in."""
    target = safe_next(request, request.POST.get("next") or request.GET.get("next") or "/")
    try:
        if request.method == "POST":
            login(request, services.signin_link_use(secret=token), backend=MODEL_BACKEND)
            return HttpResponseRedirect(target)
        selectors.signin_link_check(token)
    except AccessError as error:
        status = 410 if isinstance(error, LinkRefused) else 403
        return render(request, "access/sign_in_link.html", {"refused": error, "next": target}, status=status)
    return render(request, "access/sign_in_link.html", {"next": target})


@never_cache
@require_safe
def admin_sign_in(request: HttpRequest) -> HttpResponse:
    """In the place of the form of Django's admin, which counts no guesses and leaves no trace: to the one sign-in page.

    Raises PermissionDenied for somebody who is signed in and may not enter: sent on, they would come back for ever.
    """
    target = safe_next(request, request.GET.get("next") or reverse("admin:index"))
    if not request.user.is_authenticated:
        return HttpResponseRedirect(sign_in_url(target))
    if not admin.site.has_permission(request):
        raise PermissionDenied(
            f"You are signed in as {request.user.get_username()}, and this part is for admins. "
            "Ask an admin for that role."
        )
    return HttpResponseRedirect(target)


@require_POST
def sign_out(request: HttpRequest) -> HttpResponse:
    """Ends the session."""
    logout(request)
    return HttpResponseRedirect(reverse("access:sign_in"))

"""No address is open by oversight: each asks for a grant, or stands here with the reason why it does not."""

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from holdfast.access import services
from holdfast.access.grants import Actor
from holdfast.access.roles import ALL_GRANTS

OPEN = {
    "healthz": "load balancers carry no password; it tells nothing",
    "readyz": "the same; it names the part that does not answer and no more",
    "sign-in/": "the way in",
    "sign-in/<str:token>/": "the way in",
    "sign-out/": "the way out",
    "streams/<str:token>": "the token in the address is the permission, for one run",
    "waits/<str:signed>/": "the signature is the way in; it opens one wait and nothing else",
    "hooks/<str:name>": "the signature over the body is the permission, to begin a run of that webhook's task",
    "assets/plotly-<str:name>.min.js": "a public library, the same for everybody",
}
GUARDED_OTHERWISE = {
    "admin/": "Django's admin asks for staff, and only admins are staff",
    "api/": "bearer tokens; tests/integration/runs asks each operation for one",
}


def views(patterns: list[URLPattern | URLResolver], prefix: str = "") -> list[tuple[str, object]]:
    found = []
    for pattern in patterns:
        route = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            found += views(pattern.url_patterns, route)
        else:
            found.append((route, pattern.callback))
    return found


def test_every_address_asks_for_a_grant_or_says_why_not():
    unguarded = []
    for route, view in views(get_resolver().url_patterns):
        if route not in OPEN and not route.startswith(tuple(GUARDED_OTHERWISE)):
            grant = getattr(view, "grant", None)
            if grant not in ALL_GRANTS:
                unguarded.append(route)
    assert unguarded == []


@pytest.mark.django_db
@pytest.mark.parametrize(
    "path",
    ["/", "/runs/", "/approvals/", "/queues/", "/tasks/", "/webhooks/", "/webhooks/out/", "/demo/orders/", "/design/"],
)
def test_strangers_see_the_sign_in_page_and_nothing_else(path):
    response = Client().get(path)
    assert response.status_code == 302
    assert response["Location"].startswith("/sign-in/")


@pytest.mark.django_db
def test_the_admin_site_is_for_admins():
    for role, status in ((None, 302), ("developer", 302), ("admin", 200)):
        user, client = User.objects.create_user(f"user {role}"), Client()
        if role:
            services.role_set(user=user, role=role, actor=Actor.system("test"))
        client.force_login(user)
        assert client.get("/admin/").status_code == status
        assert client.get("/admin/rq/").status_code == status

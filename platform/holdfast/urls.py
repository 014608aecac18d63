"""The root of all addresses."""

from django.apps import apps
from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path

from holdfast.access.admin import password_change
from holdfast.access.views import admin_sign_in
from holdfast.design import design
from holdfast.health import healthz, readyz
from runs.api.metrics import scrape
from runs.webhooks.views import hook

urlpatterns: list[URLPattern | URLResolver] = [
    path("healthz", healthz, name="healthz"),
    path("readyz", readyz, name="readyz"),
    path("metrics", scrape, name="metrics"),
    path("design/", design, name="design"),
    path("admin/rq/", include("django_rq.urls")),
    path("admin/login/", admin_sign_in),  # before Django's own, as is the next one
    path("admin/password_change/", admin.site.admin_view(password_change, cacheable=True)),
    path("admin/", admin.site.urls),
    path("api/", include("runs.api.urls")),
    path("queues/", include("queues.urls")),
    path("hooks/<str:name>", hook, name="hook"),
    path("", include("holdfast.access.urls")),
    path("", include("runs.urls")),
]
if apps.is_installed("holdfast.demo"):
    urlpatterns.append(path("demo/", include("holdfast.demo.urls")))

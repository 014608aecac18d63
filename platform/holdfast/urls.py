"""The root of all addresses."""

from importlib.util import find_spec

from django.apps import apps
from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path

from holdfast.design import design
from holdfast.health import healthz, readyz

urlpatterns: list[URLPattern | URLResolver] = [
    path("healthz", healthz, name="healthz"),
    path("readyz", readyz, name="readyz"),
    path("design/", design, name="design"),
    path("admin/rq/", include("django_rq.urls")),
    path("admin/", admin.site.urls),
    path("", include("holdfast.access.urls")),
]
# The parts of `runs` arrive one by one.
for prefix, module in (("api/", "runs.api.urls"), ("queues/", "queues.urls"), ("", "runs.urls")):
    if find_spec(module):
        urlpatterns.append(path(prefix, include(module)))
if apps.is_installed("holdfast.demo"):
    urlpatterns.append(path("demo/", include("holdfast.demo.urls")))

"""The addresses of the websockets."""

from typing import Any, cast

from django.urls import URLPattern, re_path

from runs import consumers

websocket_urlpatterns: list[URLPattern] = [
    re_path(r"^ws/runs/(?P<run_id>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})/?$", cast(Any, consumers.run_socket)),
    re_path(r"^ws/lists/?$", cast(Any, consumers.lists_socket)),
]

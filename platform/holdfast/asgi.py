"""The ASGI application: HTTP through Django, websockets through Channels, and the server's start and end."""

import gc
import os
from collections.abc import Awaitable, Callable
from typing import Any, cast

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "holdfast.settings")

from django.core.asgi import get_asgi_application
from django.urls import get_resolver

_http = get_asgi_application()  # sets Django up: what follows may import models

from channels.auth import AuthMiddlewareStack  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from channels.security.websocket import AllowedHostsOriginValidator  # noqa: E402

from holdfast.bodylimit import App, BodyLimit  # noqa: E402
from runs import registration  # noqa: E402
from runs.api import body  # noqa: E402
from runs.routing import websocket_urlpatterns  # noqa: E402

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
PATH_UNKNOWN = 4404


async def _lifespan(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers the server's start and end; there is nothing to close."""
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            settle()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


def settle() -> None:
    """Loads what the first request would load, and has Python's collector leave all of it alone: a full collection
    walked through it for a fifth of a second, in the middle of somebody's page."""
    _ = get_resolver().url_patterns
    gc.collect()
    gc.freeze()


def _websockets() -> Any:
    router = URLRouter(websocket_urlpatterns)

    async def route(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await router(scope, receive, send)
        except ValueError as error:  # how Channels says that no path fits
            if "No route found" not in str(error):
                raise
            await receive()
            await send({"type": "websocket.close", "code": PATH_UNKNOWN})

    return AllowedHostsOriginValidator(AuthMiddlewareStack(route))


registration.discover()  # the API and the pages enqueue by a task's id
_pages = BodyLimit(cast(App, _http), body.limit_of, body.too_large_body)

application = ProtocolTypeRouter({"http": _pages, "websocket": _websockets(), "lifespan": _lifespan})

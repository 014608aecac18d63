"""Static files, straight from the source folders: their addresses carry their contents' hash, so that a browser keeps
them for good and still gets a new version at once."""

import hashlib
from functools import lru_cache
from typing import Final

from django.conf import settings
from django.contrib.staticfiles import finders
from django.contrib.staticfiles.storage import StaticFilesStorage
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from whitenoise.middleware import WhiteNoiseMiddleware
from whitenoise.responders import StaticFile

VERSION: Final = "v"
FOREVER: Final = "max-age=31536000, public, immutable"


class VersionedStorage(StaticFilesStorage):
    """`{% static %}` gives `/static/x.css?v=<hash>`."""

    def url(self, name: str | None, force: bool = False) -> str:
        address = super().url(name)
        version = _version(name) if name and not settings.DEBUG else ""
        return f"{address}?{VERSION}={version}" if version else address


class StaticFiles(WhiteNoiseMiddleware):  # type: ignore[misc]  # WhiteNoise comes without types
    """WhiteNoise under ASGI: the file is read here and not streamed, since Django can stream only what is async."""

    @staticmethod
    def serve(static_file: StaticFile, request: HttpRequest) -> HttpResponseBase:
        found = static_file.get_response(request.method, request.META)
        content = b""
        if found.file is not None:
            with found.file as file:
                content = file.read()
        response = HttpResponse(content, status=int(found.status))
        del response["Content-Type"]
        for name, value in found.headers:
            # WhiteNoise measured the file when the server started; it may have been edited since.
            response[name] = str(len(content)) if name == "Content-Length" and found.file is not None else value
        if VERSION in request.GET:
            response["Cache-Control"] = FOREVER
        return response


@lru_cache(maxsize=4096)
def _version(name: str) -> str:
    path = finders.find(name)
    if path is None:
        return ""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:10]

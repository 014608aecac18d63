"""Django, for those who have none: the engine is made of its models, though the kit stores nothing in them."""

from __future__ import annotations

import os

from holdfast.env import MEBIBYTE


def make_ready() -> None:
    """Sets Django up unless it is: with the project's settings where DJANGO_SETTINGS_MODULE names some, otherwise with
    the few that runs need, which know no database and no folder of this machine."""
    import django
    from django.apps import apps
    from django.conf import settings

    if apps.ready:
        return
    if not settings.configured and not os.environ.get("DJANGO_SETTINGS_MODULE"):
        settings.configure(
            INSTALLED_APPS=[
                "django.contrib.auth",
                "django.contrib.contenttypes",
                "holdfast.access",
                "queues",
                "runs",
            ],
            SECRET_KEY="holdfast-testing",  # noqa: S106 - guards nothing: there is no server
            USE_TZ=True,
            DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
            HOLDFAST_PAYLOAD_LIMIT=MEBIBYTE,  # what it is unless told otherwise
            HOLDFAST_PUBLIC_URL=None,
            HOLDFAST_MIDDLEWARE=(),
        )
    django.setup()

"""System checks: mistakes of an installation that are better heard of at start."""

import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, register


@register
def platform_is_no_package(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """The folder `platform/` of a checkout must never become a package: it would hide the standard library's module."""
    folder = Path(__file__).resolve().parents[1]
    intruder = folder / "__init__.py"
    if (folder.name == "platform" and intruder.exists()) or not hasattr(platform, "system"):
        hint = f"Delete {intruder}: the folder is found through the installed package, not by its own name."
        return [Error("The folder `platform` hides Python's module `platform`.", hint=hint, id="holdfast.E001")]
    return []


@register
def pages_are_there(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Templates and static files come with a checkout and with the wheel; a partial copy has neither."""
    templates: list[Path] = [folder for options in settings.TEMPLATES for folder in cast(Any, options["DIRS"])]
    missing = [str(folder) for folder in templates if not folder.is_dir()]
    missing += [] if settings.STATICFILES_DIRS else ["static"]
    if not missing:
        return []
    names = ", ".join(missing)
    hint = "Install again, from a whole checkout (pip install -e .) or from the wheel."
    return [Error(f"The pages' files are missing: {names}.", hint=hint, id="holdfast.E002")]

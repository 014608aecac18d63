"""What an actor sees of saved views."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlencode

from django.db.models import Q, QuerySet

from holdfast.access.grants import Actor
from runs.errors import UnknownView
from runs.savedviews.model import SavedView

#: A page shows no more, should there be more than services lets people save.
MOST: Final = 100


def visible(actor: Actor) -> list[SavedView]:
    """One's own and the shared ones, in order of name. Both are few (services.MAX_OWN, MAX_SHARED)."""
    return list(_visible(actor).order_by("name", "-shared")[:MOST])


def named(part: str, actor: Actor, limit: int) -> list[SavedView]:
    """Those of which this is a part of the name, whatever its case."""
    return list(_visible(actor).filter(name__icontains=part).order_by("name", "-shared")[:limit])


def view_get(view_id: int, actor: Actor) -> SavedView:
    """One that the actor sees. Raises UnknownView, also for another person's own."""
    found = _visible(actor).filter(pk=view_id).first() if view_id < 2**63 else None
    if found is None:
        raise UnknownView(f"There is no saved view {view_id} of yours or of all.")
    return found


def _visible(actor: Actor) -> QuerySet[SavedView]:
    return SavedView.objects.filter(own(actor) | Q(shared=True))


def own(actor: Actor) -> Q:
    """The condition of an actor's own ones."""
    return Q(owner_kind=actor.kind, owner_id=actor.id, shared=False)


def address(view: SavedView) -> str:
    """The query of the list's address."""
    asked = [(name, value) for name, value in (("q", view.search), ("columns", view.columns)) if value]
    return f"?{urlencode(asked, safe=':,')}" if asked else ""


def as_json(view: SavedView) -> dict[str, Any]:
    """With the names of the API."""
    return {
        "id": view.pk,
        "name": view.name,
        "q": view.search,
        "columns": view.columns,
        "shared": view.shared,
        "by": view.owner_label,
        "saved_at": view.saved_at,
    }

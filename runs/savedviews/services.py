"""Saving a view and deleting one. Shared ones need the grant `views.share` and leave an entry in the audit log; one's
own are nobody else's business."""

from __future__ import annotations

from typing import Final

from django.db import transaction
from django.db.models.functions import Now

from holdfast.access.grants import Subject, require
from holdfast.access.services import audit
from runs.columns import LISTED, asked
from runs.errors import InvalidOption
from runs.filters import RunFilter
from runs.savedviews import selectors
from runs.savedviews.model import NAME_LENGTH, SavedView

#: Views of one person, and of all.
MAX_OWN: Final = 30
MAX_SHARED: Final = 50
GRANT: Final = "views.share"


def view_save(
    name: str, search: str, *, actor: Subject, columns: str = "", shared: bool = False, reason: str = ""
) -> SavedView:
    """Saves a search under a name; under one that is there already, in its place.

    Args:
        name: plain text of at most NAME_LENGTH characters.
        search: as runs.search reads it; empty is all runs.
        actor: who saves it.
        columns: of the list, as its address has them: `queue,tags`; empty is each reader's usual ones.
        shared: for all.
        reason: kept in the audit log, of shared ones.

    Raises:
        InvalidOption: the name does not fit, or there are as many views as there may be.
        InvalidFilter: the search or the columns cannot be read.
        GrantMissing: of a shared one, without views.share.
    """
    who = require(actor, GRANT if shared else "runs.view")
    name, text = _checked(name), RunFilter.parse({"q": search}).text
    chosen = ",".join(asked({"columns": columns}, LISTED))
    with transaction.atomic():
        mine = SavedView.objects.filter(shared=True) if shared else SavedView.objects.filter(selectors.own(who))
        old = mine.select_for_update().filter(name=name).first()
        if old is None and mine.count() >= (most := MAX_SHARED if shared else MAX_OWN):
            raise _refusal("name", f"would be view {most + 1}; there may be {most}. Delete one first")
        owner = {"owner_kind": who.kind, "owner_id": who.id, "owner_label": who.label[:200]}
        values = {"search": text, "columns": chosen, "saved_at": Now(), **owner}
        # Two who save the same name at once: the second one's search stands, as if they had come after each other.
        view, _ = mine.update_or_create(name=name, shared=shared, defaults=values)
        if shared and (old is None or (old.search, old.columns) != (text, chosen)):
            before = _told(old.search, old.columns) if old else None
            audit(who, "views.save", "view", name, reason, before, _told(text, chosen))
    view.refresh_from_db()
    return view


def view_delete(view_id: int, *, actor: Subject, reason: str = "") -> SavedView:
    """Deletes one's own view, or a shared one. Raises UnknownView, and GrantMissing for a shared one."""
    who = require(actor, "runs.view")
    with transaction.atomic():
        view = selectors.view_get(view_id, who)
        if view.shared:
            require(who, GRANT)
            audit(who, "views.delete", "view", view.name, reason, _told(view.search, view.columns), None)
        SavedView.objects.filter(pk=view.pk).delete()
    return view


def _told(search: str, columns: str) -> dict[str, str]:
    return {"q": search, "columns": columns} if columns else {"q": search}


def _checked(name: str) -> str:
    name = " ".join(name.split(" ")).strip()
    if not name:
        raise _refusal("name", "is empty; write what the view shows, such as Failed payments")
    if len(name) > NAME_LENGTH:
        raise _refusal("name", f"has {len(name):,} characters; write at most {NAME_LENGTH}")
    if not name.isprintable():
        raise _refusal("name", "holds a control character; write plain text")
    return name


def _refusal(field: str, message: str) -> InvalidOption:
    return InvalidOption(f"{field} {message}.", errors=[{"field": field, "message": message}])

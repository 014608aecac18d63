"""The table of saved views; see `runs.models`, which has it by name."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

NAME_LENGTH = 60


class SavedView(models.Model):
    """A search under a name, and the columns of its list. A shared one is everybody's; whose it is is known by value,
    as in the audit log."""

    name = models.CharField(max_length=NAME_LENGTH)
    search = models.TextField(help_text="As runs.search reads it; empty is all runs.")
    columns = models.TextField(
        default="", db_default="", help_text="As runs.columns reads it; empty is each reader's usual ones."
    )
    shared = models.BooleanField(default=False)
    owner_kind = models.CharField(max_length=10)
    owner_id = models.CharField(max_length=100)
    owner_label = models.CharField(max_length=200)
    saved_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ("name",)
        constraints = (
            # Each serves the bar of views as well: one's own by its prefix, the shared ones in order.
            models.UniqueConstraint(
                fields=("owner_kind", "owner_id", "name"), name="saved_view_of_owner", condition=Q(shared=False)
            ),
            models.UniqueConstraint(fields=("name",), name="saved_view_shared", condition=Q(shared=True)),
        )

    def __str__(self) -> str:
        return self.name

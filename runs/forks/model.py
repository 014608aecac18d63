"""Where a forked run comes from."""

from __future__ import annotations

from django.db import models


class Forked(models.Model):
    """What a run has for it: the run and the snapshot up to which its history is that one's."""

    fork_of = models.UUIDField(null=True, help_text="The run whose history this one was started with.")
    fork_sequence = models.IntegerField(null=True, help_text="Up to this snapshot of that run.")

    class Meta:
        abstract = True

"""Local steps (`@step(local=True)`): what they made lies on one host, and counts there alone.

The snapshot of a local step names the host. A run that is entered on another one calls the step again, as if it had not
finished; everything else that it has finished stays. That a run comes back to its host is a matter of admission
(`queues/sql/homes.sql`), and no more than a preference.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from django.conf import settings

from runs.models import SnapshotKind

if TYPE_CHECKING:
    from runs.sdk.step import Step


def is_elsewhere(state: str) -> bool:
    """Whether a finished step has to be called again here, by its snapshot's state. (One that a person has decided
    about has a state, too, and no host.)"""
    here: str = settings.HOLDFAST_HOST
    return bool(json.loads(state).get("host", here) != here)


def marked(step: Step[..., object], kind: SnapshotKind) -> tuple[str | None, str | None]:
    """State and home of a step's snapshot."""
    if not step.local or kind != SnapshotKind.STEP:
        return None, None
    return json.dumps({"host": settings.HOLDFAST_HOST}), settings.HOLDFAST_HOST

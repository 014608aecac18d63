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
    from runs.store import Fact


def host_of(fact: Fact) -> str | None:
    """The host on which a finished step's result lies; None: it is a value, and lies nowhere."""
    if fact.kind != SnapshotKind.STEP or fact.state is None:
        return None
    found = json.loads(fact.state)
    return found.get("host") if isinstance(found, dict) else None


def is_elsewhere(fact: Fact) -> bool:
    """Whether a finished step has to be called again here."""
    return (host := host_of(fact)) is not None and host != settings.HOLDFAST_HOST


def marked(step: Step[..., object], kind: SnapshotKind) -> tuple[str | None, str | None]:
    """State and home of a step's snapshot."""
    if not step.local or kind != SnapshotKind.STEP:
        return None, None
    return json.dumps({"host": settings.HOLDFAST_HOST}), settings.HOLDFAST_HOST

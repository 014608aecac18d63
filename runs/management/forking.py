"""What `manage.py runs` has about forks."""

from __future__ import annotations

import uuid
from typing import Any

from holdfast.access.grants import Actor
from runs.forks.services import AS_SAVED, run_fork
from runs.management.commands.enqueue import add_options, chosen, read_json


def add_verbs(verbs: Any) -> None:
    """`fork`."""
    fork = verbs.add_parser("fork", help="Start a new run that goes on from a snapshot of a run.")
    fork.add_argument("id", help="The run's id.")
    fork.add_argument("--at", required=True, metavar="N", help="The snapshot's number: what came up to it is kept.")
    fork.add_argument("--state", metavar="JSON", help="Another state to begin with; - reads stdin.")
    add_options(fork)
    fork.add_argument("--reason", default="", help="Why; kept in the audit log.")


def fork(run_id: uuid.UUID, options: dict[str, Any]) -> uuid.UUID:
    """Does it, and returns the new run's id."""
    at, text = options["at"], options["state"]
    return run_fork(
        run_id,
        sequence=int(at) if at.isascii() and at.isdecimal() and len(at) < 12 else at,
        state=AS_SAVED if text is None else read_json(text),
        options=chosen(options),
        actor=Actor.local(),
        reason=options["reason"],
    )

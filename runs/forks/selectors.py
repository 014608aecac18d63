"""Where a run can be forked, and what a fork would keep."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any, Final

from runs import selectors
from runs.errors import InvalidOption
from runs.models import Run, Snapshot, SnapshotKind

#: Snapshots that the page lists on each side.
LISTED: Final = 30
#: Characters of a state that the page offers for editing.
MAX_STATE: Final = 100_000
#: What the code does not ask for.
_ASIDE: Final = "hook:"


@dataclass(frozen=True, slots=True)
class ForkPage:
    """A run at one of its snapshots."""

    run: Run
    point: Snapshot
    kept: list[Snapshot]  # the last ones up to the point
    kept_more: int  # before those
    again: list[Snapshot]  # the first ones after it
    again_more: bool
    has_state: bool
    state: Any  # what was saved last up to the point


def point_of(run: Run, sequence: Any) -> Snapshot:
    """The snapshot of a run's present round at which it is to be forked. Raises InvalidOption."""
    found = None
    if isinstance(sequence, int) and not isinstance(sequence, bool) and run.past < sequence < 2**31:
        # Not its bodies: only what it is.
        found = Snapshot.objects.filter(run_id=run.pk, sequence=sequence).only("run", "sequence", "kind", "key").first()
    if found is not None:
        return found
    last = Snapshot.objects.filter(run_id=run.pk, sequence__gt=run.past).order_by("-sequence").values_list("sequence")
    numbers = f"from {run.past + 1:,} to {last[0][0]:,}" if last[:1] else "and it has none yet: replay it instead"
    message = f"is {sequence!r:.40}; write the number of one of the run's snapshots, {numbers}"
    raise InvalidOption(f"sequence {message}.", errors=[{"field": "sequence", "message": message}])


def fork_page(run_id: uuid.UUID, sequence: int) -> ForkPage:
    """What the page shows. Raises UnknownRun, InvalidOption."""
    run = selectors.run_get(run_id)
    point = point_of(run, sequence)
    own = Snapshot.objects.filter(run_id=run_id, sequence__gt=run.past).exclude(key__startswith=_ASIDE)
    plain = own.defer("input", "output", "state", "error")
    kept = list(plain.filter(sequence__lte=sequence).order_by("-sequence")[: LISTED + 1])
    again = list(plain.filter(sequence__gt=sequence).order_by("sequence")[: LISTED + 1])
    states = saved_state(run, sequence)
    return ForkPage(
        run,
        point,
        kept[:LISTED][::-1],
        max(0, kept[LISTED].sequence - run.past) if len(kept) > LISTED else 0,
        again[:LISTED],
        len(again) > LISTED,
        bool(states),
        states[0] if states else None,
    )


def saved_state(run: Run, sequence: int) -> list[Any]:
    """What was saved last in the run's present round, up to a snapshot; empty where nothing was."""
    saved = Snapshot.objects.filter(
        run_id=run.pk, sequence__gt=run.past, sequence__lte=sequence, kind=SnapshotKind.CHECKPOINT
    ).exclude(key__startswith=_ASIDE)
    return list(saved.order_by("-sequence").values_list("state", flat=True)[:1])

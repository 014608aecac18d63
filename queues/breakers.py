"""What people see of breakers, and do to them. Callers check the grant first."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from difflib import get_close_matches
from typing import Any, Final

from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now

from holdfast import db
from holdfast.access.grants import Actor
from holdfast.access.services import audit
from queues import store
from queues.errors import QueueError, invalid
from queues.models import Breaker, BreakerState
from queues.rate import shown
from queues.services import MAX_LABEL, clean_reason

#: Breakers that are listed.
MAX_BREAKERS: Final = 500
#: What a person may force a breaker to; nothing ends that.
FORCED: Final = (BreakerState.OPEN, BreakerState.CLOSED)


class BreakerNotFound(QueueError):
    """No such breaker."""

    status, code = 404, "unknown_breaker"


@dataclass(frozen=True, slots=True)
class Standing:
    """A breaker, and what the calls of its window came to."""

    breaker: Breaker
    calls: int
    failures: int
    slow: int
    retries: int

    @property
    def state(self) -> str:
        """Closed, open or half_open, whoever says so."""
        return self.breaker.forced or self.breaker.state

    @property
    def changes_at(self) -> datetime | None:
        """When an open one is half open, or the probes of a half open one are asked anew."""
        return None if self.breaker.forced else self.breaker.until

    def as_json(self) -> dict[str, Any]:
        """By the names of the API."""
        of = self.breaker
        return {
            "name": of.name,
            "state": self.state,
            "since": of.since,
            "changes_at": self.changes_at,
            "forced": bool(of.forced),
            "forced_by": of.forced_by,
            "forced_reason": of.forced_reason,
            "calls": self.calls,
            "failures": self.failures,
            "slow_calls": self.slow,
            "retries": self.retries,
            **{name: getattr(of, name) for name in ("failure_rate", "min_calls", "window", "slow", "slow_rate")},
            **{name: getattr(of, name) for name in ("cooldown", "probes", "retry_budget")},
        }


def standings(name: str | None = None) -> list[Standing]:
    """All breakers that were ever used, by name; or one."""
    with db.callers() as conn:
        rows = conn.execute(store.SQL.breaker_windows, {"name": name, "most": MAX_BREAKERS}).fetchall()
    found = Breaker.objects.in_bulk([row[0] for row in rows])
    return [Standing(found[row[0]], *row[1:]) for row in rows if row[0] in found]


def open_breakers() -> list[Breaker]:
    """Those that let no call through now, whoever says so; by name. One whose cooldown is over would let probes through
    if anything called."""
    is_open = Q(forced=BreakerState.OPEN) | Q(forced="", state=BreakerState.OPEN, until__gt=Now())
    return list(Breaker.objects.filter(is_open).order_by("name")[:MAX_BREAKERS])


def breaker_get(name: str) -> Standing:
    """One breaker. Raises BreakerNotFound with near matches."""
    found = standings(name)
    if not found:
        raise _not_found(name)
    return found[0]


def breaker_force(name: str, state: Any, actor: Actor, reason: str = "") -> Standing:
    """Holds a breaker open or closed, whatever calls come to, until it is let go again. In force within a second.

    Raises:
        BreakerNotFound, InvalidChange: the state or the reason do not fit.
    """
    if state not in FORCED:
        raise invalid("state", f"is {shown(state)}; write open or closed")
    return _force(name, str(state), actor, reason, "breakers.force")


def breaker_release(name: str, actor: Actor, reason: str = "") -> Standing:
    """Lets calls decide again, beginning with a closed breaker and an empty window. Raises as `breaker_force`."""
    return _force(name, "", actor, reason, "breakers.release")


def _force(name: str, state: str, actor: Actor, reason: str, action: str) -> Standing:
    reason = clean_reason(reason)
    with transaction.atomic(), db.callers() as conn:
        found = Breaker.objects.select_for_update().filter(name=name).first() if name.isprintable() else None
        if found is None:
            raise _not_found(name)
        if found.forced != state:
            before = _told(found)
            conn.execute(
                store.SQL.force_breaker,
                {"name": name, "state": state, "by": actor.label[:MAX_LABEL] if state else "", "reason": reason},
            )
            found.refresh_from_db()
            audit(actor, action, "breaker", name, reason, before=before, after=_told(found))
    return breaker_get(name)


def _told(of: Breaker) -> dict[str, Any]:
    return {"state": of.state, "forced": of.forced, "forced_by": of.forced_by, "forced_reason": of.forced_reason}


def _not_found(name: str) -> BreakerNotFound:
    names = list(Breaker.objects.values_list("name", flat=True)[:MAX_BREAKERS])
    near = get_close_matches(name[:200], names, n=3, cutoff=0.5)
    hint = f" Did you mean {', '.join(near)}?" if near else " One is there once a step has used it."
    return BreakerNotFound(f"There is no breaker {name!r:.220}.{hint}", near=near)

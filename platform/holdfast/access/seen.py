"""What a person saw when he decided. A change that was decided on what is no longer so is refused: two people at one
thing do not overwrite each other in silence."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any, Final

from holdfast.access.errors import ChangedMeanwhile
from holdfast.access.grants import Actor
from holdfast.access.models import AuditEntry
from holdfast.access.services import audit
from holdfast.words import exact

#: What an action of the audit log did, by the first word after its dot.
_DID: Final = {"pause": "paused it", "resume": "resumed it", "undo": "took a change of it back", "delete": "deleted it"}
#: What is not named: of a pause the verb says all, and what counts as edited follows from the rest.
_UNTOLD: Final = ("paused_", "pause_", "drains", "edited")
#: Characters of a value that is named.
MAX_VALUE: Final = 60


def mark(values: dict[str, Any]) -> str:
    """Short for the settings of something: other values, another mark. It tells nothing of them."""
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()[:16]


def check(seen: str | None, values: dict[str, Any], kind: str, name: str, actions: Iterable[str]) -> None:
    """Call it under the row's lock, with the settings as they are before the change.

    Args:
        seen: the `mark` of what the change was decided on; None: whatever it is now.
        kind: what it is, as the audit log names it: "queue".
        actions: those of the audit log that may have come between: "queues.update".

    Raises:
        ChangedMeanwhile: the settings are others by now.
    """
    if seen is not None and seen != mark(values):
        found = AuditEntry.objects.filter(object_type=kind, object_id=name, action__in=actions)
        raise refusal(kind, name, found.first())


def changed(
    seen: str | None,
    action: str,
    kind: str,
    name: str,
    before: dict[str, Any],
    after: dict[str, Any],
    *,
    actor: Actor,
    reason: str,
) -> None:
    """Ends a change of settings, under the row's lock: what is other now is written to the audit log, if anything is.

    Args:
        seen: as of `check`.
        before, after: all settings, by name.

    Raises:
        ChangedMeanwhile: the settings were not those that were seen.
    """
    fields = [field for field in after if before[field] != after[field]]
    if fields:
        check(seen, before, kind, name, (action,))
        was, now = ({field: side[field] for field in fields} for side in (before, after))
        audit(actor, action, kind, name, reason, before=was, after=now)


def refusal(kind: str, name: str, last: AuditEntry | None) -> ChangedMeanwhile:
    """The error for a change that came too late; `last` is what came before it."""
    if last is None:
        return ChangedMeanwhile(
            f"{kind.capitalize()} {name} is not as it was shown to you any more; nothing was changed."
        )
    did = _DID.get(_verb(last), "changed it")
    reason = f" ({last.reason})" if last.reason else ""
    return ChangedMeanwhile(
        f"{last.actor_label} {did} at {exact(last.at)}{reason}, after {kind} {name} was shown to you{_what(last)}. "
        "Nothing was changed now."
    )


def _verb(entry: AuditEntry) -> str:
    return entry.action.partition(".")[2].partition("_")[0]


def _what(last: AuditEntry) -> str:
    """`: concurrency_limit from 4 to 12`."""
    before, after = last.before or {}, last.after or {}
    told = [
        f"{name} from {_value(before.get(name))} to {_value(after[name])}"
        for name in after
        if after[name] != before.get(name) and not name.startswith(_UNTOLD) and not name.endswith("_edited")
    ]
    return f": {', '.join(told)}" if told else ""


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, list):
        value = ", ".join(map(str, value))
    return "none" if value in (None, "") else str(value)[:MAX_VALUE]

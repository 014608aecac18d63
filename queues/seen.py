"""What a person saw of a queue when he decided. A change that was decided on what is no longer so is refused: two
people at one queue do not overwrite each other in silence."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Final

from holdfast.access.models import AuditEntry
from holdfast.words import exact
from queues.errors import ChangedMeanwhile

_DID: Final = {
    "queues.pause": "paused it",
    "queues.resume": "resumed it",
    "queues.update": "changed it",
    "queues.undo": "took a change of it back",
}
#: Characters of a value that is named.
MAX_VALUE: Final = 60


def mark(values: dict[str, Any]) -> str:
    """Short for a queue's settings, or its pause, as the audit log is told of them: other values, another mark."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


def refusal(name: str, last: AuditEntry | None) -> ChangedMeanwhile:
    """The error for a change that came too late; `last` is what came before it."""
    if last is None:
        return ChangedMeanwhile(f"Queue {name} is not as it was shown to you any more; nothing was changed.")
    did = _DID.get(last.action, "changed it")
    reason = f" ({last.reason})" if last.reason else ""
    return ChangedMeanwhile(
        f"{last.actor_label} {did} at {exact(last.at)}{reason}, after queue {name} was shown to you{_what(last)}. "
        "Nothing was changed now.",
        by=last.actor_label,
        at=last.at.isoformat(),
    )


def _what(last: AuditEntry) -> str:
    """`: concurrency_limit from 4 to 12`; nothing of a pause, of which the verb says all."""
    before, after = last.before or {}, last.after or {}
    names = [] if "paused_at" in after else [name for name in after if after[name] != before.get(name)]
    told = [
        f"{name} from {_value(before.get(name))} to {_value(after[name])}"
        for name in names
        if not isinstance(after[name], bool)
    ]
    return f": {', '.join(told)}" if told else ""


def _value(value: Any) -> str:
    return "none" if value is None else str(value)[:MAX_VALUE]

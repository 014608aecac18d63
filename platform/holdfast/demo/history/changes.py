"""What people changed in the weeks that are made up, as the audit log would have it."""

from __future__ import annotations

from typing import Any, Final

from holdfast.access.models import AuditEntry
from holdfast.demo.history.catalog import DECLARED, MAIL, QUEUES, REPORTS, SYNC, TASKS
from holdfast.demo.history.incidents import DAY, HOUR, KEY_LIMIT, MINUTE
from holdfast.demo.history.plan import Plan
from holdfast.demo.history.rows import moment
from queues.editable import FLAGS, SETTINGS
from queues.models import Queue
from queues.services import PAUSE

#: Whoever acts in it. No service writes of an actor of this kind.
KIND: Final = "seeded"
#: Settings that were edited, by queue: they stand so still.
EDITED: Final[dict[str, dict[str, Any]]] = {MAIL: {"concurrency_limit": 20}, SYNC: {"key_concurrency_limit": KEY_LIMIT}}

#: Seconds after the mended version, who said that the error of the bad one is resolved, and why.
RESOLUTION: Final = (15 * MINUTE, "kim", "lines without VAT are read again")


def changes(plan: Plan) -> list[AuditEntry]:
    """The oldest first."""
    _, deploy, flood = plan.incidents.all
    paused, resumed = plan.incidents.pause
    why = "no more wrong invoices until the fix is out"
    pause: dict[str, Any] = {
        "paused_at": moment(paused).isoformat(),
        "paused_until": None,
        "drains": False,
        "paused_by": "dana",
        "pause_reason": why,
    }
    flowing = {**dict.fromkeys(PAUSE), "drains": False, "paused_by": "", "pause_reason": ""}
    made = [
        _edit(plan.start + DAY + 9 * HOUR, "sam", MAIL, "the mail provider takes more now"),
        _deploy(plan, deploy.start, "kim", 1, 2, "VAT by line"),
        _entry(paused, "dana", "queues.pause", "queue", REPORTS, why, flowing, pause),
        _deploy(plan, deploy.end, "kim", 2, 3, "invoices without VAT by line are read again"),
        _entry(resumed, "dana", "queues.resume", "queue", REPORTS, "the fix is out", pause, flowing),
        _entry(
            deploy.end + RESOLUTION[0],
            RESOLUTION[1],
            "errors.resolve",
            "error",
            deploy.fingerprint,
            RESOLUTION[2],
            {"resolved_in": []},
            {"resolved_in": [deploy.mended]},
        ),
        _edit(plan.incidents.key_limited, "dana", SYNC, f"{flood.key} held every slot for three hours"),
    ]
    return sorted(made, key=lambda entry: entry.at)


def _deploy(plan: Plan, at: float, who: str, old: int, new: int, reason: str) -> AuditEntry:
    task = next(task for task in TASKS if task.id in plan.incidents.bad_deploy.tasks)
    versions = {"version": task.version(old)}, {"version": task.version(new)}
    return _entry(at, who, "tasks.deploy", "task", task.id, reason, *versions)


def _edit(at: float, who: str, name: str, reason: str) -> AuditEntry:
    queue = Queue(name=name, concurrency_limit=DECLARED.get(name, QUEUES[name]), key_weights={})
    before = _settings(queue, ())
    for setting, value in EDITED[name].items():
        setattr(queue, setting, value)
    return _entry(at, who, "queues.update", "queue", name, reason, before, _settings(queue, EDITED[name]))


def _settings(queue: Queue, edited: Any) -> dict[str, Any]:
    values = {name: setting.json(getattr(queue, name)) for name, setting in SETTINGS.items()}
    return {**values, **{flag: name in edited for flag, name in FLAGS.items()}}


def _entry(
    at: float, who: str, action: str, of: str, name: str, reason: str, before: dict[str, Any], after: dict[str, Any]
) -> AuditEntry:
    return AuditEntry(
        at=moment(at),
        actor_kind=KIND,
        actor_id=who,
        actor_label=f"{who} (seeded)",
        action=action,
        object_type=of,
        object_id=name,
        reason=reason,
        before=before,
        after=after,
    )

"""The statuses of a run, the moves between them, and which of them are final.

    scheduled ──due──▶ queued ──lease──▶ running ──▶ completed
        │                │  ▲              │ │ │
        │                │  └─ handover ───┘ │ ├──▶ failed        (no attempt left, or Abort)
        │                │                   │ ├──▶ timed_out     (max_duration; run_timeout from anywhere)
        │                │      retrying ◀───┤ ├──▶ crashed       (its worker died too often)
        │                │          │        │ └──▶ unknown       (an unsafe step died mid-way)
        │                │          └─lease─▶│
        │                │       waiting ◀───┤
        │                │          └─lease─▶│
        ▼                ▼                   ▼
     cancelled        expired            cancelling ──▶ cancelled

`MOVES` is the only table of what may follow what; a database CHECK holds the set of statuses and ties final ones
to `finished_at`; every UPDATE compares the old status (and the lease token) before it sets the new one.
"""

from enum import StrEnum


class Status(StrEnum):
    SCHEDULED = "scheduled"
    QUEUED = "queued"
    RUNNING = "running"
    WAITING = "waiting"
    RETRYING = "retrying"
    CANCELLING = "cancelling"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    TIMED_OUT = "timed_out"
    CRASHED = "crashed"
    UNKNOWN = "unknown"


S = Status

MOVES: dict[Status, frozenset[Status]] = {
    S.SCHEDULED: frozenset({S.QUEUED, S.RUNNING, S.CANCELLED, S.EXPIRED, S.TIMED_OUT}),
    S.QUEUED: frozenset({S.RUNNING, S.CANCELLED, S.EXPIRED, S.TIMED_OUT}),
    S.RUNNING: frozenset(
        {
            S.QUEUED,
            S.WAITING,
            S.RETRYING,
            S.CANCELLING,
            S.COMPLETED,
            S.FAILED,
            S.CANCELLED,
            S.TIMED_OUT,
            S.CRASHED,
            S.UNKNOWN,
        }
    ),
    S.WAITING: frozenset({S.QUEUED, S.RUNNING, S.CANCELLING, S.CANCELLED, S.TIMED_OUT}),
    S.RETRYING: frozenset({S.QUEUED, S.RUNNING, S.CANCELLED, S.TIMED_OUT}),
    S.CANCELLING: frozenset({S.CANCELLED, S.COMPLETED, S.FAILED, S.CRASHED, S.TIMED_OUT}),
    # A person's retry reopens a run that ended badly; nothing reopens a completed one.
    S.FAILED: frozenset({S.QUEUED}),
    S.CANCELLED: frozenset({S.QUEUED}),
    S.EXPIRED: frozenset({S.QUEUED}),
    S.TIMED_OUT: frozenset({S.QUEUED}),
    S.CRASHED: frozenset({S.QUEUED}),
    S.UNKNOWN: frozenset({S.QUEUED, S.COMPLETED, S.FAILED}),
    S.COMPLETED: frozenset(),
}

FINAL = frozenset({S.COMPLETED, S.FAILED, S.CANCELLED, S.EXPIRED, S.TIMED_OUT, S.CRASHED, S.UNKNOWN})
ACTIVE = frozenset(Status) - FINAL
#: Final statuses that a person may retry.
RETRYABLE = frozenset(s for s in FINAL if S.QUEUED in MOVES[s])
#: A person may stop these; one that is in a worker's hands says `cancelling` until its code has stopped.
CANCELLABLE = frozenset({S.SCHEDULED, S.QUEUED, S.RETRYING, S.WAITING, S.RUNNING})


class AttemptStatus(StrEnum):
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CRASHED = "crashed"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"


def may_move(old: Status, new: Status) -> bool:
    """True when a run may go from `old` to `new`."""
    return new in MOVES[old]

"""What comes in and goes out over HTTP. The field names are a public contract (DESIGN §4, Shapes)."""

import uuid
from dataclasses import fields
from datetime import datetime
from typing import Annotated, Any, Final, Generic, Literal, TypeVar

from ninja import Schema
from pydantic import BaseModel, ConfigDict, Field, Strict, WithJsonSchema

from holdfast.access.models import REASON_LENGTH
from runs import levels, streams
from runs.api.shown import Shown
from runs.api.usage import AMOUNTS, BUDGET_SCHEMA, BudgetOut, HeartbeatOut, ProgressOut
from runs.models import Attempt, ChunkKind, LogLine, Run, Snapshot, Task, Wait
from runs.sdk.debounce import MAX_DEBOUNCE, MODES
from runs.sdk.options import MAX_DELAY, MAX_KEY, MAX_TAG, MAX_TAGS, MAX_UNITS, PRIORITIES, SCOPES, Options
from runs.sdk.retry import MAX_ATTEMPTS
from runs.sdk.usage import plain_amounts
from runs.sdk.wait import MAX_NAME

T = TypeVar("T")

#: Items of one batch.
MAX_ITEMS: Final = 10_000

_SECONDS: Final[dict[str, Any]] = {"type": "number", "exclusiveMinimum": 0, "maximum": MAX_DELAY}
_OPTION_SCHEMAS: Final[dict[str, dict[str, Any]]] = {
    "queue_name": {"type": "string", "minLength": 1, "maxLength": MAX_KEY},
    "priority": {"type": "integer", "minimum": PRIORITIES[0], "maximum": PRIORITIES[-1]},
    "run_after": {"type": "string", "format": "date-time"},
    "delay": {"type": "number", "minimum": 0, "maximum": MAX_DELAY, "description": "Seconds."},
    "idempotency_key": {"type": "string", "minLength": 1, "maxLength": MAX_KEY},
    "idempotency_ttl": {**_SECONDS, "description": "Seconds for which the key is remembered; a day unless given."},
    "idempotency_scope": {"enum": list(SCOPES), "description": "What the key is unique in; over HTTP always the task."},
    "debounce": {
        "type": "object",
        "description": "Calls under one key, each less than `delay` seconds after the one before, are one run.",
        "additionalProperties": False,
        "required": ["key", "delay"],
        "properties": {
            "key": {"type": "string", "minLength": 1, "maxLength": MAX_KEY},
            "delay": {"type": "number", "exclusiveMinimum": 0, "maximum": MAX_DEBOUNCE},
            "mode": {"enum": list(MODES), "default": "trailing"},
            "max_wait": {"type": "number", "exclusiveMinimum": 0, "maximum": MAX_DEBOUNCE},
        },
    },
    "concurrency_key": {"type": "string", "minLength": 1, "maxLength": MAX_KEY},
    "tags": {
        "type": "array",
        "maxItems": MAX_TAGS,
        "items": {"type": "string", "minLength": 1, "maxLength": MAX_TAG},
    },
    "max_attempts": {"type": "integer", "minimum": 1, "maximum": MAX_ATTEMPTS},
    "budget": BUDGET_SCHEMA,
    "units": {
        "type": "integer",
        "minimum": 1,
        "maximum": MAX_UNITS,
        "description": "What it is expected to use of the unit that its queue's rate counts.",
    },
    "ttl": {**_SECONDS, "description": "Seconds within which it has to start; then it is `expired`."},
    "run_timeout": {**_SECONDS, "description": "Seconds within which it has to end, waits included."},
}
OPTIONS_SCHEMA: Final = {
    "type": "object",
    "title": "Options",
    "additionalProperties": False,
    "properties": {f.name: _OPTION_SCHEMAS.get(f.name, {}) for f in fields(Options)},
}
PAYLOAD_SCHEMA: Final = {
    "type": "object",
    "title": "Payload",
    "description": "The task's parameters by name; GET /tasks/{task_id} has their schema.",
}

# ── in ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


class EnqueueIn(BaseModel):
    """One run to start. The task checks the payload, `Options` the options."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"payload": {}, "options": {}}})

    payload: Annotated[Any, WithJsonSchema(PAYLOAD_SCHEMA)] = Field(default_factory=dict)
    options: Annotated[dict[str, Any], WithJsonSchema(OPTIONS_SCHEMA)] = Field(default_factory=dict)


class BatchIn(BaseModel):
    """Runs to start, all or none."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"items": [{"payload": {}}]}})

    items: list[EnqueueIn] = Field(min_length=1, max_length=MAX_ITEMS)


class ReasonIn(BaseModel):
    """Why; kept in the audit log."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"reason": "the supplier is back"}})

    reason: str = Field(default="", max_length=500)


class ResolveIn(BaseModel):
    """What became of an unsafe step. `output` is the step's result, for one that happened."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"decision": "happened", "output": {"receipt": "r-17"}}}
    )

    decision: Literal["happened", "did_not_happen", "fail"]
    output: Annotated[Any, WithJsonSchema({"description": "The step's result; with `happened` only."})] = None
    reason: str = Field(default="", max_length=500)


class ReplayIn(BaseModel):
    """What the new run is to have instead of the old one's payload and options."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"payload": {}, "reason": "fixed input"}})

    payload: Annotated[Any, WithJsonSchema({"anyOf": [PAYLOAD_SCHEMA, {"type": "null"}]})] = None
    options: Annotated[dict[str, Any], WithJsonSchema(OPTIONS_SCHEMA)] = Field(default_factory=dict)
    reason: str = Field(default="", max_length=500)


class SignalIn(BaseModel):
    """A message to a run."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"name": "paid", "payload": {"cents": 99}}})

    name: str = Field(min_length=1, max_length=MAX_NAME)
    payload: Any = None


class CompletionIn(BaseModel):
    """The value of a token; or instead, why what it stands for has failed."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"value": {"paid": True}}})

    value: Any = None
    error: str | None = Field(default=None, description="Why it failed: the run's wait raises CompletionFailed.")
    retry: Annotated[bool, Strict()] = Field(
        default=True, description="Of a failure: false when it cannot heal, so that nothing is tried again."
    )


class DecisionIn(BaseModel):
    """The decision of an approval. `form` is what the approval asks for, when it is approved."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"approved": True, "form": None, "comment": ""}}
    )

    approved: Annotated[bool, Strict()]
    form: Any = None
    comment: str = Field(default="", max_length=REASON_LENGTH)


# ── out ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


class ErrorOut(Schema):
    """Why a run failed. Runs with one fingerprint failed alike."""

    type: str
    message: str
    fingerprint: str | None

    @classmethod
    def of(cls, error: dict[str, Any] | None) -> "ErrorOut | None":
        if error is None:
            return None
        return cls(
            type=str(error.get("type", "")),
            message=str(error.get("message", "")),
            fingerprint=error.get("fingerprint"),
        )


class AttemptErrorOut(ErrorOut):
    traceback: str | None

    @classmethod
    def of(cls, error: dict[str, Any] | None) -> "AttemptErrorOut | None":
        short = ErrorOut.of(error)
        return cls(**short.model_dump(), traceback=(error or {}).get("traceback")) if short else None


class RunOut(Schema):
    """One run."""

    id: uuid.UUID
    task: str
    queue: str
    status: str
    payload: Shown
    output: Shown
    error: ErrorOut | None
    attempt: int
    max_attempts: int
    priority: int
    tags: list[str]
    concurrency_key: str | None
    units: int = Field(description="What it counts in a rate that has a unit.")
    idempotency_key: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    next_at: datetime | None = Field(description="When a scheduled, retrying or waiting run is due.")
    trace_id: str
    parent_id: uuid.UUID | None = Field(description="The run that started it.")
    replay_of: uuid.UUID | None = Field(description="The run that it replays.")
    fork_of: uuid.UUID | None = Field(description="The run whose history it began with.")
    fork_sequence: int | None = Field(description="Up to this snapshot of that run.")
    round: int = Field(description="2 after the first continue_as_new. The payload is that of this round.")
    version: str
    usage: Any = Field(description=f"What it has used, by unit. {AMOUNTS}")
    budget: list[BudgetOut] = Field(description="Its own budgets, and those of the runs that wait for it.")
    progress: ProgressOut | None = Field(description="How far it says that it is.")
    metadata: Shown = Field(description="What it says of itself.")
    heartbeats: list[HeartbeatOut] = Field(description="Of its unfinished steps, the latest first; empty in lists.")
    waiting_for: Any = Field(
        description="Of a waiting run: `kind` and `what` of the first wait, `count` of all, `waits` of the first 20."
    )

    @classmethod
    def of(cls, run: Run) -> "RunOut":
        same = {
            name: getattr(run, name)
            for name in cls.model_fields
            if name not in {"task", "queue", "error", "usage", "budget", "progress", "metadata", "heartbeats"}
        }
        return cls.model_construct(
            **same,
            task=run.task_id,
            queue=run.queue.name,
            error=ErrorOut.of(run.error),
            usage=plain_amounts(run.usage or {}),
            budget=[BudgetOut.of(budget) for budget in run.budget or ()],
            progress=ProgressOut.of(run.progress) if run.progress else None,
            metadata=(run.progress.metadata if run.progress else None) or {},
            heartbeats=[HeartbeatOut.of(beat) for beat in run.beats or ()],
        )


class AttemptOut(Schema):
    """One try of a run."""

    number: int
    status: str
    started_at: datetime
    finished_at: datetime | None
    error: AttemptErrorOut | None
    worker: str | None
    active: float = Field(description="Seconds in a worker's hands: what is waited for does not count.")
    usage: Any = Field(description=f"What this attempt has used, by unit. {AMOUNTS}")

    @classmethod
    def of(cls, attempt: Attempt) -> "AttemptOut":
        return cls.model_construct(
            number=attempt.number,
            status=attempt.status,
            started_at=attempt.started_at,
            finished_at=attempt.finished_at,
            error=AttemptErrorOut.of(attempt.error),
            worker=attempt.worker.name if attempt.worker else None,
            active=attempt.active,
            usage=plain_amounts(attempt.usage or {}),
        )


class SnapshotOut(Schema):
    """What a step returned, a checkpoint saved, a wait brought, or a step's failed try."""

    sequence: int
    name: str
    kind: str
    attempt: int
    input: Shown
    output: Shown
    state: Shown
    error: AttemptErrorOut | None
    started_at: datetime
    finished_at: datetime
    usage: Any = Field(description=f"What this try of a step has used, by unit; null for none. {AMOUNTS}")

    @classmethod
    def of(cls, snapshot: Snapshot) -> "SnapshotOut":
        same = {name: getattr(snapshot, name) for name in cls.model_fields if name != "error"}
        return cls.model_construct(**same, error=AttemptErrorOut.of(snapshot.error))


class LogLineOut(Schema):
    """One line that a run said."""

    sequence: int
    at: datetime
    level: str = Field(description=f"One of {', '.join(levels.LEVELS)}, or the number of another level.")
    message: str
    fields: Shown
    attempt: int
    step: str | None

    @classmethod
    def of(cls, line: LogLine) -> "LogLineOut":
        return cls.model_construct(
            sequence=line.sequence,
            at=line.at,
            level=levels.exact(line.level),
            message=line.message,
            fields=line.fields,
            attempt=line.attempt,
            step=line.step or None,
        )


class ChunkOut(Schema):
    """A piece of a stream, or a mark in it: `restart` says that chunks before it no longer count, because they are sent
    again. Those of `step`; without a step, those whose `snapshot` is not less than the mark's."""

    sequence: int
    kind: str = Field(json_schema_extra={"enum": [*ChunkKind.values]})
    at: datetime
    data: Any
    attempt: int
    step: str | None
    snapshot: int = Field(description="The run's last snapshot when this was sent.")

    @classmethod
    def of(cls, chunk: streams.Chunk) -> "ChunkOut":
        return cls.model_construct(**{name: getattr(chunk, name) for name in cls.model_fields})


class WaitOut(Schema):
    """What a run waits for, or has waited for."""

    id: uuid.UUID
    run_id: uuid.UUID
    task: str
    kind: str
    name: str = Field(description="Of an approval, its title.")
    key: str = Field(description="The wait's identity within its run.")
    created_at: datetime
    due_at: datetime | None = Field(description="When it ends by itself.")
    resolved_at: datetime | None
    outcome: str | None = Field(description="`completed`, `failed`, `timed_out` or `cancelled`; null while it is open.")
    output: Shown = Field(description="What it brought; of an approval: approved, form, by and comment.")
    resolved_by: str
    answer_schema: dict[str, Any] | None = Field(description="JSON Schema of a token's value or an approval's form.")
    assignee: str | None = Field(description="The only user who may decide.")
    group: str | None = Field(description="The only group whose members may decide.")
    default: bool | None = Field(description="What decides when the time is over: true approves. Null: it times out.")
    context: Shown
    link: str | None = Field(
        description="A page on which whoever has its address answers without an account. Null when it is over, or not "
        "for the caller to answer."
    )

    @classmethod
    def of(cls, wait: Wait, link: str | None = None) -> "WaitOut":
        names = ("id", "run_id", "kind", "name", "key", "created_at", "due_at", "resolved_at", "outcome", "output")
        detail = wait.detail or {}
        default = detail.get("default")
        return cls.model_construct(
            **{name: getattr(wait, name) for name in names},
            task=wait.run.task_id,
            resolved_by=wait.resolved_by,
            answer_schema=detail.get("schema"),
            assignee=detail.get("assignee"),
            group=detail.get("group"),
            default=default.get("approved") if isinstance(default, dict) else None,
            context=detail.get("context"),
            link=link,
        )


class TaskOut(Schema):
    """A task as its code last declared it."""

    id: str
    queue: str
    doc: str
    retry: Any
    max_duration: float | None = Field(description="Seconds.")
    payload_schema: dict[str, Any]
    output_schema: dict[str, Any]
    version: str
    registered_at: datetime

    @classmethod
    def of(cls, task: Task) -> "TaskOut":
        same = {name: getattr(task, name) for name in cls.model_fields if name != "queue"}
        return cls.model_construct(**same, queue=task.queue.name)


class PageOut(Schema, Generic[T]):
    """Items, and the cursor of the next page: send it as `?cursor=`. Null at the end."""

    items: list[T]
    next: str | int | None


class ItemsOut(Schema, Generic[T]):
    """The runs of a batch, in its order."""

    items: list[T]


class FaultOut(Schema):
    """What is wrong with a field. In a search, also with which characters, and what could stand there instead."""

    field: str
    message: str
    at: int | None = None
    length: int | None = None
    suggestion: str | None = None


class ProblemOut(Schema):
    """What was refused, and why (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[FaultOut]
    code: str

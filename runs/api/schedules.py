"""/schedules: runs that begin by the clock."""

import uuid
from datetime import datetime
from typing import Annotated, Any

from django.http import HttpRequest, HttpResponse
from ninja import Router, Schema, Status
from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from runs.api import body, docs
from runs.api.auth import actor_of, needs
from runs.api.schemas import ReasonIn
from runs.api.shown import Shown
from runs.schedules import selectors, services
from runs.schedules.backfill import backfill
from runs.schedules.choices import CatchUp, Overlap
from runs.schedules.model import Schedule
from runs.schedules.ticks import MAX_EVERY, MAX_JITTER, MIN_EVERY

router = Router(tags=["schedules"])

TEXT = WithJsonSchema({"type": "string"})
CRON = WithJsonSchema({"type": "string", "description": "minute hour day month weekday, in `timezone`."})
EVERY = WithJsonSchema({"type": "number", "minimum": MIN_EVERY, "maximum": MAX_EVERY, "description": "Seconds."})
JITTER = WithJsonSchema({"type": "number", "minimum": 0, "maximum": MAX_JITTER, "description": "Seconds."})


class BackfillIn(BaseModel):
    """From which tick to which, both included."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"example": {"from": "2026-01-01T00:00:00Z", "to": "2026-01-31T23:59:59Z"}},
    )

    start: Annotated[Any, WithJsonSchema({"type": "string", "format": "date-time"})] = Field(alias="from")
    to: Annotated[Any, WithJsonSchema({"type": "string", "format": "date-time"})]
    reason: str = Field(default="", max_length=500)


class BackfilledOut(Schema):
    """What came of a backfill."""

    runs: int = Field(description="That were begun.")
    skipped: int = Field(description="Ticks that had begun a run before.")


class ScheduleIn(BaseModel):
    """What is to be changed of a schedule. `as_declared: true` takes a person's edits back."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"cron": "0 6 * * 1-5"}})

    task: Annotated[Any, TEXT] = None
    payload: Annotated[Any, WithJsonSchema({"type": "object"})] = None
    cron: Annotated[Any, CRON] = None
    every: Annotated[Any, EVERY] = None
    timezone: Annotated[Any, TEXT] = None
    catch_up: Annotated[Any, WithJsonSchema({"enum": CatchUp.values})] = None
    overlap: Annotated[Any, WithJsonSchema({"enum": Overlap.values})] = None
    jitter: Annotated[Any, JITTER] = None
    as_declared: bool = False
    reason: str = Field(default="", max_length=500)

    @property
    def values(self) -> dict[str, Any]:
        """As the service takes it: what was sent, and only that."""
        sent = self.model_dump(include=self.model_fields_set - {"reason", "name"})
        return {"task_id" if name == "task" else name: value for name, value in sent.items()}


class NewScheduleIn(ScheduleIn):
    """A new schedule: its name, its task, and `cron` or `every`."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"example": {"name": "daily-report", "task": "report", "cron": "0 6 * * *"}},
    )

    name: Annotated[Any, TEXT]


class TickOut(Schema):
    """What became of a tick."""

    due_at: datetime
    fired_at: datetime
    outcome: str
    run_id: uuid.UUID | None
    why: str


class ScheduleOut(Schema):
    """A schedule, its next ticks and its last ones."""

    name: str
    task: str
    payload: Shown
    cron: str | None
    in_words: str = Field(description="What cron says, in words; empty for an interval.")
    every: float | None
    timezone: str
    catch_up: str
    overlap: str
    jitter: float
    declared: Shown = Field(description="What code declares; null for one that a person made.")
    edited: list[str]
    paused: bool
    paused_by: str
    pause_reason: str
    next_at: datetime | None
    last_run: uuid.UUID | None
    upcoming: list[datetime] = Field(description="The next ten ticks, were it not paused; empty in lists.")
    ticks: list[TickOut] = Field(description="The last ten ticks, the latest first; empty in lists.")

    @classmethod
    def of(cls, found: Schedule, *, whole: bool = True) -> "ScheduleOut":
        return cls.model_validate(selectors.describe(found, whole=whole))


class SchedulesOut(Schema):
    """Schedules in order of name."""

    items: list[ScheduleOut]


class BegunOut(Schema):
    """The run that was begun."""

    run_id: uuid.UUID


@router.get("/schedules", response=SchedulesOut, auth=needs("runs.view"), operation_id="schedules_list")
def schedules_list(request: HttpRequest) -> Any:
    """All schedules."""
    items = [ScheduleOut.of(found, whole=False) for found in selectors.schedules()]
    return SchedulesOut.model_construct(items=items)


@router.post(
    "/schedules",
    response={201: ScheduleOut},
    auth=needs("schedules.edit"),
    operation_id="schedule_create",
    openapi_extra=docs.body(NewScheduleIn),
)
def schedule_create(request: HttpRequest, response: HttpResponse) -> Any:
    """Makes a schedule."""
    asked = body.read(request, NewScheduleIn)
    made = services.schedule_create(asked.name, actor_of(request), asked.reason, **asked.values)
    response["Location"] = f"/api/v1/schedules/{made.name}"
    return Status(201, ScheduleOut.of(made))


@router.get("/schedules/{name}", response=ScheduleOut, auth=needs("runs.view"), operation_id="schedule_get")
def schedule_get(request: HttpRequest, name: str) -> Any:
    """One schedule."""
    return ScheduleOut.of(selectors.schedule_get(name))


@router.patch(
    "/schedules/{name}",
    response=ScheduleOut,
    auth=needs("schedules.edit"),
    operation_id="schedule_update",
    openapi_extra=docs.body(ScheduleIn),
)
def schedule_update(request: HttpRequest, name: str) -> Any:
    """Changes a schedule, in force from its next tick on."""
    asked = body.read(request, ScheduleIn)
    return ScheduleOut.of(services.schedule_update(name, actor_of(request), asked.reason, **asked.values))


@router.delete(
    "/schedules/{name}",
    response={204: None},
    auth=needs("schedules.edit"),
    operation_id="schedule_delete",
    openapi_extra=docs.body(ReasonIn, required=False),
)
def schedule_delete(request: HttpRequest, name: str) -> Any:
    """Deletes a schedule. One that code declares comes back with the next start of that code: pause it instead."""
    services.schedule_delete(name, actor_of(request), body.reason_of(request))
    return Status(204, None)


@router.post(
    "/schedules/{name}/pause",
    response=ScheduleOut,
    auth=needs("schedules.run"),
    operation_id="schedule_pause",
    openapi_extra=docs.body(ReasonIn, required=False),
)
def schedule_pause(request: HttpRequest, name: str) -> Any:
    """No tick begins a run until it is resumed."""
    return ScheduleOut.of(services.schedule_pause(name, actor_of(request), body.reason_of(request)))


@router.post(
    "/schedules/{name}/resume",
    response=ScheduleOut,
    auth=needs("schedules.run"),
    operation_id="schedule_resume",
    openapi_extra=docs.body(ReasonIn, required=False),
)
def schedule_resume(request: HttpRequest, name: str) -> Any:
    """Ticks begin runs again."""
    return ScheduleOut.of(services.schedule_resume(name, actor_of(request), body.reason_of(request)))


@router.post(
    "/schedules/{name}/run",
    response={201: BegunOut},
    auth=needs("schedules.run"),
    operation_id="schedule_run",
    openapi_extra=docs.body(ReasonIn, required=False),
)
def schedule_run(request: HttpRequest, name: str) -> Any:
    """Begins a run now, beside the ticks."""
    return Status(201, {"run_id": services.schedule_run(name, actor_of(request), body.reason_of(request))})


@router.post(
    "/schedules/{name}/backfill",
    response={201: BackfilledOut},
    auth=needs("schedules.run"),
    operation_id="schedule_backfill",
    openapi_extra=docs.body(BackfillIn),
)
def schedule_backfill(request: HttpRequest, name: str) -> Any:
    """Begins a run for each tick of a time that is over which has not begun one. Asked again, it begins none."""
    asked = body.read(request, BackfillIn)
    return Status(201, backfill(name, asked.start, asked.to, actor_of(request), asked.reason)._asdict())

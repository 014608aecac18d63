"""/runs/{run_id}/fork: a new run from a snapshot."""

from typing import Annotated, Any

from django.http import HttpRequest, HttpResponse
from ninja import Router, Status
from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from runs import selectors
from runs.api import body, docs
from runs.api.auth import actor_of, needs
from runs.api.schemas import OPTIONS_SCHEMA, RunOut
from runs.forks.services import AS_SAVED, run_fork

router = Router(tags=["runs"])


class ForkIn(BaseModel):
    """Where the new run begins. Without `state`, the state is what was saved last up to there; null is a state."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"sequence": 3, "state": {"page": 7}}})

    sequence: Annotated[Any, WithJsonSchema({"type": "integer", "minimum": 1})]
    state: Any = None
    options: Annotated[dict[str, Any], WithJsonSchema(OPTIONS_SCHEMA)] = Field(default_factory=dict)
    reason: str = Field(default="", max_length=500)


@router.post(
    "/runs/{run_id}/fork",
    response={201: RunOut},
    auth=needs("runs.enqueue"),
    operation_id="run_fork",
    openapi_extra=docs.body(ForkIn),
)
def fork(request: HttpRequest, response: HttpResponse, run_id: str) -> Any:
    """Starts a new run that goes on where this one was at a snapshot: what was finished up to there is kept and not
    called again, what came after is done anew."""
    found, asked = body.run_id(run_id), body.read(request, ForkIn)
    new = run_fork(
        found,
        sequence=asked.sequence,
        state=asked.state if "state" in asked.model_fields_set else AS_SAVED,
        options=asked.options,
        reason=asked.reason,
        actor=actor_of(request),
    )
    response["Location"] = f"/api/v1/runs/{new}"
    return Status(201, RunOut.of(selectors.run_get(new)))

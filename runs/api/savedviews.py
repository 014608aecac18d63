"""/views: searches of the list of runs under a name."""

from datetime import datetime
from typing import Any

from django.http import HttpRequest
from ninja import Router, Schema, Status
from pydantic import BaseModel, ConfigDict, Field

from runs import filters
from runs.api import body, docs
from runs.api.auth import actor_of, needs
from runs.api.problems import refusal
from runs.api.schemas import ReasonIn
from runs.columns import LISTED
from runs.errors import UnknownView
from runs.savedviews import selectors, services

router = Router(tags=["views"])


class ViewOut(Schema):
    """A saved view."""

    id: int
    name: str
    q: str = Field(description="The search: `GET /runs?q=` has its runs.")
    columns: str = Field(description="Those of its list, as `columns` of an address has them; empty: the usual ones.")
    shared: bool
    by: str
    saved_at: datetime


class ViewsOut(Schema):
    """In order of name."""

    items: list[ViewOut]


class ViewIn(BaseModel):
    """What to save."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"name": "Failed payments", "q": "task:charge status:failed"}}
    )

    name: str = Field(description="Under a name that is there already, it takes its place.")
    q: str = Field(default="", max_length=4_000)
    columns: str = Field(default="", max_length=200, description=f"Of its list: {', '.join(LISTED)}; behind commas.")
    shared: bool = Field(default=False, description="For all; needs the grant views.share.")
    reason: str = Field(default="", description="Kept in the audit log, of shared ones.")


@router.get("/views", response=ViewsOut, auth=needs("runs.view"), operation_id="views_list")
def views_list(request: HttpRequest) -> Any:
    """The caller's own views, and the shared ones."""
    filters.refuse_unknown(request.GET, ())
    found = selectors.visible(actor_of(request))
    return ViewsOut.model_construct(items=[_out(view) for view in found])


@router.post(
    "/views",
    response={201: ViewOut},
    auth=needs("runs.view"),
    operation_id="view_save",
    openapi_extra=docs.body(ViewIn),
)
def view_save(request: HttpRequest) -> Any:
    """Saves a search of runs under a name."""
    sent = body.read(request, ViewIn)
    view = services.view_save(
        sent.name, sent.q, columns=sent.columns, shared=sent.shared, reason=sent.reason, actor=actor_of(request)
    )
    return Status(201, _out(view))


@router.delete(
    "/views/{view_id}",
    response=ViewOut,
    auth=needs("runs.view"),
    operation_id="view_delete",
    openapi_extra=docs.body(ReasonIn, required=False),
)
def view_delete(request: HttpRequest, view_id: str) -> Any:
    """Deletes one of the caller's own views, or with views.share a shared one."""
    if not (view_id.isascii() and view_id.isdecimal() and len(view_id) < 19):
        raise refusal(UnknownView, ("view_id", f"is {view_id[:60]!r}, which is no id; write one that GET /views has"))
    return _out(services.view_delete(int(view_id), reason=body.reason_of(request), actor=actor_of(request)))


def _out(view: Any) -> ViewOut:
    return ViewOut.model_construct(None, **selectors.as_json(view))

"""/waits: what runs wait for, and the answers of people and programs."""

import uuid
from typing import Any

from django.http import HttpRequest
from ninja import Router

from holdfast.access.grants import Actor
from runs import answers, selectors, waitlinks, waits
from runs.api import body, docs, problems
from runs.api.auth import actor_of, needs, needs_or_link
from runs.api.schemas import CompletionIn, DecisionIn, PageOut, WaitOut
from runs.errors import InvalidPayload
from runs.filters import parse_limit, refuse_unknown
from runs.models import ANSWERED_KINDS, Wait

router = Router(tags=["waits"])

_PAGING = ("cursor", "limit")


@router.get(
    "/waits",
    response=PageOut[WaitOut],
    auth=needs("runs.view"),
    operation_id="waits_list",
    openapi_extra=docs.query(
        docs.parameter("kind", "Only these; all that somebody answers otherwise.", {"enum": list(ANSWERED_KINDS)}),
        *docs.page(),
    ),
)
def waits_list(request: HttpRequest) -> Any:
    """What is open for somebody to answer, oldest first."""
    refuse_unknown(request.GET, ("kind", *_PAGING))
    kind = request.GET.get("kind")
    page = waits.open_waits((kind,) if kind else ANSWERED_KINDS, **_paging(request))
    return _page(request, page)


@router.get(
    "/runs/{run_id}/waits",
    response=PageOut[WaitOut],
    auth=needs("runs.view"),
    operation_id="run_waits",
    openapi_extra=docs.query(*docs.page()),
)
def run_waits(request: HttpRequest, run_id: str) -> Any:
    """All that a run waits for or has waited for, in the order in which it asked."""
    refuse_unknown(request.GET, _PAGING)
    found = selectors.run_exists(body.run_id(run_id))
    return _page(request, waits.run_waits(found, **_paging(request)))


@router.post(
    "/waits/{token}/complete",
    response=WaitOut,
    auth=needs_or_link("runs.answer"),
    operation_id="wait_complete",
    openapi_extra={**docs.body(CompletionIn, DecisionIn), "security": [{}]},
)
def wait_complete(request: HttpRequest, token: str) -> Any:
    """Completes a token with a value, or fails it with an error; or decides an approval. `token` is the wait's id, or
    the signed id that the run gave out: then no account is needed. 409 when it was answered before or its time is
    over."""
    wait_id, signed = waitlinks.read(token)
    found = waits.wait_get(wait_id)
    actor = actor_of(request)
    if found.kind == "approval":
        decision = body.read(request, DecisionIn)
        answers.approval_decide(wait_id, **decision.model_dump(), actor=actor, signed=signed)
    else:
        _complete(wait_id, body.read(request, CompletionIn), actor)
    return WaitOut.of(waits.wait_get(wait_id))


def _complete(wait_id: uuid.UUID, given: CompletionIn, actor: Actor) -> None:
    has_value = "value" in given.model_fields_set
    if given.error is not None:
        if has_value:
            raise problems.refusal(InvalidPayload, ("error", "stands beside value; write one of the two"))
        answers.token_fail(wait_id, given.error, retry=given.retry, actor=actor)
    elif not has_value:
        raise problems.refusal(InvalidPayload, ("value", "is missing"))
    else:
        answers.wait_complete(wait_id, given.value, actor=actor)


def _paging(request: HttpRequest) -> dict[str, Any]:
    return {"cursor": request.GET.get("cursor"), "limit": parse_limit(request.GET.get("limit"))}


def _page(request: HttpRequest, page: selectors.Page[Wait, str]) -> Any:
    actor = actor_of(request)
    groups = answers.groups_of(actor)
    items = [WaitOut.of(wait, _link(request, wait, actor, groups)) for wait in page.items]
    return PageOut[WaitOut].model_construct(items=items, next=page.next)


def _link(request: HttpRequest, wait: Wait, actor: Actor, groups: frozenset[str]) -> str | None:
    if not answers.may_pass_on(wait, actor, groups):
        return None
    return request.build_absolute_uri(waitlinks.page_url(wait.pk))

"""POST /hooks/{name}: no session, no token; the signature is the authentication."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt

from runs.api import problems
from runs.errors import WrongState
from runs.webhooks import inbound, services
from runs.webhooks.model import Delivery, Webhook


@csrf_exempt
def hook(request: HttpRequest, name: str) -> HttpResponse:
    """202 with the run's id, or without one when the filter said no; 200 for a delivery that had come before; 401
    without a valid signature; 413 over the body limit; 422 when no payload comes of it. Errors are problem+json."""
    if request.method != "POST":
        detail = "A webhook takes POST."
        return problems.problem(405, "method_not_allowed", detail, headers={"Allow": "POST"})
    try:
        webhook = services.webhook_get(name)
        if not webhook.enabled:
            raise WrongState(f"Webhook {name} is paused; send it again later.")
        body = _body(request, webhook)
        headers = {key.lower(): value for key, value in request.headers.items()}
        row, new = inbound.receive(webhook, headers, request.GET.dict(), body)
    except Exception as error:
        return problems.of(error)
    return _answer(row, new)


def _body(request: HttpRequest, webhook: Webhook) -> bytes:
    limit = webhook.body_limit
    declared = request.headers.get("Content-Length") or "0"
    if declared.isdecimal() and (len(declared) > 15 or int(declared) > limit):
        raise _too_large(limit)
    data = request.read(limit + 1)
    if len(data) > limit:
        raise _too_large(limit)
    return data


def _too_large(limit: int) -> problems.BodyTooLarge:
    message = f"is over the limit of {limit:,} bytes. Send less, or raise the webhook's body limit"
    return problems.BodyTooLarge(f"The body {message}.", errors=[{"field": "", "message": message}])


def _answer(row: Delivery, new: bool) -> HttpResponse:
    if row.outcome == "refused":
        return problems.problem(422, "delivery_refused", f"Delivery {row.pk} is kept: {row.reason}", row.errors)
    told = {"delivery": str(row.pk), "outcome": row.outcome, "run_id": str(row.run_id) if row.run_id else None}
    return JsonResponse(told, status=202 if new else 200)

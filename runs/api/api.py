"""The HTTP API under /api/v1. Its documentation is /api/v1/openapi.json; there is no page for it, because Swagger's
needs inline styles that our Content-Security-Policy forbids."""

from typing import Any

from django.http import HttpRequest
from ninja import NinjaAPI
from ninja.openapi.schema import OpenAPISchema
from ninja.renderers import BaseRenderer
from pydantic_core import to_json

from runs.api import (
    alerts,
    breakers,
    bulk,
    changes,
    channels,
    compare,
    endpoints,
    errors,
    events,
    explore,
    export,
    finding,
    forks,
    problems,
    queues,
    retries,
    runs,
    savedviews,
    schedules,
    stacks,
    streams,
    tasks,
    updates,
    verdict,
    waits,
    webhooks,
    workers,
)
from runs.api.schemas import ProblemOut

_REFUSALS = {
    "400": "The body is not JSON.",
    "401": "No token, or a wrong, expired or revoked one.",
    "403": "The token's role does not hold the grant, or somebody else is asked.",
    "404": "No such task, run, wait, update or queue.",
    "409": "The state does not allow it, it was answered before, or an idempotency key was used with another payload.",
    "413": "The body or a payload is over the limit.",
    "415": "The body is not declared as JSON.",
    "422": "A field does not fit; `errors` names it.",
    "504": "The worker that has the run does not answer.",
}
#: What is made there is of a task, by its id.
_NAME_A_TASK = ("/webhooks", "/schedules")


class Renderer(BaseRenderer):
    """JSON with times in RFC 3339, to the microsecond."""

    media_type = "application/json"

    def render(self, request: HttpRequest, data: Any, *, response_status: int) -> bytes:
        return to_json(data)


class Api(NinjaAPI):
    """Our NinjaAPI: every operation can answer a problem."""

    def get_openapi_schema(self, **kwargs: Any) -> OpenAPISchema:
        schema = super().get_openapi_schema(**kwargs)
        schema["components"]["schemas"]["Problem"] = ProblemOut.model_json_schema(
            ref_template="#/components/schemas/{model}"
        )
        schema["components"]["schemas"].update(schema["components"]["schemas"]["Problem"].pop("$defs", {}))
        content = {problems.CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
        for path, operations in schema["paths"].items():
            for method, operation in operations.items():
                for status, words in _REFUSALS.items():
                    if _possible(status, path, method):
                        operation["responses"][status] = {"description": words, "content": content}
        return schema


def _possible(status: str, path: str, method: str) -> bool:
    if status == "504":
        return path.endswith("/stack")
    if status in {"400", "409", "413", "415"}:
        return method != "get"
    return status != "404" or "{" in path or (method == "post" and path.endswith(_NAME_A_TASK))


api = Api(
    title="Holdfast",
    version="1",
    description="Start durable runs, see what became of them, steer the queues.",
    urls_namespace="api",
    docs_url=None,
    renderer=Renderer(),
)
problems.install(api)
for _router in (
    verdict.router,
    tasks.router,
    retries.router,
    forks.router,
    compare.router,
    export.router,  # before /runs/{run_id}
    runs.router,
    stacks.router,
    streams.router,
    waits.router,
    updates.router,
    events.router,
    endpoints.router,
    webhooks.router,
    workers.router,
    changes.router,
    finding.router,
    errors.router,
    explore.router,
    savedviews.router,
    queues.router,
    breakers.router,
    schedules.router,
    alerts.router,
    channels.router,
    bulk.router,
):
    api.add_router("", _router)

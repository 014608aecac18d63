"""/runs/export: the runs of a search as a file."""

from typing import Any

from django.http import HttpRequest
from ninja import Router

from runs import columns, exporting
from runs.api import docs
from runs.api.auth import needs

router = Router(tags=["runs"])


@router.get(
    "/runs/export",
    auth=needs("runs.view"),
    operation_id="runs_export",
    openapi_extra={
        **docs.query(
            docs.parameter("q", "A search, as of GET /runs; its other parameters may stand beside it."),
            docs.parameter("columns", f"Some of {', '.join(columns.FILEABLE)}; without it all but why."),
            docs.parameter(
                "format", "csv, or json: {items, cut}.", {"enum": list(exporting.FORMATS), "default": "csv"}
            ),
        ),
        **docs.answer(
            200,
            "The file.",
            text_csv={"type": "string", "description": "A line of names, and a line for each run."},
            application_json={
                "type": "object",
                "required": ["items", "cut"],
                "properties": {"items": {"type": "array", "items": {"type": "object"}}, "cut": {"type": "boolean"}},
            },
        ),
    },
)
def runs_export(request: HttpRequest) -> Any:
    """Runs without payload and output, newest first, the first 10,000 at most. If the file is cut, its end says so: the
    last line of CSV, `cut` of JSON."""
    return exporting.response(request.GET)

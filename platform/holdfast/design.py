"""`/design/`: every component of the design system on one page, for those who build pages."""

from django.conf import settings
from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone

from holdfast.access.gate import ActorRequest, requires
from holdfast.access.grants import require

STATUSES = [
    "scheduled", "queued", "running", "waiting", "retrying", "cancelling",
    "completed", "failed", "cancelled", "expired", "timed_out", "crashed", "unknown",
]  # fmt: skip

_WATERFALL = [
    {"name": "research-agent", "status": "completed", "depth": 0, "time": "42.1 s",
     "bars": [{"kind": "soft", "left": 0, "width": 4}, {"kind": "", "left": 4, "width": 96}]},
    {"name": "attempt 1", "status": "failed", "depth": 1, "time": "18.0 s", "icon": "failed",
     "bars": [{"kind": "", "left": 4, "width": 40}]},
    {"name": "search", "status": "completed", "depth": 2, "time": "6.2 s", "icon": "step",
     "bars": [{"kind": "", "left": 5, "width": 14}]},
    {"name": "summarise", "status": "failed", "depth": 2, "time": "10.9 s", "icon": "step",
     "bars": [{"kind": "", "left": 20, "width": 24}]},
    {"name": "retry in 4 s", "status": "retrying", "depth": 1, "time": "4.0 s", "icon": "retrying",
     "bars": [{"kind": "wait", "left": 44, "width": 9}]},
    {"name": "attempt 2", "status": "completed", "depth": 1, "time": "20.1 s", "icon": "completed",
     "bars": [{"kind": "", "left": 53, "width": 47}]},
    {"name": "approval from the editor on duty", "status": "waiting", "depth": 2, "time": "9.8 s", "icon": "waiting",
     "bars": [{"kind": "wait", "left": 56, "width": 22}]},
    {"name": "summarise", "status": "completed", "depth": 2, "time": "8.7 s", "icon": "step",
     "bars": [{"kind": "", "left": 79, "width": 20}]},
]  # fmt: skip

_JSON = {
    "topic": "kelp forests",
    "seed": 9007199254740993123,
    "budget": {"tokens": 120_000, "usd": 1.5, "hard": True, "owner": None},
    "sources": [{"url": f"https://example.org/paper/{n}", "score": n / 7} for n in range(1, 5)],
    "note": "lines\nand <tags> & “quotes”",
    "empty": [],
}

_SNIPPET = """from runs import task, step

@task(id="hello")
async def hello(name: str) -> str:
    return f"Hello {name}"
"""


@requires("runs.view")
def design(request: ActorRequest) -> HttpResponse:
    """Shows the components; for admins, and for everyone signed in while HOLDFAST_DEBUG is on."""
    if not settings.DEBUG:
        require(request.actor, "access.manage")
    context = {
        "statuses": STATUSES,
        "rows": _WATERFALL,
        "json": _JSON,
        "snippet": _SNIPPET,
        "now": timezone.now(),
    }
    return render(request, "holdfast/design.html", context)

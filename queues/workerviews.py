"""Workers on the page Queues."""

from __future__ import annotations

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from holdfast.access.gate import ActorRequest, requires
from queues.draining import WorkerNotFound, worker_drain
from queues.errors import InvalidChange


@require_POST
@requires("queues.pause")
def drain(request: ActorRequest, worker_id: int) -> HttpResponse:
    """Asks a worker to leave."""
    try:
        name = worker_drain(worker_id, request.actor, request.POST.get("reason", ""))
    except WorkerNotFound as error:
        raise Http404(str(error)) from None
    except InvalidChange as error:
        messages.error(request, str(error))
    else:
        messages.success(request, f"{name} finishes what it has, and leaves.")
    return redirect("queues:queues")

"""Tasks with local steps. Loaded by path, like `tasks.py`."""

from __future__ import annotations

from django.conf import settings

from runs import current_run, step, task, wait
from tests.support.ledger import note


@step(local=True)
async def fetch(name: str) -> str:
    """Stands for a download: the path holds on this host alone."""
    note("fetch", name, settings.HOLDFAST_HOST)
    return f"/{settings.HOLDFAST_HOST}/{name}"


@step
async def elsewhere_too(name: str) -> str:
    note("count", name, settings.HOLDFAST_HOST)
    return name.upper()


async def _reads(name: str, waits: int) -> list[str]:
    path = await fetch(name)
    found = [await elsewhere_too(name)]
    for _ in range(waits):
        await wait.asignal("on")
        note("read", current_run().id, settings.HOLDFAST_HOST)
        path = await fetch.using(key="again")(name)
    return [*found, path]


@task(id="reads-at-home")
async def reads(name: str, waits: int = 1) -> list[str]:
    return await _reads(name, waits)


@task(id="reads-at-home-apart", isolation="process")
async def reads_apart(name: str, waits: int = 1) -> list[str]:
    return await _reads(name, waits)


@step(local=True)
def fetch_sync(name: str) -> str:
    note("fetch", name, settings.HOLDFAST_HOST)
    return f"/{settings.HOLDFAST_HOST}/{name}"


@task(id="reads-at-home-sync")
def reads_sync(name: str) -> str:
    path = fetch_sync(name)
    wait.signal("on")
    note("read", current_run().id, settings.HOLDFAST_HOST)
    return path

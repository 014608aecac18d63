"""Tasks for bulk actions. Loaded by path, like `tasks.py`."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from runs import current_run, task
from tests.support.ledger import note


@task(id="mends")
async def mends(words: str = "the pump is broken") -> str:
    """Fails with these words until somebody has mended it; then with others, or not at all."""
    note("tried", current_run().id)
    folder = Path(os.environ["TESTS_LEDGER"]).parent
    while (folder / "held").exists():
        await asyncio.sleep(0.02)
    if (folder / "gate-otherwise").exists():
        raise ValueError("now the valve is")
    if not (folder / "gate-mended").exists():
        raise ConnectionError(words)
    return "flows"

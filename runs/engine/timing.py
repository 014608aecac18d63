"""How long a try of a step may take."""

from __future__ import annotations

import asyncio
from typing import Any

from runs.sdk.step import Step


async def within(limit: float, step: Step[Any, Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A try of a step, which may take so many seconds. Raises TimeoutError that says so."""
    try:
        async with asyncio.timeout(limit) as scope:
            return await step.function(*args, **kwargs)
    except TimeoutError as error:
        if scope.expired():
            raise TimeoutError(f"step {step.name!r} took longer than {limit:g} s") from error
        raise

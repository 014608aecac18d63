"""`heartbeat`: a long step says that it lives, and how far it has come.

@step(heartbeat_timeout=30, retry=Retry(max_attempts=5))
async def copy(files: list[str]) -> int:
    begin = heartbeat.last() or 0             # what the try before had said
    for number, file in enumerate(files[begin:], begin):
        await send(file)
        heartbeat(number + 1)
    return len(files)
"""

from __future__ import annotations

import json
from typing import Any, Final

from runs.errors import StepMisuse
from runs.sdk import codec
from runs.sdk.context import RunContext, current, current_step

#: Bytes of the details of a heartbeat, as JSON.
MAX_DETAILS: Final = 64 * 1024


class Heartbeat:
    """The one instance is `heartbeat`."""

    __slots__ = ()

    def __call__(self, details: Any = None) -> None:
        """Says that the step lives. Does not wait; call it as often as you like, also from threads that the step has
        given its context. Outside a run it does nothing.

        Args:
            details: How far it is: anything that JSON can hold, 64 KiB at most. They are stored at most once a second,
                and when the try fails; the latest win. None: as they were.

        Raises:
            StepMisuse: called in a run outside its steps.
            NotSerializable: JSON cannot hold the details, or they are too long.
        """
        text = None if details is None else codec.dump(None, details, "heartbeat: details", MAX_DETAILS)
        run = _run_in_step("heartbeat()")
        if run is not None:
            run.beat(text)

    def last(self) -> Any:
        """The latest details of this step, of this try or of one before, in whatever worker that was; None when there
        are none, and outside a run.

        Raises:
            StepMisuse: called in a run outside its steps.
        """
        run = _run_in_step("heartbeat.last()")
        text = run.last_beat() if run is not None else None
        return None if text is None else json.loads(text)


heartbeat = Heartbeat()


def _run_in_step(called: str) -> RunContext | None:
    run = current.get()
    if run is not None and not current_step.get():
        raise StepMisuse(
            f"{called} was called outside a step. Call it inside the function that @step wraps; what the whole run has "
            "to say is current_run().progress(0.4, …)."
        )
    return run

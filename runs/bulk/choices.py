"""What can be done to many runs, how fast, and what can become of each of them."""

from __future__ import annotations

from typing import Final

from django.db import models

from runs.states import CANCELLABLE, FINAL, RETRYABLE, Status


class Action(models.TextChoices):
    RETRY = "retry", "retried"
    CANCEL = "cancel", "cancelled"
    REPLAY = "replay", "replayed"
    POSTPONE = "postpone", "put off"


class Pace(models.TextChoices):
    ALL = "all", "without a stop"
    CANARY = "canary", "1, then 10, then the rest"


class Outcome(models.TextChoices):
    """What became of a run. The empty text is: nothing yet."""

    DONE = "done", "done"
    SKIPPED = "skipped", "skipped"
    FAILED = "failed", "failed"


#: What a job is called.
NOUNS: Final = {Action.RETRY: "Retry", Action.CANCEL: "Cancellation", Action.REPLAY: "Replay", Action.POSTPONE: "Delay"}
#: What one needs to be allowed to, for each action: the same as for one run.
GRANTS: Final = {
    Action.RETRY: "runs.retry",
    Action.CANCEL: "runs.cancel",
    Action.REPLAY: "runs.enqueue",
    Action.POSTPONE: "runs.retry",
}
#: The statuses of runs with which an action can do something. A search that asks for no status means these.
STATUSES: Final[dict[Action, tuple[Status, ...]]] = {
    Action.RETRY: tuple(s for s in Status if s in RETRYABLE),
    Action.CANCEL: tuple(s for s in Status if s in CANCELLABLE),
    Action.REPLAY: tuple(s for s in Status if s in FINAL),
    Action.POSTPONE: (Status.RETRYING,),
}
#: Runs of the stages of a canary; after each, the next waits for how they end. The last stage is the rest.
CANARY: Final = (1, 10)

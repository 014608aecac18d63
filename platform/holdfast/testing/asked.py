"""Updates of inline runs."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, field
from typing import Any

from holdfast.testing.answers import Answer
from runs import store


@dataclass(slots=True)
class Asked:
    """What a run was asked for, and what came of it. `outcome`: replied, refused, abandoned; None while it is open."""

    name: str
    payload: Any
    by: str
    outcome: str | None = None
    reply: Any = None
    reason: str = ""
    id: uuid.UUID = field(default_factory=uuid.uuid4)
    wait: uuid.UUID | None = None  # that has taken it

    @classmethod
    def of(cls, answer: Answer) -> Asked:
        return cls(answer.name, answer.output, answer.by)

    @property
    def is_unread(self) -> bool:
        return self.outcome is None and self.wait is None

    def brought(self, key: str) -> dict[str, Any]:
        """What the wait with this key brings."""
        return {"update": str(self.id), "wait": key, "value": self.payload, "by": self.by}

    def answer(self, row: store.ReplyRow) -> None:
        self.outcome, self.reason = row.outcome, row.reason
        self.reply = None if row.reply is None else json.loads(row.reply)

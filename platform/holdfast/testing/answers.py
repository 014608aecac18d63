"""What a test answers to a run that waits."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

from holdfast.testing.errors import BadCall
from runs.sdk import codec
from runs.sdk.options import is_word
from runs.sdk.wait import MAX_NAME

#: What a test writes to answer a wait of a kind.
CALLS: Final = {
    "approval": "complete_approval",
    "token": "complete_token",
    "signal": "send_signal",
    "update": "send_update",
}
#: Kept until the run waits for them.
KEPT: Final = ("signal", "update")


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer to a wait: its kind, its name, and what it brings."""

    kind: str
    name: str
    output: Any  # JSON
    by: str = "test"

    @property
    def label(self) -> str:
        """As the test wrote it."""
        if self.kind == "approval":
            return f"{'complete' if self.output['approved'] else 'reject'}_approval({self.name!r})"
        return f"{CALLS[self.kind]}({self.name!r})"


def complete_approval(
    title: str, *, approved: bool = True, form: Any = None, by: str = "test", comment: str = ""
) -> Answer:
    """Somebody decides.

    Args:
        title: what `wait.approval` asks.
        form: the filled form, as a dict or as the form's model; refused where it does not fit.
        by: who decides.
    """
    decision = {"approved": approved, "form": _json(form, "form") if approved else None, "by": by, "comment": comment}
    return Answer("approval", _name("complete_approval: title", title), decision, by)


def reject_approval(title: str, *, by: str = "test", comment: str = "") -> Answer:
    """Somebody says no."""
    return complete_approval(title, approved=False, by=by, comment=comment)


def complete_token(name: str = "token", value: Any = None) -> Answer:
    """Somebody completes the token of this name."""
    return Answer("token", _name("complete_token: name", name), _json(value, "value"))


def send_signal(name: str, payload: Any = None) -> Answer:
    """A signal arrives. It is kept until the run waits for it."""
    return Answer("signal", _name("send_signal: name", name), _json(payload, "payload"))


def send_update(name: str, payload: Any = None, *, by: str = "test") -> Answer:
    """Somebody asks the run for something. It is kept until the run waits for it; `result.updates` tells the reply."""
    return Answer("update", _name("send_update: name", name), _json(payload, "payload"), by)


def _name(where: str, name: Any) -> str:
    if not is_word(name, MAX_NAME):
        raise BadCall(f"{where} is {name!r:.60}; write text of 1 to {MAX_NAME} characters")
    return str(name)


def _json(value: Any, path: str) -> Any:
    """As it would come over the wire. Raises NotSerializable."""
    return json.loads(codec.dump(None, value, path))

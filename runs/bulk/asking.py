"""What somebody wants to do to which runs, read from a page's parameters, and the question before it is done."""

from __future__ import annotations

import shlex
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from django import forms
from django.http import QueryDict
from django.urls import reverse
from django.utils.http import urlencode

from queues.selectors import EXACT_UP_TO
from runs.bulk import scope, services
from runs.bulk.choices import GRANTS, Action, Pace
from runs.forms import MAX_REASON, ErrorsForm

#: Ids that the command line of a page shows.
SHOWN_IDS: Final = 5
#: Seconds of the example of a delay.
DELAY: Final = 7_200

_EFFECTS: Final = {
    Action.RETRY: "Their finished steps are kept; each goes on with the step that failed.",
    Action.CANCEL: "The runs that they wait for are cancelled, too. What their steps did stays done.",
    Action.POSTPONE: "The next attempt of each begins later: it spends nothing until then, and what it calls has time.",
    Action.REPLAY: "Each starts a new run from the beginning, with its payload and options: all steps are done again.",
}


class BulkForm(ErrorsForm):
    """What is posted, once somebody has seen what it is about."""

    q = forms.CharField(required=False, strip=False, widget=forms.HiddenInput)
    ids = forms.CharField(required=False, widget=forms.HiddenInput)
    newest = forms.UUIDField(required=False, widget=forms.HiddenInput)
    pace = forms.CharField(required=False)
    delay = forms.CharField(required=False, max_length=20)
    reason = forms.CharField(required=False, max_length=MAX_REASON)

    @property
    def values(self) -> dict[str, Any]:
        """As the service takes them."""
        found = self.cleaned_data
        kept = {"pace": found["pace"] or Pace.ALL, "delay": found["delay"] or None, "reason": found["reason"]}
        if found["ids"]:
            return {**kept, "ids": found["ids"].split(",")}
        return {**kept, "search": found["q"], "newest": found["newest"]}


@dataclass(frozen=True, slots=True)
class Question:
    """The question before a bulk action: its exact scope and count."""

    preview: scope.Preview
    ids: tuple[uuid.UUID, ...] = ()
    pace: str = str(Pace.ALL)

    @property
    def action(self) -> Action:
        return self.preview.action

    @property
    def verb(self) -> str:
        return str(self.action).capitalize()

    @property
    def runs(self) -> str:
        """`57 runs`; `more than 10,000 runs` beyond."""
        return counted(self.preview.runs, self.preview.exact)

    @property
    def effect(self) -> str:
        return _EFFECTS[self.action]

    @property
    def passed(self) -> int:
        """Those of a selection that cannot be acted upon now."""
        return self.preview.runs - self.preview.fitting

    @property
    def is_retry(self) -> bool:
        return self.action == Action.RETRY

    @property
    def is_cancel(self) -> bool:
        return self.action == Action.CANCEL

    @property
    def is_postpone(self) -> bool:
        return self.action == Action.POSTPONE

    @property
    def hidden(self) -> str:
        """The ids, for the form."""
        return ",".join(map(str, self.ids))

    @property
    def command(self) -> str:
        """The same on the command line; of a large selection the first ids."""
        begin = f"manage.py bulk {self.action}"
        how = f" --delay {DELAY}" if self.is_postpone else " --canary" if self.pace == Pace.CANARY else ""
        if not self.ids:
            return f"{begin} --search {shlex.quote(self.preview.text)}{how}"
        shown = " ".join(f"--id {run_id}" for run_id in self.ids[:SHOWN_IDS])
        return f"{begin} {shown}{' --id …' if len(self.ids) > SHOWN_IDS else ''}{how}"

    @property
    def body(self) -> dict[str, Any]:
        """The same over HTTP."""
        how = {"delay": DELAY} if self.is_postpone else {"pace": self.pace} if self.pace == Pace.CANARY else {}
        if not self.ids:
            return {"action": str(self.action), "q": self.preview.text, **how}
        more = ["…"] if len(self.ids) > SHOWN_IDS else []
        return {"action": str(self.action), "ids": [*map(str, self.ids[:SHOWN_IDS]), *more], **how}


def counted(runs: int, exact: bool) -> str:
    """A count of runs in words."""
    if runs > EXACT_UP_TO:
        return f"more than {EXACT_UP_TO:,} runs"
    return f"{'' if exact else 'at least '}{runs:,} run{'' if runs == 1 else 's'}"


def grant_of(action: str) -> str:
    """What one has to be allowed to. Raises InvalidOption: it is no action."""
    return GRANTS[services.check(action)[0]]


def question_of(params: QueryDict) -> Question:
    """The question about the runs of a page's parameters: `id`, again and again, or `ids`; otherwise the search `q`.

    Raises:
        InvalidOption, InvalidFilter, SearchTooSlow.
    """
    action = services.check(params.get("action", ""))[0]
    pace = str(Pace.CANARY if params.get("pace") == Pace.CANARY else Pace.ALL)
    listed: Sequence[str] = params.getlist("id") or [text for text in params.get("ids", "").split(",") if text]
    if listed and not params.get("all"):
        ids = tuple(scope.read_ids(listed))
        return Question(scope.preview_ids(action, ids), ids, pace)
    return Question(scope.preview_search(action, params.get("q", "")), pace=pace)


def address(action: Action, search: str, pace: Pace = Pace.ALL) -> str:
    """Where it is asked whether something is to be done to all runs that fit a search."""
    more = {"pace": str(pace)} if pace != Pace.ALL else {}
    return f"{reverse('runs:bulk_new')}?{urlencode({'action': str(action), **more, 'q': search})}"


def redrive(search: str) -> str:
    """Where it is asked whether the runs of an error are to be retried: one first, then ten, then the rest, until the
    error is met again."""
    return address(Action.RETRY, search, Pace.CANARY)

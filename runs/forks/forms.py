"""The form of a fork."""

from __future__ import annotations

from typing import Any

from django import forms

from holdfast.redaction import redacted
from holdfast.words import pretty_json
from runs import jsonvalue
from runs.errors import HoldfastError
from runs.forks.selectors import MAX_STATE, ForkPage
from runs.forks.services import AS_SAVED
from runs.forms import MAX_REASON, ErrorsForm

#: A state that is longer is edited over HTTP.
_LONGEST = 2 * MAX_STATE


class ForkForm(ErrorsForm):
    """The state at the beginning, and why."""

    state = forms.CharField(
        required=False,
        max_length=_LONGEST,
        widget=forms.Textarea({"rows": 8, "class": "code-input", "spellcheck": "false", "autocomplete": "off"}),
        help_text="JSON that current_run().state is at the beginning. Empty: as it was saved.",
    )
    reason = forms.CharField(required=False, max_length=MAX_REASON)

    @classmethod
    def of(cls, page: ForkPage) -> ForkForm:
        text = pretty_json(page.state) if page.has_state else ""
        return cls(initial={"state": text if len(text) <= MAX_STATE else ""})

    def clean_state(self) -> Any:
        text = self.cleaned_data["state"].strip()
        if not text:
            return AS_SAVED
        try:
            return jsonvalue.parse(text.encode("utf-8", "replace"))
        except HoldfastError as error:
            raise forms.ValidationError(str(error)) from None

    def asked(self, page: ForkPage) -> dict[str, Any]:
        """What the service is to be asked for: a state that was not touched is no edit."""
        state = self.cleaned_data["state"]
        kept = state is AS_SAVED or (page.has_state and state == redacted(page.state))
        return {"reason": self.cleaned_data["reason"], **({} if kept else {"state": state})}

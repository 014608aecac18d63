"""The form with which a group of errors is snoozed. What fits is for the services to say."""

from __future__ import annotations

from django import forms

from runs.forms import MAX_REASON, PLAIN, ErrorsForm
from runs.snoozing import DURATIONS


class SnoozeForm(ErrorsForm):
    """Until a time, or a number of failed tries, whichever comes first."""

    duration = forms.ChoiceField(label="For", choices=[*DURATIONS, ("", "no set time")], required=False, initial="1d")
    tries = forms.CharField(
        label="Or until it has failed so often again",
        required=False,
        max_length=20,
        widget=forms.TextInput({**PLAIN, "inputmode": "numeric"}),
    )
    reason = forms.CharField(required=False, max_length=MAX_REASON)

    def clean_tries(self) -> int | None:
        text = self.cleaned_data["tries"].strip().replace(",", "")
        if not text:
            return None
        if not (text.isascii() and text.isdecimal() and len(text) <= 15):
            raise forms.ValidationError(f"is {text[:60]!r}; write a whole number.")
        return int(text)

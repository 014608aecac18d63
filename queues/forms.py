"""Forms of the page Queues."""

from __future__ import annotations

from typing import Any

from django import forms

from queues.declare import LIMIT_WORDS, MAX_LIMIT
from queues.rate import RATE_WORDS, Rate, RateError

_WRONG = f"Write a whole number from 1 to {MAX_LIMIT:,}, or leave it empty for no limit."


class RateField(forms.CharField):
    """A rate in words: `10 per minute`; empty for none."""

    def __init__(self, **options: Any) -> None:
        widget = forms.TextInput({"autocomplete": "off", "size": 14, "title": RATE_WORDS})
        super().__init__(required=False, max_length=60, widget=widget, **options)

    def clean(self, value: Any) -> Rate | None:
        text = super().clean(value)
        try:
            return Rate.parse(text) if text else None
        except RateError as error:
            raise forms.ValidationError(f"{RATE_WORDS[0].upper()}{RATE_WORDS[1:]}: this {error}.") from None


def _limit_field(label: str) -> forms.IntegerField:
    return forms.IntegerField(
        min_value=1,
        max_value=MAX_LIMIT,
        required=False,
        label=label,
        # Text, so that the browser lets the server say what is wrong.
        widget=forms.TextInput({"inputmode": "numeric", "autocomplete": "off", "size": 7, "title": LIMIT_WORDS}),
        error_messages={"invalid": _WRONG, "min_value": _WRONG, "max_value": _WRONG},
    )


class LimitForm(forms.Form):
    """A queue's limits, edited in its row."""

    concurrency_limit = _limit_field("Limit")
    key_concurrency_limit = _limit_field("Of each key")
    rate = RateField(label="Rate", help_text="Starts in any window of time, such as 10 per minute.")

    @property
    def asked(self) -> dict[str, Any]:
        """What was sent, and only that."""
        return {name: self.cleaned_data[name] for name in self.fields if name in self.data}


class PauseForm(forms.Form):
    """Why a queue is paused."""

    reason = forms.CharField(max_length=500, required=False, label="Reason")

    def add_refusal(self, errors: Any) -> None:
        """Puts a service's {field, message} pairs at their fields."""
        for error in errors:
            self.add_error(error["field"] if error["field"] in self.fields else None, error["message"])

"""Forms of the page Queues."""

from __future__ import annotations

from typing import Any

from django import forms

from queues.declare import LIMIT_WORDS, MAX_LIMIT

_WRONG = f"Write a whole number from 1 to {MAX_LIMIT:,}, or leave it empty for no limit."


class LimitForm(forms.Form):
    """A queue's concurrency limit, edited in its row."""

    concurrency_limit = forms.IntegerField(
        min_value=1,
        max_value=MAX_LIMIT,
        required=False,
        label="Limit",
        # Text, so that the browser lets the server say what is wrong.
        widget=forms.TextInput({"inputmode": "numeric", "autocomplete": "off", "size": 7, "title": LIMIT_WORDS}),
        error_messages={"invalid": _WRONG, "min_value": _WRONG, "max_value": _WRONG},
    )


class PauseForm(forms.Form):
    """Why a queue is paused."""

    reason = forms.CharField(max_length=500, required=False, label="Reason")

    def add_refusal(self, errors: Any) -> None:
        """Puts a service's {field, message} pairs at their fields."""
        for error in errors:
            self.add_error(error["field"] if error["field"] in self.fields else None, error["message"])

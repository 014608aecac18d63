"""Forms of the pages of runs."""

from __future__ import annotations

from typing import Any

from django import forms

from runs.sdk.options import MAX_DELAY, MAX_KEY, MAX_TAG, MAX_TAGS, PRIORITIES
from runs.sdk.retry import MAX_ATTEMPTS


class OptionsForm(forms.Form):
    """How a run is enqueued. What is left empty is as the task declares it."""

    prefix = "options"

    queue_name = forms.CharField(
        label="Queue", max_length=MAX_KEY, required=False, help_text="Instead of the task's own."
    )
    priority = forms.IntegerField(
        min_value=min(PRIORITIES),
        max_value=max(PRIORITIES),
        required=False,
        help_text="-100 to 100; higher starts first.",
    )
    delay = forms.FloatField(
        label="Delay", min_value=0, max_value=MAX_DELAY, required=False, help_text="Seconds before it may start."
    )
    max_attempts = forms.IntegerField(
        label="Attempts", min_value=1, max_value=MAX_ATTEMPTS, required=False, help_text="At most so many tries in all."
    )
    tags = forms.CharField(
        max_length=MAX_TAGS * (MAX_TAG + 2), required=False, help_text="Words to find the run by, with commas between."
    )
    idempotency_key = forms.CharField(
        label="Idempotency key",
        max_length=MAX_KEY,
        required=False,
        help_text="The same key starts one run in 24 hours.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Numbers as text, so that the browser lets the server say what is wrong, and at which field.
        for name in ("priority", "delay", "max_attempts"):
            self.fields[name].widget = forms.TextInput({"inputmode": "decimal" if name == "delay" else "numeric"})

    def clean_tags(self) -> list[str]:
        return [tag.strip() for tag in self.cleaned_data["tags"].split(",") if tag.strip()]

    def chosen(self) -> dict[str, Any]:
        """The options that were given, as `services.task_enqueue` takes them."""
        return {name: value for name, value in self.cleaned_data.items() if value not in (None, "", [])}

"""Forms of the pages of runs, and what the forms of other pages share."""

from __future__ import annotations

from typing import Any, Final

from django import forms

from holdfast.access.errors import AccessError, InvalidInput
from runs.errors import HoldfastError, UnknownTask
from runs.sdk.options import MAX_DELAY, MAX_KEY, MAX_TAG, MAX_TAGS, PRIORITIES
from runs.sdk.retry import MAX_ATTEMPTS

#: Characters of a reason that a page takes.
MAX_REASON: Final = 500
#: Attributes of fields in which a browser has nothing to suggest.
PLAIN: Final = {"autocomplete": "off", "spellcheck": "false"}


class ErrorsForm(forms.Form):
    """A form that shows what a service refuses."""

    def add_refusal(self, error: HoldfastError | AccessError) -> None:
        """Puts the error's {field, message} pairs at their fields; the rest stands above."""
        for fault in _faults(error):
            name = str(fault["field"]).partition(".")[0].partition("[")[0]
            at = name if name in self.fields else None
            inside = str(fault["field"]) if at and fault["field"] != name else ""
            self.add_error(at, f"{inside} {fault['message']}".strip() if at else str(error))

    @property
    def refusal(self) -> str:
        """The first thing that is wrong, with its field."""
        name, faults = next(iter(self.errors.items()))
        label: Any = self.fields[name].label if name in self.fields else ""
        return f"{label or name.capitalize()}: {faults[0]}"


class ReasonForm(ErrorsForm):
    """Why somebody does it."""

    reason = forms.CharField(required=False, max_length=MAX_REASON)


def _faults(error: HoldfastError | AccessError) -> list[dict[str, Any]]:
    if isinstance(error, InvalidInput):
        return [{"field": error.field, "message": error.problem}]
    if isinstance(error, UnknownTask):  # its text has the names nearest to it
        return [{"field": "task_id", "message": str(error)}]
    data = error.data if isinstance(error, HoldfastError) else {}
    return data.get("errors") or [{"field": "", "message": str(error)}]


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
        help_text="-100 to 100; a point counts as a minute of waiting.",
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

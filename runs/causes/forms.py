"""The form with which a cause is snoozed. What fits is for the services to say."""

from __future__ import annotations

from django import forms

from runs.forms import MAX_REASON, ErrorsForm
from runs.snoozing import DURATIONS


class SnoozeForm(ErrorsForm):
    """For how long, and why."""

    duration = forms.ChoiceField(label="For", choices=DURATIONS, initial="1h")
    reason = forms.CharField(required=False, max_length=MAX_REASON)

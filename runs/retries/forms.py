"""The form of a next attempt that is to begin later."""

from __future__ import annotations

from django import forms

from runs.forms import MAX_REASON, ErrorsForm


class PostponeForm(ErrorsForm):
    """When, and why. The service checks the seconds."""

    delay = forms.CharField(max_length=20)
    reason = forms.CharField(required=False, max_length=MAX_REASON)

"""The backend of `django.tasks`: functions decorated with django-tasks' `@task` are executed as runs.

    TASKS = {"default": {"BACKEND": "runs.djangotasks.HoldfastBackend"}}

It needs the package `django-tasks` (the extra of that name); nothing else of Holdfast imports it. See
`platform/docs/django-tasks.md`.
"""

from runs.djangotasks.backend import HoldfastBackend

__all__ = ["HoldfastBackend"]

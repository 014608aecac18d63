"""Receivers of django-tasks' signals, which write into the ledger."""

from __future__ import annotations

from typing import Any

from django.dispatch import receiver
from django_tasks import TaskResult
from django_tasks.signals import task_finished, task_started

from tests.support.ledger import note


@receiver([task_started])
def started(sender: type, task_result: TaskResult[Any], **kwargs: Any) -> None:
    _note("started", sender, task_result)


@receiver([task_finished])
def finished(sender: type, task_result: TaskResult[Any], **kwargs: Any) -> None:
    _note("finished", sender, task_result)
    raise RuntimeError("a receiver's own mistake")


def _note(word: str, sender: type, result: TaskResult[Any]) -> None:
    errors = ",".join(e.exception_class_path for e in result.errors) or "-"
    note(word, sender.__name__, result.task.name, result.status, result.attempts, errors)

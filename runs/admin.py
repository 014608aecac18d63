"""Runs in Django's admin, for reading: what may be done to a run is done on its page or through the API."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.urls import reverse
from django.utils.html import format_html_join

from holdfast.access.admin import ReadOnlyAdmin
from holdfast.bigtables import BigTableAdmin, is_uuid
from runs.models import Attempt, IdempotencyKey, LogLine, Rollup, Run, Snapshot, Task


@admin.register(Task)
class TaskAdmin(ReadOnlyAdmin):
    list_display = ("id", "queue", "lane", "max_duration", "version", "registered_at")
    list_select_related = ("queue",)
    search_fields = ("id", "module")
    list_per_page = 100


@admin.register(Run)
class RunAdmin(BigTableAdmin):
    list_display = ("id", "task_id", "queue", "status", "attempt", "created_at", "finished_at")
    list_select_related = ("queue",)
    list_filter = ("status",)
    ordering = ("-id",)
    heavy = ("payload", "output", "error", "waiting_for")
    search_help_text = "A run's id (also of its parent), or a task's id."
    found_by = ("pk", "parent_id")
    readonly_fields = ("parts",)

    def get_fields(self, request: Any, obj: Any = None) -> list[Any]:
        return ["parts", *super().get_fields(request, obj)]

    def search(self, queryset: QuerySet[Any], term: str) -> QuerySet[Any]:
        return super().search(queryset, term) if is_uuid(term) else queryset.filter(task_id=term)

    def view_on_site(self, obj: Run) -> str:
        return reverse("runs:run", args=(obj.pk,))

    @admin.display(description="parts")
    def parts(self, run: Run) -> str:
        """Links to what belongs to the run."""
        models = (Attempt, Snapshot, LogLine)
        links = ((reverse(f"admin:runs_{m._meta.model_name}_changelist"), run.pk, m._meta.verbose_name) for m in models)
        return format_html_join(" · ", '<a href="{}?q={}">{}s</a>', links)


@admin.register(Attempt)
class AttemptAdmin(BigTableAdmin):
    list_display = ("run_id", "number", "status", "worker", "started_at", "finished_at", "overlap_at")
    list_select_related = ("worker",)
    ordering = ("-id",)
    heavy = ("error",)


@admin.register(Snapshot)
class SnapshotAdmin(BigTableAdmin):
    list_display = ("run_id", "sequence", "kind", "name", "attempt", "started_at", "finished_at")
    ordering = ("-id",)
    heavy = ("input", "output", "state", "error")


@admin.register(LogLine)
class LogLineAdmin(BigTableAdmin):
    list_display = ("sequence", "run_id", "at", "level", "short", "attempt", "step")
    ordering = ("-sequence",)
    heavy = ("fields",)

    @admin.display(description="message")
    def short(self, line: LogLine) -> str:
        """The beginning of the message."""
        return line.message[:200]


@admin.register(IdempotencyKey)
class IdempotencyKeyAdmin(BigTableAdmin):
    list_display = ("task_id", "key", "run_id", "created_at")
    ordering = ("-id",)


@admin.register(Rollup)
class RollupAdmin(BigTableAdmin):
    list_display = ("minute", "kind", "task_id", "name", "status", "bucket", "count", "seconds")
    ordering = ("-id",)
    search_help_text = "A task's id."

    def search(self, queryset: QuerySet[Any], term: str) -> QuerySet[Any]:
        return queryset.filter(task_id=term)

"""`manage.py schedule`: the scheduler."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from runs.engine import upkeep


class Command(BaseCommand):
    requires_system_checks = ()  # they load the pages, which a scheduler has no use for
    help = "Runs the scheduler: timers, lost wake-ups, dead workers, partitions. Several may run side by side."

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write("scheduler at work")
        upkeep.poller().run()

"""`manage.py schedule`: the scheduler."""

from __future__ import annotations

import logging
from typing import Any

from django.core.management.base import BaseCommand

from holdfast.errors import ConfigError
from runs import discovery
from runs.engine import upkeep

logger = logging.getLogger("holdfast.schedule")


class Command(BaseCommand):
    requires_system_checks = ()  # they load the pages, which a scheduler has no use for
    help = "Runs the scheduler: timers, lost wake-ups, dead workers, partitions. Several may run side by side."

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            discovery.discover()
        except ConfigError as error:
            # What flows must not stand still because a module of tasks cannot be imported: a worker says the same.
            logger.error("%s Until then schedules of its tasks begin no runs; all else goes on.", error)
        self.stdout.write("scheduler at work")
        upkeep.poller().run()

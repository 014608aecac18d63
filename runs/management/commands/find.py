"""`manage.py find TEXT`."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from pydantic_core import to_json

from holdfast.access.grants import Actor
from holdfast.management.verbs import MISTAKE
from runs import finding
from runs.errors import InvalidFilter


class Command(BaseCommand):
    help = "Finds tasks, queues, workers, schedules, webhooks, and runs by id, idempotency key, key or tag."
    requires_system_checks: tuple[str, ...] = ()  # they load the pages

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("text", help="A part of a name; a tag or key; a run's id, or how it begins.")
        parser.add_argument("--json", action="store_true", help="Print JSON.")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            hits = finding.find(options["text"], Actor.local())
        except InvalidFilter as error:
            raise CommandError(str(error), returncode=MISTAKE) from None
        if options["json"]:
            self.stdout.write(to_json(finding.as_json(hits)).decode())
            return
        width = max(len(hit.text) for hit in hits)
        for hit in hits:
            self.stdout.write(f"{hit.text.ljust(width)}  {hit.note}  {hit.url}")

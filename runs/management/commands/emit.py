"""`manage.py emit NAME JSON`: an event, from the command line."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from pydantic_core import to_json

from holdfast.access.grants import Actor
from runs import discovery, selectors, services
from runs.errors import HoldfastError
from runs.management.commands.enqueue import read_json


class Command(BaseCommand):
    help = "Starts a run of each task that subscribes to an event."
    requires_system_checks: tuple[str, ...] = ()  # they load the pages

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", help="The event's name, such as order.paid.")
        parser.add_argument(
            "payload", nargs="?", default="{}", metavar="JSON", help="Its fields, as a JSON object; - reads stdin."
        )
        parser.add_argument("--idempotency-key", metavar="KEY", help="The same key starts the same runs only once.")
        parser.add_argument("--json", action="store_true", help="Print the runs as JSON.")

    def handle(self, *args: Any, **options: Any) -> None:
        discovery.discover()
        key = options["idempotency_key"]
        chosen = {} if key is None else {"idempotency_key": key}
        try:
            payload = read_json(options["payload"])
            ids = services.event_emit(options["name"], payload, chosen, actor=Actor.local())
        except HoldfastError as error:
            raise CommandError(" ".join(str(error).split()), returncode=2) from None
        runs = selectors.runs_get(ids)
        if options["json"]:
            self.stdout.write(to_json({"items": [{"id": run.id, "task": run.task_id} for run in runs]}).decode())
            return
        for run in runs:
            self.stdout.write(f"{run.id}  {run.task_id} is {run.status} in queue {run.queue.name}.")
        if not runs:
            self.stdout.write(f"No task subscribes to {options['name']}: @task(events=[…]) does.")

"""`manage.py enqueue TASK JSON`: starts a run from the command line."""

import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from pydantic_core import to_json

from holdfast.access.grants import Actor
from runs import jsonvalue, registration, selectors, services
from runs.errors import HoldfastError

_OPTIONS = ("queue_name", "priority", "run_after", "delay", "idempotency_key", "concurrency_key", "max_attempts")


class Command(BaseCommand):
    help = "Starts a run of a task."
    requires_system_checks: tuple[str, ...] = ()  # they load the pages

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("task", help="The task's id.")
        parser.add_argument(
            "payload", nargs="?", default="{}", metavar="JSON", help="Its parameters, as a JSON object; - reads stdin."
        )
        parser.add_argument("--queue", dest="queue_name", metavar="NAME", help="Another queue than the task's.")
        parser.add_argument("--priority", type=int, metavar="N", help="-100 to 100; higher starts earlier.")
        parser.add_argument("--delay", type=float, metavar="SECONDS", help="Start so much later.")
        parser.add_argument("--run-after", metavar="TIME", help="Start then, such as 2026-01-31T09:00:00Z.")
        parser.add_argument("--idempotency-key", metavar="KEY", help="The same key starts the same run only once.")
        parser.add_argument("--concurrency-key", metavar="KEY", help="Runs with one key share the limit per key.")
        parser.add_argument("--max-attempts", type=int, metavar="N", help="Instead of the task's own.")
        parser.add_argument("--tag", action="append", dest="tags", metavar="TAG", help="May be repeated.")
        parser.add_argument("--json", action="store_true", help="Print the run as JSON.")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            self._enqueue(options)
        except HoldfastError as error:
            raise CommandError(" ".join(str(error).split()), returncode=2) from None

    def _enqueue(self, options: dict[str, Any]) -> None:
        from runs.api.schemas import RunOut

        registration.discover()
        payload = read_json(options["payload"])
        chosen = {name: options[name] for name in (*_OPTIONS, "tags") if options[name] is not None}
        run_id, created = services.task_enqueue(options["task"], payload, chosen, actor=Actor.local())
        run = selectors.run_get(run_id)
        if options["json"]:
            self.stdout.write(to_json(RunOut.of(run).model_dump()).decode())
        elif created:
            self.stdout.write(f"{run_id}  {run.task_id} is {run.status} in queue {run.queue.name}.")
        else:
            self.stdout.write(f"{run_id}  {run.task_id} is {run.status}; this key started it before.")


def read_json(text: str) -> Any:
    """The value of a JSON argument; `-` reads it from stdin. Raises InvalidPayload."""
    # An argument that is not UTF-8 comes with surrogates; the reader says so.
    return jsonvalue.parse(sys.stdin.buffer.read() if text == "-" else text.encode("utf-8", "surrogateescape"))

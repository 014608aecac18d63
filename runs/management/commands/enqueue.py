"""`manage.py enqueue TASK JSON`: starts a run from the command line."""

import os
import stat
import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from typing import Any, BinaryIO

from django.core.management.base import BaseCommand, CommandError
from pydantic_core import to_json
from rich.console import Console
from rich.progress import Progress, TaskID

from holdfast.access.grants import Actor
from runs import batches, discovery, jsonvalue, selectors, services
from runs.errors import HoldfastError, InvalidPayload

_OPTIONS = (
    "queue_name",
    "priority",
    "run_after",
    "delay",
    "idempotency_key",
    "concurrency_key",
    "max_attempts",
    "units",
)


class Command(BaseCommand):
    help = "Starts a run of a task."
    requires_system_checks: tuple[str, ...] = ()  # they load the pages

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("task", help="The task's id.")
        parser.add_argument(
            "payload", nargs="?", default="{}", metavar="JSON", help="Its parameters, as a JSON object; - reads stdin."
        )
        add_options(parser)
        parser.add_argument(
            "--lines",
            metavar="FILE",
            help="Start a run of each line of FILE, {payload, options}; - reads stdin.",
        )
        parser.add_argument("--json", action="store_true", help="Print the run as JSON.")

    def handle(self, *args: Any, **options: Any) -> None:
        discovery.discover()
        try:
            if options["lines"] is not None:
                self._enqueue_lines(options)
            else:
                self._enqueue(options)
        except HoldfastError as error:
            raise CommandError(" ".join(str(error).split()), returncode=2) from None

    def _enqueue(self, options: dict[str, Any]) -> None:
        from runs.api.schemas import RunOut

        payload = read_json(options["payload"])
        run_id, created = services.task_enqueue(options["task"], payload, chosen(options), actor=Actor.local())
        run = selectors.run_get(run_id)
        if options["json"]:
            self.stdout.write(to_json(RunOut.of(run).model_dump()).decode())
        elif created:
            self.stdout.write(f"{run_id}  {run.task_id} is {run.status} in queue {run.queue.name}.")
        else:
            self.stdout.write(f"{run_id}  {run.task_id} is {run.status}; this key started it before.")

    def _enqueue_lines(self, options: dict[str, Any]) -> None:
        """Says what could not be stored, line by line; exits with 1 when there was any such line."""
        task, key = services.task_get(options["task"]), options["idempotency_key"]
        batches.check_key(key)
        lines = created = refused = 0
        with (
            _opened(options["lines"]) as file,
            Progress(console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True) as progress,
        ):
            bar = progress.add_task("Enqueueing", total=_size(file))
            for part in batches.store_lines(task, _counted(file, progress, bar), key):
                lines, created, refused = part.last, created + part.created, refused + len(part.refused)
                for number, error in part.refused:
                    self.stderr.write(f"line {number}: {' '.join(str(error).split())}")
                if options["json"]:
                    self.stdout.write(to_json({"lines": [part.first, part.last], "runs": part.runs}).decode())
        if not options["json"]:
            self.stdout.write(f"{lines:,} lines: {created:,} new runs of {task.id}, {refused:,} refused.")
        if refused:
            raise CommandError(f"{refused:,} lines were refused; nothing was stored of them.", returncode=1)


def add_options(parser: ArgumentParser) -> None:
    """The options of a run, for whatever starts one."""
    parser.add_argument("--queue", dest="queue_name", metavar="NAME", help="Another queue than the task's.")
    parser.add_argument("--priority", type=int, metavar="N", help="-100 to 100; higher starts earlier.")
    parser.add_argument("--delay", type=float, metavar="SECONDS", help="Start so much later.")
    parser.add_argument("--run-after", metavar="TIME", help="Start then, such as 2026-01-31T09:00:00Z.")
    parser.add_argument("--idempotency-key", metavar="KEY", help="The same key starts the same run only once.")
    parser.add_argument("--concurrency-key", metavar="KEY", help="Runs with one key share the limit per key.")
    parser.add_argument("--max-attempts", type=int, metavar="N", help="Instead of the task's own.")
    parser.add_argument("--units", type=int, metavar="N", help="What it counts in a rate that has a unit.")
    parser.add_argument("--tag", action="append", dest="tags", metavar="TAG", help="May be repeated.")


def chosen(options: dict[str, Any]) -> dict[str, Any]:
    """Those that were given, as the services take them."""
    return {name: options[name] for name in (*_OPTIONS, "tags") if options[name] is not None}


def _opened(name: str) -> BinaryIO:
    """Raises InvalidPayload for a file that cannot be read."""
    if name == "-":
        return sys.stdin.buffer
    try:
        return open(name, "rb")
    except OSError as error:
        raise InvalidPayload(f"--lines {name}: {error.strerror}") from None


def _size(file: BinaryIO) -> int | None:
    """Bytes of a file; None for what has no size."""
    found = os.fstat(file.fileno())
    return found.st_size if stat.S_ISREG(found.st_mode) else None


def _counted(file: BinaryIO, progress: Progress, bar: TaskID) -> Iterator[bytes]:
    for line in file:
        progress.advance(bar, len(line))
        yield line


def read_json(text: str) -> Any:
    """The value of a JSON argument; `-` reads it from stdin. Raises InvalidPayload."""
    # An argument that is not UTF-8 comes with surrogates; the reader says so.
    return jsonvalue.parse(sys.stdin.buffer.read() if text == "-" else text.encode("utf-8", "surrogateescape"))

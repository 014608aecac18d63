"""`manage.py work`: a worker, or with --max as many as there is work for."""

from __future__ import annotations

import logging
import os
import socket
from typing import Any

import psycopg
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from rq import Queue
from rq.logutils import setup_loghandlers

from queues import tickets
from queues.naming import NAME
from queues.scaling import Bounds
from queues.workforce import Workforce
from runs.engine.worker import ShiftWorker
from runs.errors import HoldfastError
from runs.sdk.options import is_word

#: Options that say how many workers there are, and what each must be.
SCALING = ("min", "max", "cooldown")
#: Characters of a worker's name: what its row holds.
MAX_NAME = 200


class Command(BaseCommand):
    requires_system_checks = ()  # they load the pages, which a worker has no use for
    help = (
        "Runs a worker: it executes the runs of its pools until it is stopped (Ctrl-C or SIGTERM). "
        "With --max it runs as many worker processes as there is work for."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--pool", action="append", dest="pools", metavar="POOL", help="A pool to serve; may be repeated (default)."
        )
        parser.add_argument("--name", help="What the worker is called; host and process id unless given.")
        parser.add_argument("--burst", action="store_true", help="End when there is nothing left to do.")
        # Read here and not by argparse, which would add its usage to what is said about a mistake.
        parser.add_argument("--max", metavar="N", help="At most so many workers, by what waits in their queues.")
        parser.add_argument("--min", metavar="N", help="At least so many of them (1).")
        parser.add_argument(
            "--cooldown", metavar="SECONDS", help="Drain a worker when nothing has had to wait for so long (30)."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        pools = list(dict.fromkeys(options["pools"] or ["default"]))
        for pool in pools:
            if not NAME.fullmatch(pool):
                raise CommandError(f"--pool {pool!r}: use letters, digits, dots, dashes or underscores", returncode=2)
        if any(options[name] is not None for name in SCALING):
            self._work_scaled(pools, options)
        else:
            self._work(pools, options)

    def _work_scaled(self, pools: list[str], options: dict[str, Any]) -> None:
        try:
            bounds = _bounds(options)
        except ValueError as error:
            raise CommandError(str(error), returncode=2) from None
        words = ["--verbosity", str(options["verbosity"])]
        if code := Workforce(pools, bounds, grace=settings.HOLDFAST_GRACE, words=words).run():
            raise SystemExit(code)

    def _work(self, pools: list[str], options: dict[str, Any]) -> None:
        name = options["name"] or f"{socket.gethostname()}-{os.getpid()}"
        if not is_word(name, MAX_NAME):
            raise CommandError(f"--name {name[:40]!r}: write 1 to {MAX_NAME} characters of UTF-8.", returncode=2)
        level = "DEBUG" if options["verbosity"] > 1 else "WARNING"
        setup_loghandlers(level)
        logging.getLogger("rq.worker").setLevel(level)
        connection = tickets.blocking_connection()
        worker = ShiftWorker(
            [Queue(pool, connection=connection) for pool in pools],
            name=name,
            connection=connection,
        )
        self.stdout.write(f"worker {worker.name} serves {', '.join(pools)}")
        try:
            worker.work(burst=options["burst"], logging_level=level)
        except HoldfastError as error:
            raise CommandError(str(error), returncode=2) from None
        except psycopg.OperationalError as error:
            raise CommandError(f"PostgreSQL cannot be reached: {str(error).strip().splitlines()[0]}") from None
        if worker.engine is not None and worker.engine.fenced:
            raise CommandError("This worker had been declared lost; start it again.", returncode=3)


def _bounds(options: dict[str, Any]) -> Bounds:
    """What the options say. Raises ValueError with one line that says what to write."""
    if options["max"] is None:
        raise ValueError("--max is missing: say how many workers there may be at most, as in `--min 1 --max 8`.")
    for name in ("name", "burst"):
        if options[name]:
            raise ValueError(f"--{name} is for a single worker: leave it out, or --min and --max.")
    least, most = (_whole(f"--{name}", options[name] if options[name] is not None else "1") for name in ("min", "max"))
    if options["cooldown"] is None:
        return Bounds(least, most)
    try:
        cooldown = float(options["cooldown"])
    except ValueError:
        raise ValueError(f"--cooldown {str(options['cooldown'])[:40]}: write seconds, as in `--cooldown 60`.") from None
    return Bounds(least, most, cooldown)


def _whole(option: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{option} {str(text)[:40]}: write a whole number of workers, as in `{option} 4`.") from None

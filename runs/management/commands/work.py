"""`manage.py work`: a worker."""

from __future__ import annotations

import logging
import os
import socket
from typing import Any

import psycopg
from django.core.management.base import BaseCommand, CommandError, CommandParser
from rq import Queue
from rq.logutils import setup_loghandlers

from queues import tickets
from queues.declare import NAME
from runs.engine.worker import ShiftWorker
from runs.errors import HoldfastError


class Command(BaseCommand):
    requires_system_checks = ()  # they load the pages, which a worker has no use for
    help = "Runs a worker: it executes the runs of its pools until it is stopped (Ctrl-C or SIGTERM)."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--pool", action="append", dest="pools", metavar="POOL", help="A pool to serve; may be repeated (default)."
        )
        parser.add_argument("--name", help="What the worker is called; host and process id unless given.")
        parser.add_argument("--burst", action="store_true", help="End when there is nothing left to do.")

    def handle(self, *args: Any, **options: Any) -> None:
        pools = options["pools"] or ["default"]
        for pool in pools:
            if not NAME.fullmatch(pool):
                raise CommandError(f"--pool {pool!r}: use letters, digits, dots, dashes or underscores", returncode=2)
        level = "DEBUG" if options["verbosity"] > 1 else "WARNING"
        setup_loghandlers(level)
        logging.getLogger("rq.worker").setLevel(level)
        connection = tickets.blocking_connection()
        worker = ShiftWorker(
            [Queue(pool, connection=connection) for pool in pools],
            name=options["name"] or f"{socket.gethostname()}-{os.getpid()}",
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

"""`manage.py up`: everything on this machine, in one terminal."""

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from holdfast import cli, env
from holdfast.sockets import LAST_PORT
from holdfast.supervisor.up import Up

MAX_WORKERS = 256


class Command(BaseCommand):
    help = "Starts the servers (unless DATABASE_URL and REDIS_URL name others), the web, workers and the scheduler."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="The address to listen on (127.0.0.1).")
        parser.add_argument(
            "--port", type=int, default=8000, help="The port to listen on, or the next free one (8000)."
        )
        parser.add_argument("--workers", type=int, default=2, help="How many worker processes to run (2).")
        cli.add_up_options(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        if not 0 <= options["workers"] <= MAX_WORKERS:
            raise CommandError(f"--workers: write a number from 0 to {MAX_WORKERS}.", returncode=2)
        if not 0 <= options["port"] <= LAST_PORT:
            raise CommandError(f"--port: write a number from 0 to {LAST_PORT}.", returncode=2)
        up = Up(
            env.load(),
            host=options["host"],
            port=options["port"],
            workers=options["workers"],
            grace=settings.HOLDFAST_GRACE,
        )
        if code := up.run():
            raise SystemExit(code)

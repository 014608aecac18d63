"""`manage.py seed`: a history that never happened, for a look around."""

import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from rich.console import Console
from rich.progress import Progress

from holdfast.access.grants import Actor
from holdfast.demo.history import services
from holdfast.demo.history.rows import moment
from runs.errors import HoldfastError

DAYS, RUNS, SEED = 21, 200_000, 7
SMALL_DAYS, SMALL_RUNS = 7, 2_000


class Command(BaseCommand):
    help = "Makes up weeks of runs with an outage, a bad deploy and a noisy tenant, for a look around and for tests."
    requires_system_checks: tuple[str, ...] = ()  # they load the pages

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--days", type=int, metavar="N", help=f"How far it goes back; {DAYS} unless given.")
        parser.add_argument("--runs", type=int, metavar="N", help=f"About so many runs; {RUNS:,} unless given.")
        parser.add_argument("--seed", type=int, default=SEED, metavar="N", help="Another number is another history.")
        parser.add_argument("--small", action="store_true", help=f"{SMALL_RUNS:,} runs in {SMALL_DAYS} days.")
        parser.add_argument("--add", action="store_true", help="Although there are runs that were not made up.")
        parser.add_argument("--remove", action="store_true", help="Take away what was made up, and nothing else.")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            if options["remove"]:
                self._remove()
            else:
                self._seed(options)
        except HoldfastError as error:
            raise CommandError(" ".join(str(error).split()), returncode=2) from None

    def _seed(self, options: dict[str, Any]) -> None:
        days = options["days"] if options["days"] is not None else SMALL_DAYS if options["small"] else DAYS
        runs = options["runs"] if options["runs"] is not None else SMALL_RUNS if options["small"] else RUNS
        shown = Progress(console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True)
        with shown as progress:
            bar = progress.add_task("Making history", total=runs)
            plan, written = services.history_seed(
                days=days,
                runs=runs,
                seed=options["seed"],
                add=options["add"],
                actor=Actor.local(),
                told=lambda count: progress.advance(bar, count),
            )
        self.stdout.write(
            f"{written:,} runs of {days} days, all over. What a reader should find in them (times in UTC):"
        )
        for incident in plan.incidents.all:
            span = f"{moment(incident.start):%Y-%m-%d %H:%M} to {moment(incident.end):%H:%M}"
            self.stdout.write(f"  {span}  {incident.name}: {incident.finding}")
        self.stdout.write("manage.py seed --remove takes it away again.")

    def _remove(self) -> None:
        runs = services.history_remove(actor=Actor.local())
        self.stdout.write(f"{runs:,} runs are gone." if runs else "There is no seeded history.")

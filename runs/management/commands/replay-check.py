"""`manage.py replay-check`: before a rollout, whether the runs in flight fit this checkout's code."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Iterator
from itertools import zip_longest
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError
from pydantic_core import to_json
from rich.console import Console
from rich.progress import Progress

from runs import discovery, services
from runs.engine.rehearsal import TIME, Verdict, silence
from runs.engine.replaycheck import candidates, check
from runs.errors import HoldfastError
from runs.models import Run
from runs.sdk.options import is_word

SAMPLE = 10
#: The ids of all of them are held at once, before the first is replayed.
MAX_SAMPLE = 100_000
MAX_TIME = 3600.0


class Command(BaseCommand):
    help = (
        "Replays runs against the code of this checkout and executes nothing of them: all runs in flight, and the last "
        "completed ones of each task. Exit code 1 when one does not fit."
    )
    requires_system_checks: tuple[str, ...] = ()  # they load the pages

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--task", metavar="ID", help="Only runs of this task.")
        parser.add_argument(
            "--sample", type=int, default=SAMPLE, metavar="N", help=f"Completed runs of each task ({SAMPLE})."
        )
        parser.add_argument(
            "--time-limit", type=float, default=TIME, metavar="SECONDS", help=f"For one replay ({TIME:g})."
        )
        parser.add_argument("--json", action="store_true", help="Print the report as JSON.")

    def handle(self, *args: Any, **options: Any) -> None:
        _check(options)
        discovery.discover()
        task_id = options["task"]
        try:
            if task_id is not None and not Run.objects.filter(task_id=task_id).exists():
                services.task_get(task_id)
        except HoldfastError as error:
            raise CommandError(" ".join(str(error).split()), returncode=2) from None
        ids = candidates(task_id, options["sample"])
        with silence():
            verdicts = list(self._followed(ids, options["time_limit"]))
        if options["json"]:
            self.stdout.write(to_json(_report(verdicts)).decode())
        else:
            self._tell(verdicts)
        if any(verdict.outcome == "incompatible" for verdict in verdicts):
            self.stdout.flush()
            sys.exit(1)

    def _followed(self, ids: list[UUID], limit: float) -> Iterator[Verdict]:
        """The verdicts, with a progress bar where somebody looks on."""
        console = Console(stderr=True)
        with Progress(console=console, disable=not console.is_terminal, transient=True) as progress:
            bar = progress.add_task("Replaying", total=len(ids))
            for verdict in check(ids, time=limit):
                progress.advance(bar)
                if verdict is not None:
                    yield verdict

    def _tell(self, verdicts: list[Verdict]) -> None:
        for verdict in verdicts:
            if verdict.outcome != "compatible":
                self.stdout.write(f"{verdict.run}  {verdict.task} is {verdict.outcome}: {verdict.what}")
            if verdict.expected or verdict.asked:
                width = max(map(len, ("EXPECTED", *verdict.expected)))
                rows = zip_longest(("EXPECTED", *verdict.expected), ("ASKED", *verdict.asked), fillvalue="–")
                for expected, asked in rows:
                    mark = " " if expected == asked or expected == "EXPECTED" else "≠"
                    self.stdout.write(f"    {mark} {expected.ljust(width)}  {asked}")
        counts = Counter(verdict.outcome for verdict in verdicts)
        told = [f"{counts[name]:,} {name}" for name in ("compatible", "incompatible", "undecided") if counts[name]]
        self.stdout.write(f"{len(verdicts):,} runs replayed: {', '.join(told)}." if told else "No run has a history.")


def _check(options: dict[str, Any]) -> None:
    sample, limit, task_id = options["sample"], options["time_limit"], options["task"]
    if not 0 <= sample <= MAX_SAMPLE:
        raise CommandError(
            f"--sample {str(sample)[:40]}: write how many completed runs of each task, from 0 to {MAX_SAMPLE}.",
            returncode=2,
        )
    if not 0 < limit <= MAX_TIME:
        raise CommandError(
            f"--time-limit {limit:g}: write seconds, above 0 and up to {MAX_TIME:g}.",
            returncode=2,
        )
    if task_id is not None and not is_word(task_id, 200):
        raise CommandError(
            f"--task {task_id[:40]!r}: write the id of a task, as the page of tasks has it.", returncode=2
        )


def _report(verdicts: list[Verdict]) -> dict[str, Any]:
    def listed(outcome: str) -> list[dict[str, Any]]:
        return [
            {"run": v.run, "task": v.task, "what": v.what, "expected": v.expected, "asked": v.asked}
            for v in verdicts
            if v.outcome == outcome
        ]

    return {
        "replayed": len(verdicts),
        "compatible": sum(verdict.outcome == "compatible" for verdict in verdicts),
        "incompatible": listed("incompatible"),
        "undecided": listed("undecided"),
    }

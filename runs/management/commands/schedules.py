"""`manage.py schedules list|show|create|set|pause|resume|run|backfill|delete`."""

from __future__ import annotations

from typing import Any, ClassVar

from holdfast.access.errors import AccessError
from holdfast.access.grants import Actor
from holdfast.management.verbs import VerbCommand
from runs import discovery
from runs.errors import HoldfastError
from runs.management.commands.enqueue import read_json
from runs.schedules import selectors, services
from runs.schedules.backfill import backfill
from runs.schedules.choices import CatchUp, Overlap
from runs.schedules.model import Schedule


class Command(VerbCommand):
    help = "Shows schedules; makes, edits, pauses and runs them."
    mistakes: ClassVar = (HoldfastError, AccessError)

    def add_verbs(self, verbs: Any) -> None:
        verbs.add_parser("list", help="Show schedules with their next ticks.")
        show = verbs.add_parser("show", help="Show one with its next and its last ticks.")
        create = verbs.add_parser("create", help="Make a schedule.")
        change = verbs.add_parser("set", help="Change a schedule.")
        pause = verbs.add_parser("pause", help="Begin no run by it until it is resumed.")
        resume = verbs.add_parser("resume", help="Begin runs by it again.")
        run = verbs.add_parser("run", help="Begin a run now.")
        backfill = verbs.add_parser("backfill", help="Begin a run for each tick of a time that is over.")
        backfill.add_argument("--from", dest="start", required=True, metavar="TIME", help="Such as 2026-01-31T09:00Z.")
        backfill.add_argument("--to", dest="end", required=True, metavar="TIME", help="Included, as is --from.")
        delete = verbs.add_parser("delete", help="Delete a schedule; its runs stay.")
        for verb in (show, create, change, pause, resume, run, backfill, delete):
            verb.add_argument("name", help="The schedule's name.")
        for verb in (create, change, pause, resume, run, backfill, delete):
            verb.add_argument("--reason", default="", help="Why; kept in the audit log.")
        create.add_argument("task_id", metavar="task", help="The task's id.")
        change.add_argument("--task", dest="task_id", metavar="ID", help="Another task.")
        change.add_argument("--as-declared", action="store_true", default=None, help="Take all edits back.")
        for verb in (create, change):
            verb.add_argument("--payload", metavar="JSON", help="The task's parameters; - reads stdin.")
            timing = verb.add_mutually_exclusive_group(required=verb is create)
            timing.add_argument("--cron", metavar="FIELDS", help="Five fields, such as '0 6 * * 1-5'.")
            timing.add_argument("--every", type=float, metavar="SECONDS", help="An interval.")
            verb.add_argument("--timezone", metavar="ZONE", help="Such as Europe/Berlin; UTC unless given.")
            verb.add_argument("--catch-up", metavar="|".join(CatchUp.values), help="Which missed ticks begin a run.")
            verb.add_argument("--overlap", metavar="|".join(Overlap.values), help="While the run before goes on.")
            verb.add_argument("--jitter", type=float, metavar="SECONDS", help="Begin up to so much later.")

    def do_list(self, options: dict[str, Any]) -> None:
        found = selectors.schedules()
        if options["json"]:
            self.json([selectors.describe(schedule, whole=False) for schedule in found])
        elif found:
            self.table([("SCHEDULE", "TASK", "WHEN", "NEXT (UTC)"), *map(_row, found)])
        else:
            self.stdout.write("There is no schedule yet.")

    def do_show(self, options: dict[str, Any]) -> None:
        told = selectors.describe(selectors.schedule_get(options["name"]))
        if options["json"]:
            self.json(told)
            return
        for name, value in told.items():
            if value not in (None, [], "") and name not in ("upcoming", "ticks"):
                self.stdout.write(f"{name:<14}  {value}")
        for at in told["upcoming"]:
            self.stdout.write(f"next            {at:%Y-%m-%d %H:%M:%S} UTC")
        for tick in told["ticks"]:
            said = f" ({tick['why']})" if tick["why"] else ""
            self.stdout.write(f"tick            {tick['due_at']:%Y-%m-%d %H:%M:%S} UTC {tick['outcome']}{said}")

    def do_backfill(self, options: dict[str, Any]) -> None:
        discovery.discover()
        done = backfill(options["name"], options["start"], options["end"], Actor.local(), options["reason"])
        if options["json"]:
            self.json(done._asdict())
        else:
            self.stdout.write(f"{done.runs:,} runs are begun; {done.skipped:,} ticks had begun one before.")

    def do_create(self, options: dict[str, Any]) -> None:
        discovery.discover()
        made = services.schedule_create(options["name"], Actor.local(), options["reason"], **_given(options))
        self._say(
            options, made, f"Schedule {made.name} is made; its next tick is at {made.next_at:%Y-%m-%d %H:%M:%S} UTC."
        )

    def do_set(self, options: dict[str, Any]) -> None:
        discovery.discover()
        found = services.schedule_update(options["name"], Actor.local(), options["reason"], **_given(options))
        self._say(options, found, f"Schedule {found.name} is changed.")

    def do_pause(self, options: dict[str, Any]) -> None:
        found = services.schedule_pause(options["name"], Actor.local(), options["reason"])
        self._say(
            options, found, f"Schedule {found.name} is paused. `manage.py schedules resume {found.name}` ends that."
        )

    def do_resume(self, options: dict[str, Any]) -> None:
        found = services.schedule_resume(options["name"], Actor.local(), options["reason"])
        self._say(options, found, f"Schedule {found.name} goes on.")

    def do_run(self, options: dict[str, Any]) -> None:
        discovery.discover()
        run_id = services.schedule_run(options["name"], Actor.local(), options["reason"])
        if options["json"]:
            self.json({"run_id": run_id})
        else:
            self.stdout.write(f"{run_id}  is begun.")

    def do_delete(self, options: dict[str, Any]) -> None:
        services.schedule_delete(options["name"], Actor.local(), options["reason"])
        if options["json"]:
            self.json({"name": options["name"], "deleted": True})
        else:
            self.stdout.write(f"Schedule {options['name']} is deleted.")

    def _say(self, options: dict[str, Any], found: Schedule, words: str) -> None:
        if options["json"]:
            self.json(selectors.describe(found))
        else:
            self.stdout.write(words)


def _given(options: dict[str, Any]) -> dict[str, Any]:
    """The settings that were given."""
    names = ("task_id", "cron", "every", "timezone", "catch_up", "overlap", "jitter", "as_declared")
    given = {name: options[name] for name in names if options.get(name) is not None}
    if options["payload"] is not None:
        given["payload"] = read_json(options["payload"])
    return given


def _row(found: Schedule) -> tuple[str, ...]:
    when = found.cron or f"every {found.every:g} s"
    zone = f" {found.timezone}" if found.cron else ""
    following = f"{found.next_at:%Y-%m-%d %H:%M:%S}" if found.next_at else f"paused by {found.paused_by}"
    return (found.name, found.task_id, f"{when}{zone}{'*' if found.edited else ''}", following)

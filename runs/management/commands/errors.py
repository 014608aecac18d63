"""`manage.py errors list|show|resolve|reopen|snooze`."""

from typing import Any, ClassVar

from holdfast import words
from holdfast.access.errors import AccessError
from holdfast.access.grants import Actor
from holdfast.access.selectors import database_now
from holdfast.management.verbs import VerbCommand
from runs.errorgroups import selectors, services
from runs.errorgroups.selectors import ALL, DEFAULT_SPAN, SPANS, Asked, Group
from runs.errorgroups.states import State
from runs.errors import HoldfastError
from runs.filters import DEFAULT_LIMIT, parse_limit, refuse_choice

MAX_SHOWN = 90


class Command(VerbCommand):
    help = "Shows what fails, by what failures have in common, and says of it that it is resolved or known."
    mistakes: ClassVar = (HoldfastError, AccessError)

    def add_verbs(self, verbs: Any) -> None:
        listed = verbs.add_parser("list", help="Show groups of errors, the latest first; those that are open.")
        listed.add_argument("--state", default="", help=f"One of {', '.join(State)}, or {ALL}.")
        listed.add_argument("--task", default="", help="The id of a task.")
        listed.add_argument("--limit", default=str(DEFAULT_LIMIT))
        listed.add_argument("--cursor", default="", help="The `next` of the page before.")
        show = verbs.add_parser("show", help="Show one, by version and step, with an example.")
        for verb in (listed, show):
            verb.add_argument("--span", default=DEFAULT_SPAN, help=f"What is counted: {', '.join(SPANS)}.")
        resolve = verbs.add_parser("resolve", help="Say that it is resolved in the current version of its tasks.")
        reopen = verbs.add_parser("reopen", help="Say that it is neither resolved nor snoozed.")
        snooze = verbs.add_parser("snooze", help="Keep it quiet for a time, or for a number of failed tries.")
        snooze.add_argument("--for", dest="duration", metavar="DURATION", help="Such as 4h or 1d.")
        snooze.add_argument("--tries", type=int, help="Until it has failed so often again.")
        for verb in (show, resolve, reopen, snooze):
            verb.add_argument("fingerprint")
        for verb in (resolve, reopen, snooze):
            verb.add_argument("--reason", default="", help="Why; kept in the audit log.")

    def do_list(self, options: dict[str, Any]) -> None:
        asked = Asked.parse(options["span"], options["state"], options["task"], options["cursor"])
        page = selectors.page(asked, parse_limit(options["limit"]))
        if options["json"]:
            items = [selectors.as_json(group) for group in page.items]
            self.json({"items": items, "next": str(page.next) if page.next else None})
            return
        if not page.items:
            self.stdout.write(f"No error of this kind was seen in the last {asked.span}.")
            return
        now = database_now()
        rows = [
            (g.fingerprint, str(g.state), f"{g.tries:,}", words.relative(g.last_seen, now), g.tasks[0], _what(g))
            for g in page.items
        ]
        self.table([("ERROR", "STATE", "TRIES", "LAST", "TASK", ""), *rows])
        if page.next:
            self.stdout.write(f"There are more: --cursor {page.next}")

    def do_show(self, options: dict[str, Any]) -> None:
        refuse_choice("span", options["span"], SPANS)
        group = selectors.group_get(options["fingerprint"], options["span"] or DEFAULT_SPAN)
        if options["json"]:
            self.json(selectors.detail_as_json(group))
            return
        self.stdout.write(f"{group.state}: {group.type}: {group.message}")
        counted = f"{group.tries:,} failed tries in {options['span']}, {group.ended:,} runs ended so"
        self.stdout.write(f"{counted}, {group.open:,} under way.")
        if group.parts:
            rows = [(p.version or "–", p.task, p.step or "–", f"{p.tries:,}", f"{p.ended_runs:,}") for p in group.parts]
            self.table([("VERSION", "TASK", "STEP", "TRIES", "ENDED RUNS"), *rows])
        if found := selectors.example(group):
            self.stdout.write(f"Run {found.run.pk}:\n{found.error.get('traceback') or found.error.get('message')}")

    def do_resolve(self, options: dict[str, Any]) -> None:
        row = services.error_resolve(options["fingerprint"], actor=Actor.local(), reason=options["reason"])
        versions = f" in version {', '.join(row.resolved_in)}" if row.resolved_in else ""
        self._say(options, f"Error {row.pk} is resolved{versions}.")

    def do_reopen(self, options: dict[str, Any]) -> None:
        row = services.error_reopen(options["fingerprint"], actor=Actor.local(), reason=options["reason"])
        self._say(options, f"Error {row.pk} is open again.")

    def do_snooze(self, options: dict[str, Any]) -> None:
        asked = {name: options[name] for name in ("duration", "tries", "reason")}
        row = services.error_snooze(options["fingerprint"], **asked, actor=Actor.local())
        until = f" until {row.snoozed_until:%Y-%m-%d %H:%M:%S} UTC" if row.snoozed_until else ""
        so_often = f"{' or' if until else ''} until it has failed {row.snoozed_for:,} times" if row.snoozed_for else ""
        self._say(options, f"Error {row.pk} is snoozed{until}{so_often}.")

    def _say(self, options: dict[str, Any], text: str) -> None:
        if options["json"]:
            self.json(selectors.detail_as_json(selectors.group_get(options["fingerprint"])))
        else:
            self.stdout.write(text)


def _what(group: Group) -> str:
    text = f"{group.name}: {group.message}"
    return text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN - 1]}…"

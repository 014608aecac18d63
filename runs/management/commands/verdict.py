"""`manage.py verdict [show|acknowledge|snooze|reopen]`."""

from typing import Any, ClassVar, Final

from holdfast.access.errors import AccessError
from holdfast.access.grants import Actor
from holdfast.management.verbs import VerbCommand
from runs.causes import selectors, services
from runs.causes.notes import Standing
from runs.causes.selectors import Said
from runs.errors import HoldfastError

#: The exit code when somebody has to look.
NOT_WELL: Final = 1
_MARKS: Final = {"good": "ok", "cause": "cause", "held": "held", "unmade": "unknown"}


class Command(VerbCommand):
    help = (
        "Says whether things flow, and why not. Exits with 0 while it flows, is saturated or has nothing to do, and "
        "with 1 otherwise; 2 is a mistake in what was asked."
    )
    mistakes: ClassVar = (HoldfastError, AccessError)
    usual = "show"

    def add_verbs(self, verbs: Any) -> None:
        verbs.add_parser("show", help="The sentence, its causes, and what was ruled out.")
        acknowledge = verbs.add_parser("acknowledge", help="Say that you work on a cause; it stays in the verdict.")
        snooze = verbs.add_parser("snooze", help="Leave a cause out of the verdict for a time, or until it is worse.")
        reopen = verbs.add_parser("reopen", help="Take back what was said of a cause.")
        for verb in (acknowledge, snooze, reopen):
            verb.add_argument("key", help="Of the cause, such as saturated:llm-calls.")
            verb.add_argument("--reason", default="", help="Why; kept in the audit log.")
        snooze.add_argument("--for", dest="duration", metavar="DURATION", required=True, help="Such as 4h or 1d.")

    def do_show(self, options: dict[str, Any]) -> None:
        found = selectors.story()
        if options["json"]:
            self.json(selectors.as_json(found))
        else:
            self.stdout.write(found.verdict.words)
            for said in found.said:
                self.stdout.write(f"  {said.cause.key}: {said.cause.words}{_said(said)}")
            self.stdout.write("Looked at:")
            for check in found.checks:
                self.stdout.write(f"  {_MARKS[check.state]:8}{check.words}")
        if not found.verdict.is_well:
            self.stdout.flush()
            raise SystemExit(NOT_WELL)

    def do_acknowledge(self, options: dict[str, Any]) -> None:
        said = services.cause_acknowledge(options["key"], actor=Actor.local(), reason=options["reason"])
        self._tell(options, said, f"Cause {options['key']} is acknowledged.")

    def do_snooze(self, options: dict[str, Any]) -> None:
        asked = {name: options[name] for name in ("duration", "reason")}
        said = services.cause_snooze(options["key"], **asked, actor=Actor.local())
        self._tell(options, said, f"Cause {options['key']} is {_standing(said)}.")

    def do_reopen(self, options: dict[str, Any]) -> None:
        services.cause_reopen(options["key"], actor=Actor.local(), reason=options["reason"])
        if options["json"]:
            self.json({"key": options["key"], "standing": str(Standing.OPEN)})
        else:
            self.stdout.write(f"Cause {options['key']} counts again.")

    def _tell(self, options: dict[str, Any], said: Said, words: str) -> None:
        if options["json"]:
            self.json(selectors.said_as_json(said))
        else:
            self.stdout.write(words)


def _said(said: Said) -> str:
    if said.standing == Standing.OPEN or said.note is None:
        return ""
    return f" ({_standing(said)} by {said.note.noted_by})"


def _standing(said: Said) -> str:
    until = said.note.until if said.note else None
    return f"{said.standing} until {until:%Y-%m-%d %H:%M:%S} UTC" if until else str(said.standing)

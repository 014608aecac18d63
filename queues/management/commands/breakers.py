"""`manage.py breakers list|open|close|release`."""

from typing import Any, ClassVar

from holdfast.access.errors import AccessError
from holdfast.access.grants import Actor
from holdfast.management.verbs import VerbCommand
from queues import breakers
from queues.breakers import Standing
from queues.errors import QueueError
from queues.models import BreakerState


class Command(VerbCommand):
    help = "Shows circuit breakers; holds them open or closed, and lets them go."
    mistakes: ClassVar = (QueueError, AccessError)

    def add_verbs(self, verbs: Any) -> None:
        verbs.add_parser("list", help="Show breakers, and what the calls of their windows came to.")
        opened = verbs.add_parser("open", help="Let no call through until it is let go.")
        closed = verbs.add_parser("close", help="Let every call through until it is let go.")
        released = verbs.add_parser("release", help="Let calls decide again.")
        for verb in (opened, closed, released):
            verb.add_argument("name", help="The breaker's name.")
            verb.add_argument("--reason", default="", help="Why; kept in the audit log.")

    def do_list(self, options: dict[str, Any]) -> None:
        found = breakers.standings()
        if options["json"]:
            self.json([standing.as_json() for standing in found])
        elif found:
            self.table([("BREAKER", "STATE", "CALLS", "FAILED", "SLOW", "RETRIES", ""), *map(_row, found)])
        else:
            self.stdout.write("No step has used a breaker yet.")

    def do_open(self, options: dict[str, Any]) -> None:
        self._force(options, BreakerState.OPEN)

    def do_close(self, options: dict[str, Any]) -> None:
        self._force(options, BreakerState.CLOSED)

    def do_release(self, options: dict[str, Any]) -> None:
        found = breakers.breaker_release(options["name"], Actor.local(), options["reason"])
        self._say(options, found, f"Calls decide again about breaker {found.breaker.name}.")

    def _force(self, options: dict[str, Any], state: BreakerState) -> None:
        name = options["name"]
        found = breakers.breaker_force(name, state, Actor.local(), options["reason"])
        self._say(options, found, f"Breaker {name} is held {state}. `manage.py breakers release {name}` ends that.")

    def _say(self, options: dict[str, Any], found: Standing, words: str) -> None:
        if options["json"]:
            self.json(found.as_json())
        else:
            self.stdout.write(words)


def _row(found: Standing) -> tuple[str, ...]:
    of = found.breaker
    said = f"held by {of.forced_by}: {of.forced_reason}".rstrip(": ") if of.forced else ""
    numbers = (f"{number:,}" for number in (found.calls, found.failures, found.slow, found.retries))
    return (of.name, found.state.replace("_", " "), *numbers, said)

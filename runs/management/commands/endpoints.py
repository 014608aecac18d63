"""`manage.py endpoints list|create|set|rotate|pause|resume|delete|test|deliveries|resend`: outbound webhooks."""

import uuid
from typing import Any, ClassVar, Final

from holdfast.access.errors import AccessError
from holdfast.access.grants import Actor
from holdfast.management.verbs import VerbCommand
from runs import discovery
from runs.errors import HoldfastError, InvalidOption
from runs.outbound import selectors, services
from runs.outbound.model import Endpoint

#: Deliveries that are shown.
MAX_SHOWN: Final = 200
_SHOWN = ("name", "url", "events", "tasks", "enabled", "old_until", "created_at")


class Command(VerbCommand):
    help = "Shows who is told how runs have ended, makes, changes and tries endpoints."
    mistakes: ClassVar = (HoldfastError, AccessError)

    def add_verbs(self, verbs: Any) -> None:
        verbs.add_parser("list", help="Show endpoints.")
        create = verbs.add_parser("create", help="Make one; its secret is shown once.")
        change = verbs.add_parser("set", help="Change one.")
        rotate = verbs.add_parser("rotate", help="A new secret; the old one signs as well for a day.")
        pause = verbs.add_parser("pause", help="Tell it nothing.")
        resume = verbs.add_parser("resume", help="Tell it what comes from now on.")
        delete = verbs.add_parser("delete", help="Delete it.")
        test = verbs.add_parser("test", help="Send it a test, signed and retried as any.")
        deliveries = verbs.add_parser("deliveries", help="Show the last deliveries.")
        resend = verbs.add_parser("resend", help="Send a delivery once more.")
        for verb in (create, change, rotate, pause, resume, delete, test, deliveries, resend):
            verb.add_argument("name", help="The endpoint's name.")
        resend.add_argument("delivery", help="Its id, which is that of its run.")
        for verb in (create, change, rotate, pause, resume, delete, test, resend):
            verb.add_argument("--reason", default="", help="Why; kept in the audit log.")
        create.add_argument("url", help="Where to POST to.")
        change.add_argument("--url")
        for verb in (create, change):
            verb.add_argument("--event", action="append", dest="events", metavar="EVENT", help="May be repeated.")
            verb.add_argument("--task", action="append", dest="tasks", metavar="TASK", help="May be repeated.")

    def do_list(self, options: dict[str, Any]) -> None:
        rows = list(Endpoint.objects.all())
        if options["json"]:
            self.json([_shown(row) for row in rows])
        elif rows:
            lines = [
                (r.name, "" if r.enabled else "paused", ", ".join(r.events), ", ".join(r.tasks) or "all", r.url)
                for r in rows
            ]
            self.table([("ENDPOINT", "", "EVENTS", "TASKS", "URL"), *lines])
        else:
            self.stdout.write("There is no endpoint yet.")

    def do_create(self, options: dict[str, Any]) -> None:
        row, secret = services.endpoint_create(
            options["name"], actor=Actor.local(), reason=options["reason"], **_asked(options)
        )
        self._tell(options, row, secret, f"Endpoint {row.name} is told of {', '.join(row.events)}.")

    def do_set(self, options: dict[str, Any]) -> None:
        if not (changes := _asked(options)):
            raise InvalidOption("endpoints set was given nothing to change; add --url, --event or --task.")
        self._change(options, changes, "is changed")

    def do_pause(self, options: dict[str, Any]) -> None:
        self._change(options, {"enabled": False}, "is told nothing")

    def do_resume(self, options: dict[str, Any]) -> None:
        self._change(options, {"enabled": True}, "is told what comes from now on")

    def do_rotate(self, options: dict[str, Any]) -> None:
        row, secret = services.endpoint_rotate(options["name"], actor=Actor.local(), reason=options["reason"])
        self._tell(options, row, secret, f"Endpoint {row.name} has a new secret; the old one signs as well for a day.")

    def do_delete(self, options: dict[str, Any]) -> None:
        services.endpoint_delete(options["name"], actor=Actor.local(), reason=options["reason"])
        if options["json"]:
            self.json({"name": options["name"], "deleted": True})
        else:
            self.stdout.write(f"Endpoint {options['name']} is deleted.")

    def do_test(self, options: dict[str, Any]) -> None:
        discovery.discover()
        run_id = services.endpoint_test(options["name"], actor=Actor.local(), reason=options["reason"])
        if options["json"]:
            self.json({"run_id": run_id})
        else:
            self.stdout.write(f"Run {run_id} delivers it; `manage.py runs show {run_id}` says what came of it.")

    def do_deliveries(self, options: dict[str, Any]) -> None:
        found = selectors.deliveries(services.endpoint_get(options["name"]), limit=MAX_SHOWN).items
        rows = [selectors.describe(run) for run in found]
        if options["json"]:
            self.json(rows)
        elif rows:
            lines = [
                (
                    str(row["id"]),
                    f"{row['created_at']:%Y-%m-%d %H:%M:%S}",
                    str(row["type"]),
                    row["status"],
                    f"{row['attempt']} of {row['max_attempts']}",
                    row["error"] or "",
                )
                for row in rows
            ]
            self.table([("DELIVERY", "BEGUN (UTC)", "TYPE", "STATUS", "ATTEMPT", "WHAT WENT WRONG"), *lines])
        else:
            self.stdout.write("Nothing was sent yet.")

    def do_resend(self, options: dict[str, Any]) -> None:
        discovery.discover()
        try:
            asked = uuid.UUID(options["delivery"])
        except ValueError:
            raise InvalidOption(f"delivery is {options['delivery']!r:.60}, which is no id; write a UUID.") from None
        again = services.delivery_resend(options["name"], asked, actor=Actor.local(), reason=options["reason"])
        if options["json"]:
            self.json({"run_id": again})
        else:
            self.stdout.write(f"Run {again} delivers it.")

    def _change(self, options: dict[str, Any], changes: dict[str, Any], words: str) -> None:
        row = services.endpoint_update(options["name"], changes, actor=Actor.local(), reason=options["reason"])
        if options["json"]:
            self.json(_shown(row))
        else:
            self.stdout.write(f"Endpoint {row.name} {words}.")

    def _tell(self, options: dict[str, Any], row: Endpoint, secret: str, words: str) -> None:
        if options["json"]:
            self.json({**_shown(row), "secret": secret})
        else:
            self.stdout.write(f"{words}\nIts secret, which is not shown again: {secret}")


def _asked(options: dict[str, Any]) -> dict[str, Any]:
    return {field: options[field] for field in services.EDITABLE if options.get(field) is not None}


def _shown(row: Endpoint) -> dict[str, Any]:
    return {name: getattr(row, name) for name in _SHOWN}

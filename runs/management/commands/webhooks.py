"""`manage.py webhooks list|create|set|rotate|pause|resume|delete|deliveries|resend`."""

import os
import uuid
from typing import Any, ClassVar, Final

from django.core.management.base import CommandError

from holdfast.access.errors import AccessError
from holdfast.access.grants import Actor
from holdfast.management.verbs import VerbCommand
from holdfast.redaction import redacted
from runs import discovery
from runs.errors import HoldfastError, InvalidOption
from runs.webhooks import schemes, services
from runs.webhooks.model import Delivery, Webhook

#: The variable of a secret that the sender gave: an argument would be seen in the list of processes.
SECRET: Final = "HOLDFAST_WEBHOOK_SECRET"  # noqa: S105 - the name of a variable
MAX_SHOWN: Final = 200


class Command(VerbCommand):
    help = "Shows webhooks and what came to them, makes, changes and pauses them."
    mistakes: ClassVar = (HoldfastError, AccessError)

    def add_verbs(self, verbs: Any) -> None:
        verbs.add_parser("list", help="Show webhooks.")
        create = verbs.add_parser("create", help=f"Make one; a secret of the sender's is read from {SECRET}.")
        change = verbs.add_parser("set", help="Change one, in force with the next request.")
        rotate = verbs.add_parser("rotate", help="A new secret; the old one stays valid for a while.")
        rotate.add_argument("--overlap", type=int, default=services.OVERLAP, metavar="SECONDS")
        pause = verbs.add_parser("pause", help="Refuse requests, for their senders to send again later.")
        resume = verbs.add_parser("resume", help="Take requests again.")
        delete = verbs.add_parser("delete", help="Delete one and what came to it; its runs stay.")
        deliveries = verbs.add_parser("deliveries", help="Show the last deliveries.")
        for verb in (create, change, rotate, pause, resume, delete, deliveries):
            verb.add_argument("name", help="The webhook's name: /hooks/NAME.")
        create.add_argument("task", help="The task whose runs it starts.")
        create.add_argument("--scheme", default=schemes.STANDARD, help=f"One of {', '.join(schemes.SCHEMES)}.")
        change.add_argument("--task", dest="task_id")
        for verb in (create, change):
            verb.add_argument("--filter", help="JMESPath: which requests start a run.")
            verb.add_argument("--mapping", help="JMESPath: the payload that is made of a request.")
            verb.add_argument("--window", type=int, metavar="SECONDS", help="How far a signed time may be from now.")
            verb.add_argument("--body-limit", type=int, metavar="BYTES")
        resend = verbs.add_parser("resend", help="Put a stored delivery through filter and mapping once more.")
        resend.add_argument("delivery", help="Its id.")
        for verb in (create, change, rotate, pause, resume, delete, resend):
            verb.add_argument("--reason", default="", help="Why; kept in the audit log.")

    def do_list(self, options: dict[str, Any]) -> None:
        rows = list(Webhook.objects.all())
        if options["json"]:
            self.json([_webhook(row) for row in rows])
        elif rows:
            lines = [
                (row.name, row.task_id, row.scheme, "" if row.enabled else "paused", f"{row.refused_count:,} refused")
                for row in rows
            ]
            self.table([("WEBHOOK", "TASK", "SCHEME", "", "UNSIGNED"), *lines])
        else:
            self.stdout.write("There is no webhook yet.")

    def do_create(self, options: dict[str, Any]) -> None:
        discovery.discover()
        row, secret = services.webhook_create(
            options["name"],
            options["task"],
            scheme=options["scheme"],
            secret=os.environ.get(SECRET),
            actor=Actor.local(),
            reason=options["reason"],
            **_asked(options),
        )
        self._tell(options, row, secret, f"Webhook {row.name} takes requests at /hooks/{row.name}.")

    def do_set(self, options: dict[str, Any]) -> None:
        changes = _asked(options)
        if not changes:
            raise InvalidOption("webhooks set was given nothing to change; add --mapping or another setting.")
        if "task_id" in changes:
            discovery.discover()
        row = services.webhook_update(options["name"], changes, actor=Actor.local(), reason=options["reason"])
        self._say(options, row, f"Webhook {row.name} is changed.")

    def do_rotate(self, options: dict[str, Any]) -> None:
        row, secret = services.webhook_rotate(
            options["name"],
            secret=os.environ.get(SECRET),
            overlap=options["overlap"],
            actor=Actor.local(),
            reason=options["reason"],
        )
        until = f"until {row.old_until:%Y-%m-%d %H:%M:%S} UTC" if row.old_until else "no longer"
        self._tell(options, row, secret, f"Webhook {row.name} has a new secret; the old one is valid {until}.")

    def do_pause(self, options: dict[str, Any]) -> None:
        self._enable(options, False, "is paused")

    def do_resume(self, options: dict[str, Any]) -> None:
        self._enable(options, True, "takes requests")

    def do_delete(self, options: dict[str, Any]) -> None:
        services.webhook_delete(options["name"], actor=Actor.local(), reason=options["reason"])
        if options["json"]:
            self.json({"name": options["name"], "deleted": True})
        else:
            self.stdout.write(f"Webhook {options['name']} is deleted. Its runs stay.")

    def do_deliveries(self, options: dict[str, Any]) -> None:
        rows = list(services.webhook_get(options["name"]).deliveries.all()[:MAX_SHOWN])
        if options["json"]:
            self.json([_delivery(row) for row in rows])
        elif rows:
            lines = [
                (str(r.pk), f"{r.received_at:%Y-%m-%d %H:%M:%S}", r.outcome, str(r.run_id or r.reason)) for r in rows
            ]
            self.table([("DELIVERY", "RECEIVED (UTC)", "OUTCOME", "RUN OR REASON"), *lines])
        else:
            self.stdout.write("Nothing has come yet.")

    def do_resend(self, options: dict[str, Any]) -> None:
        try:
            found = uuid.UUID(options["delivery"])
        except ValueError:
            raise InvalidOption(f"delivery is {options['delivery']!r:.60}, which is no id; write a UUID.") from None
        discovery.discover()
        row = services.delivery_resend(found, actor=Actor.local(), reason=options["reason"])
        if options["json"]:
            self.json(_delivery(row))
        elif row.outcome != "refused":
            self.stdout.write(f"Delivery {row.pk} is {row.outcome}: {row.run_id or 'by the filter'}")
        if row.outcome == "refused":
            raise CommandError(f"Delivery {row.pk} is refused: {' '.join(row.reason.split())}", returncode=1)

    def _enable(self, options: dict[str, Any], enabled: bool, words: str) -> None:
        row = services.webhook_update(
            options["name"], {"enabled": enabled}, actor=Actor.local(), reason=options["reason"]
        )
        self._say(options, row, f"Webhook {row.name} {words}.")

    def _say(self, options: dict[str, Any], row: Webhook, words: str) -> None:
        if options["json"]:
            self.json(_webhook(row))
        else:
            self.stdout.write(words)

    def _tell(self, options: dict[str, Any], row: Webhook, secret: str, words: str) -> None:
        if options["json"]:
            self.json({**_webhook(row), "secret": secret})
        else:
            self.stdout.write(f"{words}\nIts secret, which is not shown again: {secret}")


def _asked(options: dict[str, Any]) -> dict[str, Any]:
    return {field: options[field] for field in services.EDITABLE if options.get(field) is not None}


def _webhook(row: Webhook) -> dict[str, Any]:
    shown = ("name", *services.EDITABLE, "scheme", "old_until", "refused_count", "refused_at", "refused_reason")
    return {field: getattr(row, field) for field in shown}


def _delivery(row: Delivery) -> dict[str, Any]:
    shown = ("id", "remote_id", "received_at", "outcome", "reason", "errors", "run_id", "resent", "headers", "body")
    return {field: redacted(getattr(row, field)) for field in shown}

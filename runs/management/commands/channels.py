"""`manage.py channels list|create|set|pause|resume|test|deliveries|delete`: where alerts arrive."""

from typing import Any, ClassVar, Final

from holdfast.access.errors import AccessError
from holdfast.access.grants import Actor
from holdfast.management.verbs import VerbCommand
from runs import discovery
from runs.alerts import channels, delivering, selectors
from runs.alerts.choices import ChannelKind
from runs.alerts.model import Channel
from runs.errors import HoldfastError, InvalidOption

#: Deliveries that are shown.
MAX_SHOWN: Final = 200


class Command(VerbCommand):
    help = "Shows where alerts arrive, makes, changes and tries channels."
    mistakes: ClassVar = (HoldfastError, AccessError)

    def add_verbs(self, verbs: Any) -> None:
        verbs.add_parser("list", help="Show channels.")
        create = verbs.add_parser("create", help="Make one.")
        change = verbs.add_parser("set", help="Change one.")
        pause = verbs.add_parser("pause", help="Tell it nothing.")
        resume = verbs.add_parser("resume", help="Tell it again.")
        test = verbs.add_parser("test", help="Send it a test, retried as any news.")
        deliveries = verbs.add_parser("deliveries", help="Show what it was told.")
        delete = verbs.add_parser("delete", help="Delete it.")
        for verb in (create, change, pause, resume, test, deliveries, delete):
            verb.add_argument("name", help="The channel's name.")
        for verb in (create, change, pause, resume, test, delete):
            verb.add_argument("--reason", default="", help="Why; kept in the audit log.")
        create.add_argument("kind", choices=list(ChannelKind.values))
        for verb in (create, change):
            verb.add_argument("--to", action="append", dest="recipients", metavar="ADDRESS", help="May be repeated.")
            verb.add_argument("--url", help="Where to POST to.")

    def do_list(self, options: dict[str, Any]) -> None:
        rows = list(Channel.objects.all())
        if options["json"]:
            self.json([selectors.describe_channel(row) for row in rows])
        elif rows:
            lines = [(row.name, row.kind, "" if row.enabled else "paused", channels.place(row)) for row in rows]
            self.table([("CHANNEL", "KIND", "", "TO"), *lines])
        else:
            self.stdout.write("There is no channel yet.")

    def do_create(self, options: dict[str, Any]) -> None:
        row = channels.channel_create(
            options["name"], options["kind"], actor=Actor.local(), reason=options["reason"], **_asked(options)
        )
        self._told(options, row, f"Channel {row.name} leads to {channels.place(row)}.")

    def do_set(self, options: dict[str, Any]) -> None:
        if not (changes := _asked(options)):
            raise InvalidOption("channels set was given nothing to change; add --to or --url.")
        self._change(options, changes, "is changed")

    def do_pause(self, options: dict[str, Any]) -> None:
        self._change(options, {"enabled": False}, "is told nothing")

    def do_resume(self, options: dict[str, Any]) -> None:
        self._change(options, {"enabled": True}, "is told what comes from now on")

    def do_test(self, options: dict[str, Any]) -> None:
        discovery.discover()
        run_id = channels.channel_test(options["name"], actor=Actor.local(), reason=options["reason"])
        if options["json"]:
            self.json({"run_id": run_id})
        else:
            self.stdout.write(f"Run {run_id} delivers it; `manage.py runs show {run_id}` says what came of it.")

    def do_deliveries(self, options: dict[str, Any]) -> None:
        tag = delivering.channel_tag(channels.channel_get(options["name"]).name)
        rows = [selectors.describe_delivery(run) for run in selectors.deliveries(tag, limit=MAX_SHOWN).items]
        if options["json"]:
            self.json(rows)
        elif rows:
            lines = [
                (
                    str(row["id"]),
                    f"{row['created_at']:%Y-%m-%d %H:%M:%S}",
                    row["status"],
                    f"{row['attempt']} of {row['max_attempts']}",
                    row["error"] or row["subject"],
                )
                for row in rows
            ]
            self.table([("DELIVERY", "BEGUN (UTC)", "STATUS", "ATTEMPT", "WHAT"), *lines])
        else:
            self.stdout.write("Nothing was sent yet.")

    def do_delete(self, options: dict[str, Any]) -> None:
        channels.channel_delete(options["name"], actor=Actor.local(), reason=options["reason"])
        if options["json"]:
            self.json({"name": options["name"], "deleted": True})
        else:
            self.stdout.write(f"Channel {options['name']} is deleted.")

    def _change(self, options: dict[str, Any], changes: dict[str, Any], words: str) -> None:
        row = channels.channel_update(options["name"], changes, actor=Actor.local(), reason=options["reason"])
        self._told(options, row, f"Channel {row.name} {words}.")

    def _told(self, options: dict[str, Any], row: Channel, text: str) -> None:
        if options["json"]:
            self.json(selectors.describe_channel(row))
        else:
            self.stdout.write(text)


def _asked(options: dict[str, Any]) -> dict[str, Any]:
    return {name: options[name] for name in channels.EDITABLE if options.get(name) is not None}

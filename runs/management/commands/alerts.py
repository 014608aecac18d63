"""`manage.py alerts list|show|create|set|pause|resume|silence|unsilence|acknowledge|preview|firings|delete`."""

from typing import Any, ClassVar, Final

from holdfast.access.errors import AccessError
from holdfast.access.grants import Actor
from holdfast.management.verbs import VerbCommand
from runs import discovery
from runs.alerts import selectors, services, settings, words
from runs.alerts.choices import Kind
from runs.errors import HoldfastError, InvalidOption

#: Firings that are shown.
MAX_SHOWN: Final = 200
_SPANS = ("window", "hold")


class Command(VerbCommand):
    help = "Shows alerts, what they would have done, makes, changes and silences them."
    mistakes: ClassVar = (HoldfastError, AccessError)

    def add_verbs(self, verbs: Any) -> None:
        verbs.add_parser("list", help="Show alerts, those that fire first.")
        made = {
            name: verbs.add_parser(name, help=text)
            for name, text in {
                "show": "Show one.",
                "create": "Make one.",
                "set": "Change one.",
                "pause": "Switch it off.",
                "resume": "Switch it on.",
                "silence": "Tell nobody for a time.",
                "unsilence": "Tell again.",
                "acknowledge": "Say that somebody knows of what fires.",
                "preview": "Show what it would have done over the last seven days.",
                "firings": "Show when it fired.",
                "delete": "Delete it and its history.",
            }.items()
        }
        for name, verb in made.items():
            verb.add_argument("name", help="The alert's name.")
            if name not in ("show", "preview", "firings"):
                verb.add_argument("--reason", default="", help="Why; kept in the audit log.")
        made["silence"].add_argument("time", help="For how long, such as 30m or 4h.")
        made["create"].add_argument("kind", choices=list(Kind.values))
        made["create"].add_argument("threshold", help="Percent, a number, or a duration such as 30s or 5m.")
        made["set"].add_argument("--threshold")
        for verb in (made["create"], made["set"]):
            _settings(verb)

    def do_list(self, options: dict[str, Any]) -> None:
        rows = selectors.rows()
        if options["json"]:
            self.json([selectors.describe(row) for row in rows])
        elif rows:
            lines = [
                (row.alert.name, row.state, row.value, f"{row.alert.since:%Y-%m-%d %H:%M}", row.condition)
                for row in rows
            ]
            self.table([("ALERT", "STATE", "VALUE", "SINCE (UTC)", "FIRES WHEN"), *lines])
        else:
            self.stdout.write("There is no alert yet.")

    def do_show(self, options: dict[str, Any]) -> None:
        self._show(options, "{row.alert.name} is {row.state}: {row.value}. {row.alert.note}")

    def do_create(self, options: dict[str, Any]) -> None:
        values = {"kind": options["kind"], **_asked(options, options["kind"])}
        services.alert_create(options["name"], actor=Actor.local(), reason=options["reason"], **values)
        self._show(options, "Alert {row.alert.name} is made. It fires when: {row.condition}.")

    def do_set(self, options: dict[str, Any]) -> None:
        changes = _asked(options, services.alert_get(options["name"]).kind)
        if not changes:
            raise InvalidOption("alerts set was given nothing to change; `alerts set --help` shows the settings.")
        self._change(options, changes, "Alert {row.alert.name} is changed. It fires when: {row.condition}.")

    def do_pause(self, options: dict[str, Any]) -> None:
        self._change(options, {"enabled": False}, "Alert {row.alert.name} is switched off.")

    def do_resume(self, options: dict[str, Any]) -> None:
        self._change(options, {"enabled": True}, "Alert {row.alert.name} is looked at each minute.")

    def do_silence(self, options: dict[str, Any]) -> None:
        asked = _seconds("time", options["time"])
        services.alert_silence(options["name"], asked, actor=Actor.local(), reason=options["reason"])
        self._show(options, "Alert {row.alert.name} tells nobody until {row.silenced_until:%Y-%m-%d %H:%M:%S} UTC.")

    def do_unsilence(self, options: dict[str, Any]) -> None:
        services.alert_unsilence(options["name"], actor=Actor.local(), reason=options["reason"])
        self._show(options, "Alert {row.alert.name} tells again.")

    def do_acknowledge(self, options: dict[str, Any]) -> None:
        services.alert_acknowledge(options["name"], actor=Actor.local(), reason=options["reason"])
        self._show(options, "Alert {row.alert.name} is acknowledged.")

    def do_preview(self, options: dict[str, Any]) -> None:
        found = selectors.preview(services.alert_get(options["name"]))
        if options["json"]:
            self.json(selectors.describe_preview(found))
            return
        times = "once" if found.times == 1 else f"{found.times:,} times"
        self.stdout.write(
            f"It would have fired {times} since {found.start:%Y-%m-%d %H:%M} UTC; measured in {found.measured:.0%} of "
            f"the minutes, at most {found.highest_words}."
        )
        if found.spans:
            lines = [
                (f"{span.since:%Y-%m-%d %H:%M}", f"{span.until:%Y-%m-%d %H:%M}" if span.until else "now", peak)
                for span, peak in found.latest
            ]
            self.table([("SINCE (UTC)", "UNTIL", "AT MOST"), *lines])

    def do_firings(self, options: dict[str, Any]) -> None:
        rows = selectors.firings(services.alert_get(options["name"]), limit=MAX_SHOWN).items
        if options["json"]:
            self.json([selectors.describe_firing(row) for row in rows])
        elif rows:
            lines = [
                (
                    f"{row.since:%Y-%m-%d %H:%M}",
                    f"{row.until:%Y-%m-%d %H:%M}" if row.until else "now",
                    "told" if row.told_at else "not told",
                    row.acknowledged_by,
                    row.summary,
                )
                for row in rows
            ]
            self.table([("SINCE (UTC)", "UNTIL", "", "ACKNOWLEDGED BY", "WHAT"), *lines])
        else:
            self.stdout.write("It has not fired yet.")

    def do_delete(self, options: dict[str, Any]) -> None:
        services.alert_delete(options["name"], actor=Actor.local(), reason=options["reason"])
        if options["json"]:
            self.json({"name": options["name"], "deleted": True})
        else:
            self.stdout.write(f"Alert {options['name']} is deleted.")

    def _change(self, options: dict[str, Any], changes: dict[str, Any], text: str) -> None:
        discovery.discover()  # who was told that it fires may be told that it is over
        services.alert_update(options["name"], changes, actor=Actor.local(), reason=options["reason"])
        self._show(options, text)

    def _show(self, options: dict[str, Any], text: str) -> None:
        row = selectors.row(services.alert_get(options["name"]))
        if options["json"]:
            self.json(selectors.describe(row))
        else:
            self.stdout.write(text.format(row=row).strip())


def _settings(verb: Any) -> None:
    verb.add_argument("--task", help="Of this task; without it of all.")
    verb.add_argument("--queue", help="Of this queue, instead of a task.")
    verb.add_argument("--schedule", help="Of this schedule.")
    verb.add_argument("--window", help="What is looked at, such as 30m or 1h.")
    verb.add_argument("--for", dest="hold", help="How long it has to be above the threshold, such as 5m.")
    verb.add_argument("--min-runs", type=int, help="With fewer it is unmeasured.")
    verb.add_argument("--percentile", type=float, help="Of latency, such as 95.")
    verb.add_argument("--unit", help="Of spend, such as cost.")
    verb.add_argument("--channel", action="append", dest="channels", metavar="CHANNEL", help="May be repeated.")


def _asked(options: dict[str, Any], kind: str) -> dict[str, Any]:
    asked = {name: options[name] for name in settings.EDITABLE if options.get(name) is not None}
    asked.pop("kind", None)
    for name in _SPANS:
        if name in asked:
            asked[name] = int(_seconds(name, asked[name]))
    if "threshold" in asked:
        asked["threshold"] = _threshold(asked["threshold"], kind)
    return asked


def _threshold(text: str, kind: str) -> float:
    if kind in words.SECONDS:
        return _seconds("threshold", text)
    try:
        return float(text.removesuffix("%"))
    except ValueError:
        raise _fault("threshold", text, settings.THRESHOLDS[kind][2]) from None


def _seconds(field: str, text: str) -> float:
    try:
        return words.seconds(text)
    except ValueError:
        raise _fault(field, text, "a duration such as 30s, 5m or 1h30m") from None


def _fault(field: str, text: str, how: str) -> InvalidOption:
    message = f"is {text!r:.60}; write {how}"
    return InvalidOption(f"{field} {message}.", errors=[{"field": field, "message": message}])

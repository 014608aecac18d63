"""`manage.py queues list|set|pause|resume`."""

from collections.abc import Iterator
from typing import Any, ClassVar

from holdfast.access.errors import AccessError
from holdfast.access.grants import Actor
from holdfast.management.verbs import VerbCommand
from queues import selectors, services
from queues.editable import SETTINGS, Setting
from queues.errors import QueueError, invalid
from queues.models import Queue
from queues.selectors import EXACT_UP_TO, QueueFlow


class Command(VerbCommand):
    help = "Shows queues, edits their limits, pauses and resumes them."
    mistakes: ClassVar = (QueueError, AccessError)

    def add_verbs(self, verbs: Any) -> None:
        listing = verbs.add_parser("list", help="Show queues with what is in them now.")
        listing.add_argument("--search", default="", metavar="TEXT", help="Only names with this part.")
        change = verbs.add_parser("set", help="Change a queue's limits, in force at once.")
        for setting in SETTINGS.values():
            change.add_argument(
                _option(setting),
                nargs="+" if setting.lines else None,
                metavar="VALUE|none|declared",
                help=f"{setting.help} 'none' for {setting.none}, 'declared' for what the code says.",
            )
        pause = verbs.add_parser("pause", help="Start no more runs of a queue; those that run go on.")
        resume = verbs.add_parser("resume", help="Start runs again.")
        pause.add_argument("--seconds", type=float, metavar="N", help="End the pause by itself after so long.")
        pause.add_argument("--drain", action="store_true", help="Work off what is there; what comes later waits.")
        undo = verbs.add_parser("undo", help="Take the last change of a queue back.")
        for verb in (change, pause, resume, undo):
            verb.add_argument("name", help="The queue's name.")
            verb.add_argument("--reason", default="", help="Why; kept in the audit log.")

    def do_list(self, options: dict[str, Any]) -> None:
        flows = list(_all(options["search"]))
        if options["json"]:
            self.json([selectors.describe(flow) for flow in flows])
        elif flows:
            self.table([("QUEUE", "POOL", "LIMIT", "RATE", "RUNNING", "WAITING", "LATER", ""), *map(_row, flows)])
        else:
            self.stdout.write("There is no such queue." if options["search"] else "There is no queue yet.")

    def do_set(self, options: dict[str, Any]) -> None:
        changes = dict(_asked(options))
        if not changes:
            raise invalid("queues set", "was given nothing to change; add --concurrency-limit or another setting")
        queue = services.queue_update(options["name"], Actor.local(), reason=options["reason"], **changes)
        limit = "no limit" if queue.concurrency_limit is None else f"at most {queue.concurrency_limit:,} runs at once"
        more = [
            f"{setting.label.lower()} {setting.words(value).replace(chr(10), ', ')}"
            for name, setting in SETTINGS.items()
            if name != "concurrency_limit" and (value := getattr(queue, name))
        ]
        self._say(options, f"Queue {queue.name}: {'; '.join([limit, *more])}.")

    def do_pause(self, options: dict[str, Any]) -> None:
        queue = services.queue_pause(
            options["name"], Actor.local(), options["reason"], seconds=options["seconds"], drain=options["drain"]
        )
        state = "drains" if queue.drains else "is paused"
        until = f" until {queue.paused_until:%Y-%m-%d %H:%M:%S} UTC" if queue.paused_until else ""
        self._say(options, f"Queue {queue.name} {state}{until}. `manage.py queues resume {queue.name}` ends that.")

    def do_resume(self, options: dict[str, Any]) -> None:
        queue = services.queue_resume(options["name"], Actor.local(), options["reason"])
        self._say(options, f"Queue {queue.name} runs.")

    def do_undo(self, options: dict[str, Any]) -> None:
        queue = services.queue_undo(options["name"], Actor.local(), options["reason"])
        self._say(options, f"The last change of queue {queue.name} is undone.")

    def _say(self, options: dict[str, Any], words: str) -> None:
        if options["json"]:
            self.json(selectors.describe(selectors.queue_get(options["name"])))
        else:
            self.stdout.write(words)


def _all(search: str) -> Iterator[QueueFlow]:
    after = ""
    while True:
        page = selectors.queues_page(after=after, search=search.replace("\x00", ""))
        yield from page.items
        if page.next is None:
            return
        after = page.next


def _option(setting: Setting) -> str:
    return f"--{setting.name.replace('_', '-')}"


def _asked(options: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """The changes that the options ask for."""
    for setting in SETTINGS.values():
        given = options[setting.name]
        text = "\n".join(given) if isinstance(given, list) else given
        if text == "declared":
            yield setting.flag, False
        elif text is not None:
            try:
                yield setting.name, setting.parse("" if text == "none" else text)
            except ValueError as error:
                raise invalid(_option(setting), f"{error}, none or declared") from None


def _row(flow: QueueFlow) -> tuple[str, ...]:
    queue = flow.queue
    said = "drains, says" if queue.drains else "paused by"
    state = f"{said} {queue.paused_by}: {queue.pause_reason}".rstrip(": ") if queue.paused else ""
    return (
        queue.name,
        queue.pool,
        _value(queue, "concurrency_limit"),
        _value(queue, "rate"),
        _count(flow.running),
        _count(flow.depth),
        _count(flow.scheduled),
        state,
    )


def _value(queue: Queue, name: str) -> str:
    """A setting's value; a star marks a person's edit."""
    return f"{SETTINGS[name].words(getattr(queue, name)) or '–'}{'*' if name in queue.edited else ''}"


def _count(number: int) -> str:
    return f"{EXACT_UP_TO:,}+" if number > EXACT_UP_TO else f"{number:,}"

"""`manage.py queues list|set|pause|resume`."""

from collections.abc import Iterator
from typing import Any, ClassVar

from holdfast.access.errors import AccessError
from holdfast.access.grants import Actor
from holdfast.management.verbs import VerbCommand
from queues import selectors, services
from queues.errors import QueueError, invalid
from queues.selectors import EXACT_UP_TO, QueueFlow


class Command(VerbCommand):
    help = "Shows queues, edits their limits, pauses and resumes them."
    mistakes: ClassVar = (QueueError, AccessError)

    def add_verbs(self, verbs: Any) -> None:
        listing = verbs.add_parser("list", help="Show queues with what is in them now.")
        listing.add_argument("--search", default="", metavar="TEXT", help="Only names with this part.")
        change = verbs.add_parser("set", help="Change a queue's limits, in force at once.")
        change.add_argument(
            "--concurrency-limit",
            metavar="N|none|declared",
            help="Runs at once over all workers; 'none' for no limit, 'declared' for what the code says.",
        )
        change.add_argument(
            "--key-concurrency-limit", metavar="N|none|declared", help="The same, of each concurrency key."
        )
        change.add_argument(
            "--rate",
            metavar="RATE|none|declared",
            help="Starts in any window of time, such as '10 per minute'; 'none', or 'declared' for the code's.",
        )
        pause = verbs.add_parser("pause", help="Start no more runs of a queue; those that run go on.")
        resume = verbs.add_parser("resume", help="Start runs again.")
        for verb in (change, pause, resume):
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
        changes = {
            **_limit("concurrency_limit", options["concurrency_limit"]),
            **_limit("key_concurrency_limit", options["key_concurrency_limit"]),
            **_rate(options["rate"]),
        }
        if not changes:
            raise invalid("queues set", "was given nothing to change; add --concurrency-limit or another limit")
        queue = services.queue_update(options["name"], Actor.local(), reason=options["reason"], **changes)
        limit = "no limit" if queue.concurrency_limit is None else f"at most {queue.concurrency_limit:,} runs at once"
        rate = f", {queue.rate.words} at most" if queue.rate else ""
        if queue.key_concurrency_limit is not None:
            rate = f", {queue.key_concurrency_limit:,} of each key{rate}"
        self._say(options, f"Queue {queue.name}: {limit}{rate}.")

    def do_pause(self, options: dict[str, Any]) -> None:
        queue = services.queue_pause(options["name"], Actor.local(), options["reason"])
        self._say(options, f"Queue {queue.name} is paused. `manage.py queues resume {queue.name}` ends that.")

    def do_resume(self, options: dict[str, Any]) -> None:
        queue = services.queue_resume(options["name"], Actor.local(), options["reason"])
        self._say(options, f"Queue {queue.name} runs.")

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


def _limit(field: str, text: str | None) -> dict[str, Any]:
    if text is None:
        return {}
    if text == "none":
        return {field: None}
    if text == "declared":
        return {services.EDITED[field]: False}
    if text.isascii() and text.isdecimal() and len(text) < 10:
        return {field: int(text)}
    option = f"--{field.replace('_', '-')}"
    raise invalid(option, f"is {text[:60]!r}; write a whole number from 1, none or declared")


def _rate(text: str | None) -> dict[str, Any]:
    if text is None:
        return {}
    return {"rate_edited": False} if text == "declared" else {"rate": None if text == "none" else text}


def _row(flow: QueueFlow) -> tuple[str, ...]:
    queue = flow.queue
    limit = "–" if queue.concurrency_limit is None else f"{queue.concurrency_limit:,}{'*' * queue.limit_edited}"
    rate = f"{queue.rate.words}{'*' * queue.rate_edited}" if queue.rate else "–"
    state = f"paused by {queue.paused_by}: {queue.pause_reason}".rstrip(": ") if queue.paused else ""
    return (
        queue.name,
        queue.pool,
        limit,
        rate,
        _count(flow.running),
        _count(flow.depth),
        _count(flow.scheduled),
        state,
    )


def _count(number: int) -> str:
    return f"{EXACT_UP_TO:,}+" if number > EXACT_UP_TO else f"{number:,}"

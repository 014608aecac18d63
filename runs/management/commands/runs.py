"""`manage.py runs list|export|show|why|stack|tail|retry|cancel|fork|…`: what runs are, and what people do to them."""

import json
import time
import uuid
from functools import partial
from typing import Any, ClassVar, Final

from django.core.management.base import CommandError

from holdfast.access.errors import AccessError
from holdfast.access.grants import Actor
from holdfast.management.verbs import MISTAKE, VerbCommand
from holdfast.redaction import redacted
from holdfast.words import status_words
from runs import (
    answers,
    budgets,
    columns,
    discovery,
    exporting,
    jsonvalue,
    levels,
    loglines,
    selectors,
    services,
    spending,
    updates,
)
from runs.errors import HoldfastError, InvalidPayload, UnknownRun
from runs.filters import MAX_LIMIT, InvalidFilter, RunFilter, parse_cursor, parse_limit
from runs.management import comparing, forking, retries
from runs.management.commands.enqueue import add_options, chosen, read_json
from runs.models import LogLine, Run
from runs.retries.services import run_hurry, run_postpone
from runs.search import pointing
from runs.states import FINAL
from runs.stuck.services import stack_take
from runs.why import NOTHING, why

#: Seconds between two looks at a run that is followed.
POLL: Final = 0.25


class Command(VerbCommand):
    help = "Lists, shows and follows runs; retries, cancels, resolves and replays them; sends them signals, updates."
    mistakes: ClassVar = (HoldfastError, AccessError)

    def add_verbs(self, verbs: Any) -> None:
        listing = verbs.add_parser("list", help="Show runs, newest first.")
        export = verbs.add_parser("export", help=f"Print up to {exporting.MOST:,} runs as CSV, or JSON.")
        for verb in (listing, export):
            for name, words in (("status", "May be repeated: any of them."), ("tag", "May be repeated: all of them.")):
                verb.add_argument(f"--{name}", action="append", default=[], metavar=name.upper(), help=words)
            for name in ("task", "queue", "parent", "created-after", "created-before"):
                verb.add_argument(f"--{name}", metavar=name.upper().replace("-", "_"))
            verb.add_argument(
                "--search", metavar="TEXT", help="Such as: queue:llm age:>10m; behind = when it begins with -."
            )
        export.add_argument("--columns", default="", metavar="NAMES", help=f"Some of {','.join(columns.FILEABLE)}.")
        listing.add_argument("--cursor", metavar="CURSOR")
        listing.add_argument("--limit", metavar="N", help=f"At most {MAX_LIMIT}.")
        show = verbs.add_parser("show", help="Show one run with its attempts and snapshots.")
        reason = verbs.add_parser("why", help="Say why a run is not running, and when it will probably start.")
        stack = verbs.add_parser("stack", help="Say where a run is: the Python stack of its tasks and threads.")
        tail = verbs.add_parser("tail", help="Print a run's log lines, and follow it to its end.")
        tail.add_argument("--level", choices=list(levels.LEVELS), default="debug")
        tail.add_argument("--step", metavar="STEP", help="A step's key, search#2, or its name for all its calls.")
        tail.add_argument("--attempt", metavar="N")
        tail.add_argument("--search", metavar="TEXT", help="Words of a line's message, step or fields (name=value).")
        tail.add_argument("--since", metavar="TIME", help="From a time on: 2026-01-31T09:00:00Z.")
        tail.add_argument("--no-follow", action="store_true", help="Print what is there and end.")
        retry = verbs.add_parser("retry", help="Let runs that ended badly go on with their next attempt.")
        retries.add_verbs(verbs)
        resolve = verbs.add_parser("resolve", help="Say what became of the unsafe step of a run that is unknown.")
        decision = resolve.add_mutually_exclusive_group(required=True)
        decision.add_argument("--happened", metavar="JSON", help="It happened; its result, as JSON.")
        decision.add_argument("--did-not-happen", action="store_true", help="It did not happen; call it again.")
        decision.add_argument("--fail", action="store_true", help="The run has failed.")
        resolve.add_argument("--reason", default="", help="Why; kept in the audit log.")
        cancel = verbs.add_parser("cancel", help="Cancel runs, and those that they wait for.")
        replay = verbs.add_parser("replay", help="Start a new run with a run's task, payload and options.")
        replay.add_argument("id", help="The run's id.")
        replay.add_argument("--payload", metavar="JSON", help="Another payload; - reads stdin.")
        add_options(replay)
        replay.add_argument("--reason", default="", help="Why; kept in the audit log.")
        forking.add_verbs(verbs)
        comparing.add_verbs(verbs)
        signal = verbs.add_parser("signal", help="Send a run a signal.")
        signal.add_argument("id", help="The run's id.")
        signal.add_argument("name", help="The signal's name.")
        signal.add_argument("payload", nargs="?", default="null", metavar="JSON", help="Its value; - reads stdin.")
        update = verbs.add_parser("update", help="Ask a run for something, and print its reply.")
        update.add_argument("id", help="The run's id.")
        update.add_argument("name", help="The update's name.")
        update.add_argument("payload", nargs="?", default="null", metavar="JSON", help="Its value; - reads stdin.")
        update.add_argument("--key", help="Sent again under the same key, it is the same update.")
        update.add_argument("--timeout", type=float, metavar="SECONDS", help="How long to wait for the reply.")
        top_up = verbs.add_parser("top-up", help="Raise a run's budget; what is parked for it goes on.")
        for unit in ("cost", "tokens-in", "tokens-out"):
            top_up.add_argument(f"--{unit}", metavar="AMOUNT", help=f"So much more {unit}.")
        top_up.add_argument("--unit", action="append", default=[], metavar="NAME=AMOUNT", help="Any other unit.")
        top_up.add_argument("--reason", default="", help="Why; kept in the audit log.")
        for verb in (show, reason, stack, tail, resolve, top_up):
            verb.add_argument("id", help="The run's id.")
        for verb in (retry, cancel):
            verb.add_argument("ids", nargs="+", metavar="id", help="The runs' ids.")
            verb.add_argument("--reason", default="", help="Why; kept in the audit log.")

    def do_list(self, options: dict[str, Any]) -> None:
        try:
            page = selectors.runs_page(
                _filter(options),
                cursor=parse_cursor(options["cursor"]),
                limit=parse_limit(options["limit"]),
                bodies=options["json"],
            )
        except InvalidFilter as error:
            if drawing := pointing.drawn(error):
                raise CommandError(drawing, returncode=MISTAKE) from None
            raise
        if options["json"]:
            self.json({"items": [describe(run) for run in page.items], "next": page.next})
            return
        rows = [(str(r.id), r.status, f"{r.created_at:%Y-%m-%d %H:%M:%S}", r.queue.name, r.task_id) for r in page.items]
        if rows:
            self.table([("RUN", "STATUS", "CREATED (UTC)", "QUEUE", "TASK"), *rows])
        elif not page.next:
            self.stdout.write("No run fits.")
        if page.searched_to:
            self.stdout.write(f"Looked at runs back to {page.searched_to:%Y-%m-%d %H:%M:%S} (UTC).")
        if page.next:
            self.stdout.write(f"There are more: --cursor {page.next}")

    def do_export(self, options: dict[str, Any]) -> None:
        names = columns.asked({"columns": options["columns"]}, columns.FILEABLE)
        for piece in exporting.texts(_filter(options), "json" if options["json"] else "csv", names):
            self.stdout.write(piece, ending="")

    def do_show(self, options: dict[str, Any]) -> None:
        from runs.api.schemas import AttemptOut, SnapshotOut

        run = selectors.run_get(_id(options["id"]))
        attempts = [AttemptOut.of(a).model_dump() for a in selectors.attempts(run.id).items]
        snapshots = [SnapshotOut.of(s).model_dump() for s in selectors.snapshots(run.id).items]
        if options["json"]:
            self.json({**describe(run), "attempts": attempts, "snapshots": snapshots})
            return
        for name, value in describe(run).items():
            if value not in (None, [], ""):
                self.stdout.write(f"{name:<16}  {_shown(value)}")
        for attempt in attempts:
            error = f"  {attempt['error']['type']}: {attempt['error']['message']}" if attempt["error"] else ""
            worker = attempt["worker"] or "–"
            self.stdout.write(f"attempt {attempt['number']:<8}  {attempt['status']} on {worker}{error}")
        for snapshot in snapshots:
            said = _shown(snapshot["state"] if snapshot["kind"] == "checkpoint" else snapshot["output"])
            self.stdout.write(
                f"snapshot {snapshot['sequence']:<7}  {snapshot['kind']} {snapshot['name']}  {said[:200]}"
            )

    def do_why(self, options: dict[str, Any]) -> None:
        found = why(_id(options["id"]))
        if options["json"]:
            self.json((found or NOTHING).as_json())
        elif found is None:
            self.stdout.write("It waits for nothing.")
        else:
            self.stdout.write("\n".join(found.lines()))

    def do_stack(self, options: dict[str, Any]) -> None:
        found = stack_take(_id(options["id"]))
        if options["json"]:
            self.json(found.as_json())
        else:
            self.stdout.write("\n".join(found.lines()))

    def do_tail(self, options: dict[str, Any]) -> None:
        run_id, after = _id(options["id"]), 0
        names = {"level": "level", "step": "step", "attempt": "attempt", "search": "q", "since": "at"}
        wanted, place = loglines.asked({name: options[option] or "" for option, name in names.items()})
        while True:
            run = selectors.run_get(run_id)  # before the lines: what a run said is stored before it ends
            while True:
                page = loglines.onwards(run_id, wanted, after=after, at=place.at)
                for line in page.models():
                    self._line(line, as_json=options["json"])
                after = max(after, page.last)
                if not page.later:
                    break
            self.stdout.flush()
            if run.status in FINAL or options["no_follow"]:
                break
            time.sleep(POLL)
        if not options["json"]:
            self.stderr.write(f"{run_id} is {run.status}")

    def do_retry(self, options: dict[str, Any]) -> None:
        self._each(options, services.run_retry)

    def do_cancel(self, options: dict[str, Any]) -> None:
        self._each(options, services.run_cancel)

    def do_retries(self, options: dict[str, Any]) -> None:
        retries.do_list(self, options)

    def do_hurry(self, options: dict[str, Any]) -> None:
        self._each(options, run_hurry)

    def do_postpone(self, options: dict[str, Any]) -> None:
        self._each(options, partial(run_postpone, delay=options["delay"]))

    def do_top_up(self, options: dict[str, Any]) -> None:
        names = ("cost", "tokens_in", "tokens_out")
        budget = {name: options[name] for name in names if options[name] is not None}
        for text in options["unit"]:
            unit, _, amount = text.partition("=")
            budget[unit] = amount
        run_id = _id(options["id"])
        account = budgets.run_top_up(run_id, budget=budget, actor=Actor.local(), reason=options["reason"])
        run = selectors.run_get(account)
        if options["json"]:
            self.json(describe(selectors.run_get(run_id)))
            return
        for bar in spending.bars(run):
            self.stdout.write(f"{account}: {bar.spent} of {bar.amount} {bar.budget.unit} spent")

    def do_resolve(self, options: dict[str, Any]) -> None:
        run_id, text = _id(options["id"]), options["happened"]
        if text is not None:
            decision, words = services.Decision.HAPPENED, "goes on with that result"
        elif options["did_not_happen"]:
            decision, words = services.Decision.DID_NOT_HAPPEN, "goes on and calls the step again"
        else:
            decision, words = services.Decision.FAIL, "has failed"
        services.run_resolve_unknown(
            run_id,
            decision=decision,
            output=None if text is None else jsonvalue.parse(text.encode("utf-8", "surrogateescape")),
            actor=Actor.local(),
            reason=options["reason"],
        )
        if options["json"]:
            self.json(describe(selectors.run_get(run_id)))
        else:
            self.stdout.write(f"{run_id} {words}.")

    def do_replay(self, options: dict[str, Any]) -> None:
        discovery.discover()
        payload = None if options["payload"] is None else read_json(options["payload"])
        if payload is None and options["payload"] is not None:
            raise InvalidPayload("payload must be an object with the task's parameters, not null")
        old = _id(options["id"])
        new = services.run_replay(
            old, payload=payload, options=chosen(options), actor=Actor.local(), reason=options["reason"]
        )
        self._tell(new, f"replays {old} and ", as_json=options["json"])

    def do_compare(self, options: dict[str, Any]) -> None:
        comparing.do_compare(self, options)

    def do_fork(self, options: dict[str, Any]) -> None:
        discovery.discover()
        old = _id(options["id"])
        new = forking.fork(old, options)
        self._tell(new, f"goes on from {old} after snapshot {options['at']} and ", as_json=options["json"])

    def do_signal(self, options: dict[str, Any]) -> None:
        run_id, payload = _id(options["id"]), read_json(options["payload"])
        answers.run_signal(run_id, options["name"], payload, actor=Actor.local())
        self._tell(run_id, f"has the signal {options['name']}; it ", as_json=options["json"])

    def do_update(self, options: dict[str, Any]) -> None:
        from runs.api.updates import UpdateOut

        run_id, payload = _id(options["id"]), read_json(options["payload"])
        sent = updates.update_send(run_id, options["name"], payload, key=options["key"], actor=Actor.local())
        reply = updates.wait_for_reply(run_id, sent, options["timeout"])
        if options["json"]:
            self.json(UpdateOut.of(updates.update_get(run_id, sent)).model_dump())
        else:
            self.stdout.write(json.dumps(redacted(reply), ensure_ascii=False))

    def _each(self, options: dict[str, Any], service: Any) -> None:
        ids = [_id(text) for text in options["ids"]]
        for run_id in ids:
            service(run_id, actor=Actor.local(), reason=options["reason"])
            self._tell(run_id, "", as_json=options["json"])

    def _tell(self, run_id: uuid.UUID, words: str, *, as_json: bool) -> None:
        run = selectors.run_get(run_id)
        if as_json:
            self.json(describe(run))
        else:
            self.stdout.write(f"{run_id} {words}is {status_words(run.status)}.")

    def _line(self, line: LogLine, *, as_json: bool) -> None:
        from runs.api.schemas import LogLineOut

        if as_json:
            self.json(LogLineOut.of(line).model_dump())
            return
        step = f" [{line.step}]" if line.step else ""
        fields = f"  {json.dumps(redacted(line.fields), ensure_ascii=False)}" if line.fields else ""
        self.stdout.write(f"{line.at:%H:%M:%S.%f} {levels.exact(line.level):<8}{step} {line.message}{fields}")


def _filter(options: dict[str, Any]) -> RunFilter:
    names = ("status", "tag", "task", "queue", "parent", "created_after", "created_before")
    return RunFilter.parse({name: options[name] for name in names if options[name]} | {"q": options["search"] or ""})


def describe(run: Run) -> dict[str, Any]:
    """A run as JSON, with the names of the API."""
    from runs.api.schemas import RunOut

    return RunOut.of(run).model_dump()


def _id(text: str) -> uuid.UUID:
    try:
        return uuid.UUID(text)
    except ValueError:
        raise UnknownRun(f"{text[:60]!r} is no run id; write a UUID such as `manage.py runs list` shows.") from None


def _shown(value: Any) -> str:
    is_json = isinstance(value, dict | list | int | float) or value is None
    return json.dumps(value, ensure_ascii=False, default=str) if is_json else str(value)

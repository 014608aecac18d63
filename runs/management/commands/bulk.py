"""`manage.py bulk list|show|items|retry|cancel|replay|postpone|abort`."""

from __future__ import annotations

import sys
import time
import uuid
from typing import Any, ClassVar, Final

from django.core.management.base import CommandError
from rich.console import Console
from rich.progress import Progress

from holdfast.access.errors import AccessError
from holdfast.access.grants import Actor
from holdfast.management.verbs import MISTAKE, VerbCommand
from holdfast.words import status_words
from runs.bulk import asking, scope, selectors, services
from runs.bulk.choices import Action, Outcome, Pace
from runs.errors import HoldfastError, InvalidFilter
from runs.filters import MAX_LIMIT, parse_cursor, parse_limit, parse_number
from runs.search import pointing

#: Seconds between two looks at a job that is followed.
POLL: Final = 0.25
#: The exit code of a job that did not do everything.
INCOMPLETE: Final = 1


class Command(VerbCommand):
    help = "Does something to many runs in the background: retries, cancels, replays them, or lets them try later."
    mistakes: ClassVar = (HoldfastError, AccessError)

    def add_verbs(self, verbs: Any) -> None:
        listing = verbs.add_parser("list", help="Show bulk jobs, the latest first.")
        show = verbs.add_parser("show", help="Show one: how far it is, and what became of its runs.")
        items = verbs.add_parser("items", help="Show the runs of one, and what became of each.")
        items.add_argument("--outcome", choices=[*Outcome.values, "none"], help="Only those.")
        for verb in (listing, items):
            verb.add_argument("--limit", metavar="N", help=f"At most {MAX_LIMIT}.")
            verb.add_argument("--cursor", metavar="CURSOR", help="Where the page before ended.")
        abort = verbs.add_parser("abort", help="Act upon no further run of one.")
        for verb in (show, items, abort):
            verb.add_argument("id", help="The job's id.")
        actions = {
            action: verbs.add_parser(str(action), help=words)
            for action, words in {
                Action.RETRY: "Let many runs that ended badly go on with their next attempt.",
                Action.CANCEL: "Cancel many runs, and those that they wait for.",
                Action.REPLAY: "Start a new run of each of many, with the same payload and options.",
                Action.POSTPONE: "Let the next attempts of many runs that are retrying begin later.",
            }.items()
        }
        actions[Action.RETRY].add_argument(
            "--canary", action="store_true", help="1 run, then 10, then the rest; stop when one fails as before."
        )
        actions[Action.POSTPONE].add_argument("--delay", required=True, metavar="SECONDS", help="From now.")
        for verb in actions.values():
            verb.add_argument("--search", metavar="TEXT", help="Such as: task:sync age:<1d; see `runs list`.")
            verb.add_argument("--id", action="append", metavar="RUN", help="May be repeated, instead of a search.")
            verb.add_argument("--yes", action="store_true", help="Do not ask.")
            verb.add_argument("--dry-run", action="store_true", help="Say how many runs are meant, and do nothing.")
            verb.add_argument("--no-follow", action="store_true", help="Begin it, and do not wait for its end.")
        for verb in (*actions.values(), abort):
            verb.add_argument("--reason", default="", help="Why; kept in the audit log.")

    def do_list(self, options: dict[str, Any]) -> None:
        page = selectors.jobs(cursor=parse_cursor(options["cursor"]), limit=parse_limit(options["limit"]))
        if options["json"]:
            told = [selectors.describe(found, whole=False) for found in page.items]
            self.json({"items": told, "next": page.next})
        elif page.items:
            self.table(
                [("JOB", "STATUS", "WHAT", "DONE", "SKIPPED", "FAILED", "LEFT", "SCOPE"), *map(_row, page.items)]
            )
            if page.next:
                self.stdout.write(f"There are more: --cursor {page.next}")
        else:
            self.stdout.write("There is no bulk job yet.")

    def do_show(self, options: dict[str, Any]) -> None:
        self._tell(selectors.look(_id(options["id"])), as_json=options["json"])

    def do_items(self, options: dict[str, Any]) -> None:
        page = selectors.items(
            selectors.job_get(_id(options["id"])).id,
            outcome="" if options["outcome"] == "none" else options["outcome"],
            after=parse_number("cursor", options["cursor"], least=0, most=scope.MAX_RUNS, default=-1),
            limit=parse_limit(options["limit"]),
        )
        told = [selectors.describe_item(item) for item in page.items]
        if options["json"]:
            self.json({"items": told, "next": page.next})
            return
        rows = [(str(i["position"]), str(i["run_id"]), i["outcome"], i["why"] or str(i["became"] or "")) for i in told]
        self.table([("#", "RUN", "OUTCOME", "WHY, OR THE NEW RUN"), *rows])
        if page.next is not None:
            self.stdout.write(f"There are more: --cursor {page.next}")

    def do_retry(self, options: dict[str, Any]) -> None:
        self._do(Action.RETRY, options)

    def do_cancel(self, options: dict[str, Any]) -> None:
        self._do(Action.CANCEL, options)

    def do_replay(self, options: dict[str, Any]) -> None:
        self._do(Action.REPLAY, options)

    def do_postpone(self, options: dict[str, Any]) -> None:
        self._do(Action.POSTPONE, options)

    def do_abort(self, options: dict[str, Any]) -> None:
        job_id = _id(options["id"])
        services.bulk_abort(job_id, actor=Actor.local(), reason=options["reason"])
        self._tell(selectors.look(job_id), as_json=options["json"])

    def _do(self, action: Action, options: dict[str, Any]) -> None:
        search, ids = options["search"], options["id"]
        if (search is None) == (ids is None):
            raise services.invalid("--search", "or --id: give one of them")
        try:
            found = scope.preview_ids(action, scope.read_ids(ids)) if ids else scope.preview_search(action, search)
            if not self._agreed(found, options):
                return
            job = services.bulk_create(
                action=action,
                search=None if ids else search,
                ids=ids,
                pace=Pace.CANARY if options.get("canary") else Pace.ALL,
                delay=options.get("delay"),
                newest=None if ids else found.newest,
                reason=options["reason"],
                actor=Actor.local(),
            )
        except InvalidFilter as error:
            if drawing := pointing.drawn(error):
                raise CommandError(drawing, returncode=MISTAKE) from None
            raise
        if not options["no_follow"] and not options["json"]:
            self._follow(job.id)
        self._tell(selectors.look(job.id), as_json=options["json"])

    def _agreed(self, found: scope.Preview, options: dict[str, Any]) -> bool:
        """Whether it is to be done, once it is known to how many runs."""
        runs = asking.counted(found.runs, found.exact)
        about = f"{runs} that fit {found.text!r}" if found.text else runs
        if options["dry_run"]:
            told = {"action": str(found.action), "q": found.text, "runs": found.runs, "exact": found.exact}
            self.json(told) if options["json"] else self.stdout.write(f"{about} would be {found.action.label}.")
            return False
        if options["yes"] or not found.runs:
            return True
        if not sys.stdin.isatty():
            raise services.invalid(
                "--yes", f"is needed where nobody can be asked: {about} would be {found.action.label}"
            )
        self.stdout.write(f"{about} will be {found.action.label}. Go on? [y/N] ", ending="")
        self.stdout.flush()
        return sys.stdin.readline().strip().lower() in {"y", "yes"}

    def _follow(self, job_id: uuid.UUID) -> None:
        """A progress bar until the job is over. An interrupt leaves the job going."""
        with Progress(console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True) as progress:
            bar = progress.add_task("Working", total=None)
            while True:
                found = selectors.look(job_id)
                words = found.words or status_words(found.status)
                progress.update(bar, total=found.job.total, completed=found.job.acted, description=words)
                if found.over:
                    return
                time.sleep(POLL)

    def _tell(self, found: selectors.Look, *, as_json: bool) -> None:
        job = found.job
        if as_json:
            self.json(selectors.describe(found))
            return
        self.stdout.write(
            f"{job.id} is {status_words(found.status)}: {job.done:,} of {job.total:,} runs {found.done_words}, "
            f"{job.skipped:,} skipped, {job.failed:,} failed, {job.left:,} left."
        )
        for reason in selectors.reasons(job.id):
            if reason.why:
                self.stdout.write(f"  {reason.runs:>7,}  {reason.outcome}: {reason.why}")
        if job.stopped:
            self.stdout.write(f"  {job.stopped}")
        if found.over and (job.left or job.failed):
            raise CommandError(f"{job.left + job.failed:,} runs were not {found.done_words}.", returncode=INCOMPLETE)


def _row(found: selectors.Look) -> tuple[str, ...]:
    job = found.job
    counts = (f"{number:,}" for number in (job.done, job.skipped, job.failed, job.left))
    scope_words = job.search or f"{job.total:,} selected runs"
    return (str(job.id), found.status, f"{job.action} {job.total:,}", *counts, scope_words)


def _id(text: str) -> uuid.UUID:
    try:
        return uuid.UUID(text)
    except ValueError:
        message = "write a UUID such as `manage.py bulk list` shows"
        raise selectors.UnknownBulkJob(f"{text[:60]!r} is no id of a bulk job; {message}.") from None

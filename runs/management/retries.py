"""What `manage.py runs` has about retries."""

from __future__ import annotations

from typing import Any

from holdfast.access.selectors import database_now
from holdfast.management.verbs import VerbCommand
from holdfast.words import exact, relative
from runs.filters import MAX_LIMIT, parse_cursor, parse_limit
from runs.retries import selectors
from runs.retries.selectors import Asked, Row
from runs.retries.verdict import Verdict


def add_verbs(verbs: Any) -> None:
    """`retries`, `hurry` and `postpone`."""
    listing = verbs.add_parser("retries", help="Show runs that failed and go on: progress, or burning?")
    listing.add_argument("--task", metavar="TASK")
    listing.add_argument("--queue", metavar="QUEUE")
    listing.add_argument("--verdict", metavar="|".join(Verdict))
    listing.add_argument("--cursor", metavar="CURSOR")
    listing.add_argument("--limit", metavar="N", help=f"At most {MAX_LIMIT}.")
    hurry = verbs.add_parser("hurry", help="Let runs that are retrying try now.")
    postpone = verbs.add_parser("postpone", help="Let runs that are retrying try later.")
    postpone.add_argument("--delay", required=True, metavar="SECONDS", help="From now.")
    for verb in (hurry, postpone):
        verb.add_argument("ids", nargs="+", metavar="id", help="The runs' ids.")
        verb.add_argument("--reason", default="", help="Why; kept in the audit log.")


def do_list(command: VerbCommand, options: dict[str, Any]) -> None:
    """Prints them, and on the first page the errors on which they burn."""
    page = selectors.page(
        Asked.parse({name: options[name] or "" for name in selectors.NAMES}),
        cursor=parse_cursor(options["cursor"]),
        limit=parse_limit(options["limit"]),
    )
    if options["json"]:
        command.json(selectors.page_json(page))
        return
    for group in page.summary.groups if page.summary else ():
        spent = selectors.spent_words(group.spent) or "nothing that they told"
        command.stdout.write(f"{group.runs:,} burn on {group.name}: {group.message[:100]} ({spent} since anything new)")
    if page.rows:
        command.table(
            [
                ("RUN", "TASK", "VERDICT", "ATTEMPT", "SAME ERROR", "NOTHING NEW", "SPENT SINCE", "NEXT"),
                *map(_columns, page.rows),
            ]
        )
    elif not page.next:
        command.stdout.write("No run that failed and goes on fits.")
    if page.next:
        command.stdout.write(f"There are more: --cursor {page.next}")


def _columns(row: Row) -> tuple[str, ...]:
    run, story = row.run, row.story
    due = f"{relative(run.next_at, database_now())} ({exact(run.next_at)})" if run.next_at else run.status
    return (
        str(run.id),
        run.task_id,
        story.verdict.words,
        f"{run.attempt} of {run.max_attempts}",
        str(story.streak),
        str(story.idle),
        selectors.spent_words(story.spent) or "–",
        due,
    )

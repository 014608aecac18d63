"""`manage.py waits list|complete|fail|approve|reject`."""

import uuid
from typing import Any, ClassVar

from holdfast.access.errors import AccessError
from holdfast.access.grants import Actor
from holdfast.management.verbs import VerbCommand
from runs import answers, waitlinks, waits
from runs.errors import HoldfastError
from runs.filters import MAX_LIMIT, parse_limit
from runs.management.commands.enqueue import read_json
from runs.models import ANSWERED_KINDS, Wait


class Command(VerbCommand):
    help = "Lists what runs wait for, completes and fails tokens, approves and rejects."
    mistakes: ClassVar = (HoldfastError, AccessError)

    def add_verbs(self, verbs: Any) -> None:
        listing = verbs.add_parser("list", help="Show what somebody is to answer, oldest first.")
        listing.add_argument("--kind", metavar="KIND", help=f"One of {', '.join(ANSWERED_KINDS)}.")
        listing.add_argument("--cursor", metavar="CURSOR")
        listing.add_argument("--limit", metavar="N", help=f"At most {MAX_LIMIT}.")
        complete = verbs.add_parser("complete", help="Complete a token with a value.")
        complete.add_argument("token", help="The wait's id, or its signed form.")
        complete.add_argument("value", metavar="JSON", help="The value; - reads stdin.")
        fail = verbs.add_parser("fail", help="Say that what a token stands for has failed.")
        fail.add_argument("token", help="The wait's id, or its signed form.")
        fail.add_argument("why", metavar="TEXT", help="Goes to the run, as the error's message.")
        fail.add_argument("--for-good", action="store_true", help="It cannot heal: nothing is tried again.")
        approve = verbs.add_parser("approve", help="Approve what a run asks.")
        reject = verbs.add_parser("reject", help="Reject what a run asks.")
        approve.add_argument("--form", metavar="JSON", help="What the approval asks for; - reads stdin.")
        for verb in (approve, reject):
            verb.add_argument("id", help="The wait's id, as `waits list` shows it, or its signed form.")
            verb.add_argument("--comment", default="", help="Goes to the run, and into the audit log.")

    def do_list(self, options: dict[str, Any]) -> None:
        kinds = (options["kind"],) if options["kind"] else ANSWERED_KINDS
        page = waits.open_waits(kinds, cursor=options["cursor"], limit=parse_limit(options["limit"]))
        if options["json"]:
            self.json({"items": [describe(wait) for wait in page.items], "next": page.next})
            return
        if not page.items:
            self.stdout.write("Nothing waits for an answer.")
            return
        rows = [
            (str(w.pk), w.kind, f"{w.created_at:%Y-%m-%d %H:%M:%S}", str(w.run_id), w.run.task_id, w.name)
            for w in page.items
        ]
        self.table([("WAIT", "KIND", "SINCE (UTC)", "RUN", "TASK", "WHAT"), *rows])
        if page.next:
            self.stdout.write(f"There are more: --cursor {page.next}")

    def do_complete(self, options: dict[str, Any]) -> None:
        wait_id, _ = waitlinks.read(options["token"])
        answers.wait_complete(wait_id, read_json(options["value"]), actor=Actor.local())
        self._tell(wait_id, options)

    def do_fail(self, options: dict[str, Any]) -> None:
        wait_id, _ = waitlinks.read(options["token"])
        answers.token_fail(wait_id, options["why"], retry=not options["for_good"], actor=Actor.local())
        self._tell(wait_id, options)

    def do_approve(self, options: dict[str, Any]) -> None:
        form = None if options["form"] is None else read_json(options["form"])
        self._decide(options, approved=True, form=form)

    def do_reject(self, options: dict[str, Any]) -> None:
        self._decide(options, approved=False, form=None)

    def _decide(self, options: dict[str, Any], *, approved: bool, form: Any) -> None:
        wait_id, _ = waitlinks.read(options["id"])
        comment = options["comment"]
        answers.approval_decide(wait_id, approved=approved, form=form, comment=comment, actor=Actor.local())
        self._tell(wait_id, options)

    def _tell(self, wait_id: uuid.UUID, options: dict[str, Any]) -> None:
        wait = waits.wait_get(wait_id)
        if options["json"]:
            self.json(describe(wait))
        else:
            self.stdout.write(f"{wait.name} of run {wait.run_id} is {answers.outcome_words(wait)}.")


def describe(wait: Wait) -> dict[str, Any]:
    """A wait as JSON, with the names of the API."""
    from django.conf import settings

    from runs.api.schemas import WaitOut

    # Without a public address nobody knows where the link would lead.
    is_known = settings.HOLDFAST_PUBLIC_URL and answers.may_pass_on(wait, Actor.local(), frozenset())
    return WaitOut.of(wait, waitlinks.page_url(wait.pk) if is_known else None).model_dump()

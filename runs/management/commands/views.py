"""`manage.py views list|save|delete`."""

from typing import Any, ClassVar

from holdfast.access.errors import AccessError
from holdfast.access.grants import Actor
from holdfast.management.verbs import VerbCommand
from runs.columns import LISTED
from runs.errors import HoldfastError
from runs.savedviews import selectors, services


class Command(VerbCommand):
    help = "Shows, saves and deletes saved views of the list of runs."
    mistakes: ClassVar = (HoldfastError, AccessError)

    def add_verbs(self, verbs: Any) -> None:
        verbs.add_parser("list", help="Show your own views and the shared ones.")
        save = verbs.add_parser("save", help="Save a search; under a name that is there, in its place.")
        save.add_argument("name")
        save.add_argument("search", nargs="?", default="", help="Such as: queue:llm age:>10m; none is all runs.")
        save.add_argument("--columns", default="", metavar="NAMES", help=f"Of its list: {','.join(LISTED)}.")
        save.add_argument("--shared", action="store_true", help="For all.")
        delete = verbs.add_parser("delete", help="Delete a view; its runs are not touched.")
        delete.add_argument("id", type=int)
        for verb in (save, delete):
            verb.add_argument("--reason", default="", help="Why; kept in the audit log, of shared ones.")

    def do_list(self, options: dict[str, Any]) -> None:
        views = selectors.visible(Actor.local())
        if options["json"]:
            self.json([selectors.as_json(view) for view in views])
        elif views:
            rows = [(str(v.pk), v.name, "shared" if v.shared else "own", v.search or "all runs") for v in views]
            self.table([("ID", "VIEW", "", "SEARCH"), *rows])
        else:
            self.stdout.write("There is no saved view yet.")

    def do_save(self, options: dict[str, Any]) -> None:
        view = services.view_save(
            options["name"],
            options["search"],
            columns=options["columns"],
            shared=options["shared"],
            reason=options["reason"],
            actor=Actor.local(),
        )
        self._tell(options, view, f"View {view.name} shows {view.search or 'all runs'}.")

    def do_delete(self, options: dict[str, Any]) -> None:
        view = services.view_delete(options["id"], reason=options["reason"], actor=Actor.local())
        self._tell(options, view, f"View {view.name} is deleted.")

    def _tell(self, options: dict[str, Any], view: Any, words: str) -> None:
        if options["json"]:
            self.json(selectors.as_json(view))
        else:
            self.stdout.write(words)

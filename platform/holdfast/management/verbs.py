"""Commands with verbs: `manage.py queues pause NAME`. A user's mistake is one line and exit code 2."""

import os
import sys
from argparse import ArgumentParser
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

from django.core.management.base import BaseCommand, CommandError
from pydantic_core import to_json

from holdfast.access.errors import AccessError

MISTAKE = 2


class VerbCommand(BaseCommand):
    """A verb `x-y` is a method `do_x_y(options)`; `add_verbs` declares its arguments."""

    requires_system_checks: tuple[str, ...] = ()  # they load the pages
    #: Errors whose text tells the user what to write instead.
    mistakes: ClassVar[tuple[type[Exception], ...]] = (AccessError,)
    #: The verb of a command that is called without any; empty: there has to be one.
    usual: ClassVar[str] = ""

    def add_arguments(self, parser: ArgumentParser) -> None:
        if self.usual:
            parser.add_argument("--json", action="store_true", help="Print JSON.")
        verbs = parser.add_subparsers(dest="verb", required=not self.usual, metavar="VERB")
        self.add_verbs(verbs)
        for verb in verbs.choices.values():
            verb.add_argument("--json", action="store_true", help="Print JSON.")

    def add_verbs(self, verbs: Any) -> None:
        raise NotImplementedError

    def handle(self, *args: Any, verb: str | None = None, **options: Any) -> None:
        try:
            getattr(self, f"do_{(verb or self.usual).replace('-', '_')}")(options)
            self.stdout.flush()
        except self.mistakes as error:
            raise CommandError(" ".join(str(error).split()), returncode=MISTAKE) from None
        except BrokenPipeError:  # `… | head` has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    def json(self, value: Any) -> None:
        """One line of JSON."""
        self.stdout.write(to_json(value).decode())

    def table(self, rows: Iterable[Sequence[str]]) -> None:
        """Columns as wide as they need to be; the last one is as long as it is."""
        listed = [[" ".join(cell.split()) for cell in row] for row in rows]
        widths = [max(len(cell) for cell in column) for column in zip(*listed, strict=True)][:-1]
        for row in listed:
            cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
            self.stdout.write("  ".join([*cells, row[-1]]).rstrip())

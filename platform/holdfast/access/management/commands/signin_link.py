"""`manage.py signin_link`: a new one-time link for whoever has a shell on the server."""

import json
from argparse import ArgumentParser
from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError

from holdfast.access import services


class Command(BaseCommand):
    help = "Prints a one-time sign-in link."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--user", default="", help="Whom it signs in (default: the built-in admin).")
        parser.add_argument("--base-url", default="", help="Put before the path, such as http://127.0.0.1:8000.")
        parser.add_argument("--json", action="store_true", help="Print JSON.")

    def handle(self, *args: Any, **options: Any) -> None:
        for option, value in (("--user", options["user"]), ("--base-url", options["base_url"])):
            # An argument that is not UTF-8 comes with surrogates, which neither PostgreSQL nor a terminal takes.
            if any("\ud800" <= c <= "\udfff" for c in value):
                raise CommandError(f"{option} {value[:40]!r} is not UTF-8; write plain text.", returncode=2)
        user = User.objects.filter(username=options["user"]).first() if options["user"] else None
        if options["user"] and user is None:
            raise CommandError(f"--user: there is no user {options['user']!r}.", returncode=2)
        link = options["base_url"].rstrip("/") + services.signin_link_create(user=user)
        self.stdout.write(json.dumps({"link": link}) if options["json"] else link)

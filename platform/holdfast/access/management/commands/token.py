"""`manage.py token create|list|revoke`: the API's tokens from the command line."""

import json
from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from holdfast.access import selectors, services
from holdfast.access.errors import AccessError
from holdfast.access.grants import Actor
from holdfast.access.models import ApiToken

MAX_DAYS = 3650


class Command(BaseCommand):
    help = "Makes, lists and revokes API tokens."

    def add_arguments(self, parser: ArgumentParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True, metavar="create|list|revoke")
        create = verbs.add_parser("create", help="Make a token; it is shown this once.")
        create.add_argument("name", help="What will use it, such as 'ci'.")
        create.add_argument("--role", default="", metavar="ROLE", help="viewer, operator, developer or admin.")
        create.add_argument("--expires-in", type=int, metavar="DAYS", help="Days until it expires (default: never).")
        create.add_argument("--quiet", action="store_true", help="Print the token alone.")
        listing = verbs.add_parser("list", help="Show tokens, newest first.")
        listing.add_argument("--all", action="store_true", help="Expired and revoked ones too.")
        revoke = verbs.add_parser("revoke", help="Revoke a token at once.")
        revoke.add_argument("token", help="Its name, or its prefix as shown by `token list`.")
        revoke.add_argument("--reason", default="", help="Why; kept in the audit log.")
        for verb in (create, listing, revoke):
            verb.add_argument("--json", action="store_true", help="Print JSON.")

    def handle(self, *args: Any, verb: str, **options: Any) -> None:
        try:
            getattr(self, verb)(options)
        except AccessError as error:
            raise CommandError(str(error), returncode=2) from None

    def create(self, options: dict[str, Any]) -> None:
        if not options["role"]:
            raise CommandError("--role is missing. Write viewer, operator, developer or admin.", returncode=2)
        days = options["expires_in"]
        if days is not None and not 1 <= days <= MAX_DAYS:
            raise CommandError(f"--expires-in: {days} is not from 1 to {MAX_DAYS} days.", returncode=2)
        token, plaintext = services.token_create(
            name=options["name"],
            role=options["role"],
            actor=Actor.local(),
            expires_at=selectors.database_now() + timedelta(days=days) if days else None,
        )
        if options["json"]:
            self.stdout.write(json.dumps(describe(token) | {"token": plaintext}))
        elif options["quiet"]:
            self.stdout.write(plaintext)
        else:
            self.stdout.write(f"Token {token.name!r} with the role {token.role}. Copy it now; it is not shown again.")
            self.stdout.write(plaintext)

    def list(self, options: dict[str, Any]) -> None:
        found = selectors.tokens(live_only=not options["all"])
        if options["json"]:
            self.stdout.write(json.dumps([describe(token) for token in found]))
            return
        if not found:
            self.stdout.write("There is no token yet. Make one: manage.py token create NAME --role viewer")
        for token in found:
            used = f"{token.last_used_at:%Y-%m-%d %H:%M}" if token.last_used_at else "never used"
            end = "  revoked" if token.revoked_at else ""
            self.stdout.write(f"{token.prefix}…  {token.role:<9}  {used:<16}  {token.name}{end}")

    def revoke(self, options: dict[str, Any]) -> None:
        token = selectors.token_find(options["token"])
        services.token_revoke(token=token, actor=Actor.local(), reason=options["reason"])
        if options["json"]:
            token.refresh_from_db()
            self.stdout.write(json.dumps(describe(token)))
        else:
            self.stdout.write(f"Revoked {token.name!r} ({token.prefix}…). Requests with it answer 401 from now on.")


def describe(token: ApiToken) -> dict[str, str | int | None]:
    """A token as JSON, without its secret."""
    times = {f: getattr(token, f) for f in ("created_at", "last_used_at", "expires_at", "revoked_at")}
    return {
        "id": token.pk,
        "name": token.name,
        "role": str(token.role),
        "prefix": token.prefix,
        "created_by": token.created_by,
        **{field: at.isoformat() if at else None for field, at in times.items()},
    }

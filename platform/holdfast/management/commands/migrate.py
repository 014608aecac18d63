"""`manage.py migrate`: Django's, one at a time, whichever hosts ask for it."""

import time
from typing import Any

from django.core.management.commands import migrate
from django.db import connections

LOCK = 0x686F6C6466617374  # "holdfast"
POLL = 0.5  # seconds


class Command(migrate.Command):
    def handle(self, *args: Any, **options: Any) -> None:
        connection = connections[options["database"]]
        # Asked for again and again, and not waited for: a statement that waits holds a snapshot, and then
        # CREATE INDEX CONCURRENTLY in the migration that we wait for would wait for us.
        said = False
        while not self._locks(connection):
            if not said:
                self.stdout.write("Another process is migrating this database: waiting for it.")
                said = True
            time.sleep(POLL)
        try:
            super().handle(*args, **options)
        finally:
            if connection.connection is not None and not connection.connection.closed:
                with connection.cursor() as cursor:
                    cursor.execute("SELECT pg_advisory_unlock(%s)", [LOCK])

    @staticmethod
    def _locks(connection: Any) -> bool:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_lock(%s)", [LOCK])
            return bool(cursor.fetchone()[0])

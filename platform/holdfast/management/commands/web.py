"""`manage.py web`: pages, API and websockets."""

import logging
import socket
import time
from argparse import ArgumentParser
from typing import Any, cast

import uvicorn
from django.core.management.base import BaseCommand
from django.db import OperationalError, connection, connections
from django.db.backends.postgresql.base import DatabaseWrapper

from holdfast.health import pending_migrations
from holdfast.sockets import listen, port_of
from runs.discovery import discover

POLL = 0.5  # seconds
POOL_SIZE = 20  # connections: requests at once that ask the database
POOL_TIMEOUT = 5.0  # seconds that a request waits for one of them
GRACE = 5  # seconds that open requests and websockets get at the end
WEBSOCKET_MESSAGE = 64 * 1024  # bytes; pages say next to nothing over their sockets

logger = logging.getLogger("holdfast.web")


class Command(BaseCommand):
    help = "Runs the web server: pages, API and websockets. Waits until the database is migrated."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="The address to listen on (127.0.0.1).")
        parser.add_argument("--port", type=int, default=8000, help="The port to listen on (8000); 0 takes a free one.")
        parser.add_argument("--fd", type=int, help="A listening socket that is open already, instead of both.")

    def handle(self, *args: Any, **options: Any) -> None:
        discover()  # before the application does: here a mistake in the tasks is one line
        if options["fd"] is None:
            listener = listen(options["host"], options["port"])
        else:
            listener = socket.socket(fileno=options["fd"])
        self._wait_for_migrations()
        self._pool_connections()
        config = uvicorn.Config(
            "holdfast.asgi:application",
            lifespan="on",
            ws="websockets-sansio",
            ws_max_size=WEBSOCKET_MESSAGE,
            timeout_graceful_shutdown=GRACE,
            log_config=None,
            access_log=False,
            server_header=False,
        )
        self.stdout.write(f"web server listens on {options['host']}, port {port_of(listener)}")
        try:
            uvicorn.Server(config).run(sockets=[listener])
        finally:
            cast(DatabaseWrapper, connections["default"]).close_pool()

    @staticmethod
    def _pool_connections() -> None:
        """Requests share connections. Under ASGI each one has a thread of its own and would connect anew, which costs
        half of a short request; workers and commands hold a connection or two, and need no pool."""
        database = connections.settings["default"]
        database["OPTIONS"]["pool"] = {"min_size": 2, "max_size": POOL_SIZE, "timeout": POOL_TIMEOUT}
        database["CONN_HEALTH_CHECKS"] = True

    def _wait_for_migrations(self) -> None:
        said = ""
        while why := self._not_yet():
            if why != said:
                self.stdout.write(why)
                said = why
            time.sleep(POLL)
        connection.close()

    @staticmethod
    def _not_yet() -> str:
        try:
            pending = pending_migrations()
        except OperationalError as error:
            connection.close()
            return f"waiting for the database: {str(error).splitlines()[0]}"
        return f"waiting for {pending} migrations: run `manage.py migrate`" if pending else ""

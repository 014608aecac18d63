"""Ports that stay a test's own while what listens there goes and comes back."""

from __future__ import annotations

import socket


def kept_port() -> socket.socket:
    """Holds a free port of 127.0.0.1 until it is closed: nobody is given it, and who names it may listen there."""
    place = socket.socket()
    place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    place.bind(("127.0.0.1", 0))
    return place

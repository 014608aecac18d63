"""Listening sockets."""

import errno
import os
import socket

from holdfast.errors import ConfigError

BACKLOG = 2048
PORTS_TRIED = 20
LAST_PORT = 65535


class PortTaken(ConfigError):
    """Something else listens on this port."""


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one.

    Raises:
        PortTaken: the port is in use.
        ConfigError: this machine has no such address, or the port is not ours to take.
    """
    if not 0 <= port <= LAST_PORT:
        raise ConfigError(f"--port {port}: it must be from 0 to {LAST_PORT}. Choose another one.")
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except (socket.gaierror, UnicodeError):
        raise ConfigError(f"--host {host}: there is no such address. Write an address of this machine.") from None
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise PortTaken(f"--port {port}: it is taken by another program. Choose another one.") from None
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise ConfigError(f"--host {host} --port {port}: {reason}. Choose an address and port of yours.") from None
    return listener


def listen_near(host: str, port: int) -> socket.socket:
    """As `listen`, on the first free port from this one on.

    Raises:
        PortTaken: this port and those after it are in use.
    """
    last = min(port + PORTS_TRIED, LAST_PORT)
    for candidate in range(port, max(port, last) + 1):
        try:
            return listen(host, candidate)
        except PortTaken:
            continue
    raise PortTaken(f"--port {port}: it is taken, and so are those up to {last}. Choose another one.")


def port_of(listener: socket.socket) -> int:
    """The port that a socket listens on."""
    return int(listener.getsockname()[1])

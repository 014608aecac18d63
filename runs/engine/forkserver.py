"""Forks a process for each isolated run, out of a process that can be forked safely.

    worker ──▶ keeper ──▶ fork server ──▶ child, child, …
      ▲                        │
      └── starts and ends ─────┘           (each child talks to the worker itself: `isolation` and `child`)

A worker has threads, an event loop and connections; a fork of it would inherit locks that nobody will ever release. So
the keeper is forked once, before any of that exists but after the tasks were imported: a child starts in milliseconds.
The keeper does nothing but start the fork server again when it dies. The kernel ends each of them when the one above
it ends, however that was; so a worker that is killed leaves nothing behind.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import socket
import stat
import struct
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple, NoReturn

from django.db import connections

from holdfast.embedded.process import die_with_parent
from runs.engine import capture, memory

#: Every message on the control socket has this length: kind, number of the stay, and two numbers more.
_MESSAGE: Final = struct.Struct("!cqqq")
#: Worker → server: fork (a socket comes along), send a signal.
FORK, SIGNAL = b"F", b"S"
#: Server → worker: forked, ended, could not be forked. Keeper → worker: the server died.
FORKED, ENDED, REFUSED, DIED = b"f", b"e", b"r", b"d"
#: Seconds before a server that died is started again.
PAUSE: Final = 0.1
#: Seconds that keeper and server get to end when the worker closes.
_GOODBYE: Final = 5.0


class Report(NamedTuple):
    """What the control socket says.

    FORKED: `value` is the pid. ENDED: `value` is the exit code, or minus the signal; `more` the peak memory in bytes,
    negative when the kernel was killing for memory meanwhile. REFUSED: `value` is the errno. DIED: `value` as in ENDED.
    """

    kind: bytes
    number: int
    value: int
    more: int


class Control:
    """The worker's end of the control socket."""

    def __init__(self, link: socket.socket, keeper: int) -> None:
        self._link = link
        self._keeper = keeper
        self._lock = threading.Lock()

    def fork(self, number: int, link: socket.socket) -> None:
        with self._lock:
            socket.send_fds(self._link, [_MESSAGE.pack(FORK, number, 0, 0)], [link.fileno()])

    def signal(self, number: int, signum: int) -> None:
        with self._lock:
            self._link.sendall(_MESSAGE.pack(SIGNAL, number, signum, 0))

    def report(self) -> Report | None:
        """The next one; None when keeper and server are gone."""
        data = self._link.recv(_MESSAGE.size, socket.MSG_WAITALL)
        return Report(*_MESSAGE.unpack(data)) if len(data) == _MESSAGE.size else None

    def close(self) -> None:
        """Ends the server, its children and the keeper."""
        self._link.shutdown(socket.SHUT_RDWR)
        deadline = time.monotonic() + _GOODBYE
        with contextlib.suppress(ChildProcessError, ProcessLookupError):
            while os.waitpid(self._keeper, os.WNOHANG) == (0, 0):
                if time.monotonic() > deadline:
                    os.kill(self._keeper, signal.SIGKILL)
                time.sleep(0.01)
        self._link.close()


def start(child: Callable[[socket.socket], NoReturn]) -> Control:
    """Forks the keeper. Call it while this process has one thread; `child` is what each forked child executes.

    The calling thread must live as long as the process: its end would take the keeper along.
    """
    ours, theirs = socket.socketpair()
    ends_with_us = die_with_parent(signal.SIGKILL)
    keeper = os.fork()
    if keeper == 0:
        try:
            ends_with_us()
            ours.close()
            _keep(theirs, child)
        finally:
            os._exit(70)
    theirs.close()
    return Control(ours, keeper)


def _keep(control: socket.socket, child: Callable[[socket.socket], NoReturn]) -> NoReturn:
    """The keeper's life: there is a fork server."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the worker decides when to end; the terminal tells all of us
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _forget_connections(control)
    capture.install()
    gc.collect()
    gc.freeze()  # or the children's collections would copy every page they look at
    while True:
        ends_with_keeper = die_with_parent(signal.SIGKILL)
        server = os.fork()
        if server == 0:
            try:
                ends_with_keeper()
                _Server(control, child).serve()
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(70)
        code = os.waitstatus_to_exitcode(os.waitpid(server, 0)[1])
        if code == 0:
            os._exit(0)
        with contextlib.suppress(OSError):
            control.sendall(_MESSAGE.pack(DIED, 0, code, 0))
        time.sleep(PAUSE)


def _forget_connections(control: socket.socket) -> None:
    """What is open to PostgreSQL and Redis belongs to the worker. The objects that hold these sockets live on in this
    process, too: so each number is kept, but leads nowhere, and nothing that they still say reaches a server."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number in range(3, max(int(name) for name in os.listdir("/proc/self/fd")) + 1):
        try:
            is_socket = stat.S_ISSOCK(os.fstat(number).st_mode)
        except OSError:
            continue
        if is_socket and number != control.fileno():
            os.dup2(nowhere, number, inheritable=False)
    os.close(nowhere)
    for wrapper in connections.all(initialized_only=True):
        with contextlib.suppress(Exception):
            wrapper.close()
        del connections[wrapper.alias]


@dataclass(slots=True)
class _Forked:
    number: int
    oom_kills: int  # of the machine, when it was forked


class _Server:
    """One thread that forks, signals and buries."""

    def __init__(self, control: socket.socket, child: Callable[[socket.socket], NoReturn]) -> None:
        self._control = control
        self._child = child
        self._by_pid: dict[int, _Forked] = {}
        self._pids: dict[int, int] = {}
        self._woken, self._wake = socket.socketpair()
        for end in (self._woken, self._wake):
            end.setblocking(False)

    def serve(self) -> NoReturn:
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wake.fileno(), warn_on_full_buffer=False)
        while True:
            ready, _, _ = select.select([self._control, self._woken], [], [])
            if self._woken in ready:
                with contextlib.suppress(BlockingIOError):
                    self._woken.recv(4096)
                self._bury()
            if self._control in ready:
                data, links, _, _ = socket.recv_fds(self._control, _MESSAGE.size, 1)
                if len(data) < _MESSAGE.size:
                    self._end()
                kind, number, value, _ = _MESSAGE.unpack(data)
                if kind == FORK:
                    os.set_inheritable(links[0], False)
                    self._fork(number, socket.socket(fileno=links[0]))
                elif kind == SIGNAL and number in self._pids:
                    self._signal(self._pids[number], value)

    def _say(self, kind: bytes, number: int, value: int, more: int = 0) -> None:
        with contextlib.suppress(OSError):  # a worker that is gone: the next look finds that out
            self._control.sendall(_MESSAGE.pack(kind, number, value, more))

    def _fork(self, number: int, link: socket.socket) -> None:
        oom_kills = memory.oom_kills()
        ends_with_us = die_with_parent(signal.SIGKILL)
        try:
            pid = os.fork()
        except OSError as error:
            link.close()
            self._say(REFUSED, number, error.errno or 0)
            return
        if pid == 0:
            try:
                ends_with_us()
                self._become(link)
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(70)
        with contextlib.suppress(OSError):
            os.setpgid(pid, pid)  # here and there: whoever comes first
        link.close()
        self._by_pid[pid] = _Forked(number, oom_kills)
        self._pids[number] = pid
        self._say(FORKED, number, pid)

    def _become(self, link: socket.socket) -> NoReturn:
        """The child sheds what is the server's. Its own group: what it starts can be ended with it."""
        with contextlib.suppress(OSError):
            os.setpgid(0, 0)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)  # the terminal's goes to the worker's group, not here
        for end in (self._control, self._woken, self._wake):
            end.close()
        self._child(link)

    def _signal(self, pid: int, signum: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signum)

    def _bury(self) -> None:
        """Looks at each: signals of several ends may have become one."""
        for pid in list(self._by_pid):
            if not _has_ended(pid):
                continue
            self._signal(pid, signal.SIGKILL)  # what it started and left; until it is reaped, its group is its own
            _, status, used = os.wait4(pid, 0)
            forked = self._by_pid.pop(pid)
            del self._pids[forked.number]
            peak = used.ru_maxrss * 1024
            starved = memory.oom_kills() > forked.oom_kills
            self._say(ENDED, forked.number, os.waitstatus_to_exitcode(status), -peak if starved else peak)

    def _end(self) -> NoReturn:
        """The worker is gone, or closes."""
        for pid in self._by_pid:
            self._signal(pid, signal.SIGKILL)
        os._exit(0)


def _has_ended(pid: int) -> bool:
    """Looks without reaping: until it is reaped, a process's number is nobody else's."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

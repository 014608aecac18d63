"""`manage.py up`: one thread, one loop over children's output, their ends, signals and the servers' health."""

import contextlib
import http.client
import os
import selectors
import signal
import socket
import time
from collections.abc import Iterator
from typing import Final

from holdfast import probe
from holdfast.embedded import EmbeddedServers
from holdfast.embedded.folder import FolderLock, claim
from holdfast.env import LOCAL_HOSTS, Env
from holdfast.errors import ConfigError, HoldfastError
from holdfast.sockets import listen_near, port_of
from holdfast.supervisor.child import Child
from holdfast.supervisor.console import Console

TICK: Final = 0.25  # seconds between two looks at what does not announce itself
SERVER_CHECK: Final = 1.0  # seconds
SERVER_PAUSE: Final = 5.0  # seconds between two tries to start a server that does not come up
EXTRA_GRACE: Final = 5.0  # seconds on top of a worker's own
WILDCARDS: Final = frozenset({"0.0.0.0", "::", ""})  # noqa: S104 - recognised, not bound to
STOPS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Up:
    """The whole installation on this machine.

    Args:
        env: the checked environment.
        host, port: where the web listens; a port that is taken gives way to the next free one.
        workers: how many worker processes.
        grace: seconds that a worker may go on after SIGTERM.
    """

    def __init__(self, env: Env, *, host: str, port: int, workers: int, grace: float) -> None:
        self._env = env
        self._host, self._port, self._workers = host, port, workers
        self._grace = grace + EXTRA_GRACE
        self._console = Console()
        self._selector = selectors.DefaultSelector()
        self._children: list[Child] = []
        self._servers: EmbeddedServers | None = None
        self._servers_due = 0.0
        self._stops: list[signal.Signals] = []
        self._stopping = False
        self._exit_code = 0

    def run(self) -> int:
        """Until Ctrl-C or SIGTERM.

        Returns:
            The exit code: 2 if a child found the configuration unfit at its first start.

        Raises:
            HoldfastError: it could not start; the text says why.
        """
        claim(self._env.data_dir)
        with self._signals(), contextlib.ExitStack() as stack:
            environment = self._start_servers(stack)
            listener = stack.enter_context(self._listen())
            stack.callback(self._stop_children)
            if self._migrate(environment):
                self._start_children(environment, listener)
                self._loop(listener)
            if self._stops:
                self._say("stopping; Ctrl-C again stops at once")
        if not self._stops and not self._exit_code:
            self._exit_code = 1
        self._say("stopped")
        return self._exit_code

    # --- what is started ------------------------------------------------------------------------------------------

    def _start_servers(self, stack: contextlib.ExitStack) -> dict[str, str]:
        environment = {**os.environ, "PYTHONUNBUFFERED": "1", "HOLDFAST_DATA_DIR": str(self._env.data_dir)}
        if self._env.tasks:
            environment["HOLDFAST_TASKS"] = ",".join(self._env.tasks)
        if self._host not in WILDCARDS and self._host not in LOCAL_HOSTS:
            name = f"[{self._host}]" if ":" in self._host else self._host
            environment["HOLDFAST_ALLOWED_HOSTS"] = ",".join((*self._env.allowed_hosts, name))
        if self._env.database_url and self._env.redis_url:
            stack.enter_context(FolderLock(self._env.data_dir))
            probe.database(self._env.database_url)
            probe.broker(self._env.redis_url)
            return environment
        self._servers = EmbeddedServers(self._env.data_dir, say=self._say)
        stack.enter_context(self._servers)
        urls = {"DATABASE_URL": self._servers.database_url, "REDIS_URL": self._servers.redis_url}
        return {**environment, **urls}

    def _listen(self) -> socket.socket:
        listener = listen_near(self._host, self._port)
        found = port_of(listener)
        if self._port and found != self._port:
            self._say(f"port {self._port} is taken; using {found} (choose another with --port)")
        if self._host in WILDCARDS and self._env.allowed_hosts == LOCAL_HOSTS and not self._env.public_url:
            self._say("other machines are refused until HOLDFAST_ALLOWED_HOSTS names this one as they call it")
        return listener

    def _migrate(self, environment: dict[str, str]) -> bool:
        """Bring the database up to date; False if that failed or was interrupted."""
        child = self._add(Child("migrate", ["migrate"], environment, lasting=False))
        while child.running and not self._stops:
            self._tick()
        return not self._stops and not self._exit_code

    def _start_children(self, environment: dict[str, str], listener: socket.socket) -> None:
        descriptor = listener.fileno()
        options = ["--host", self._host, "--fd", str(descriptor)]
        self._add(
            Child(
                "web",
                ["web", *options, "--skip-checks"],
                environment,
                orphan_signal=signal.SIGKILL,
                pass_fds=[descriptor],
            )
        )
        for number in range(1, self._workers + 1):
            self._add(Child(f"worker-{number}", ["work"], environment))
        self._add(Child("schedule", ["schedule"], environment, orphan_signal=signal.SIGKILL))
        words = ["signin_link", "--base-url", self._address(listener)]
        self._add(Child("sign-in", words, environment, lasting=False))

    def _address(self, listener: socket.socket) -> str:
        if self._env.public_url:
            return self._env.public_url
        host = "127.0.0.1" if self._host in WILDCARDS else self._host
        return f"http://[{host}]:{port_of(listener)}" if ":" in host else f"http://{host}:{port_of(listener)}"

    def _add(self, child: Child) -> Child:
        self._children.append(child)
        self._start(child)
        return child

    def _start(self, child: Child) -> None:
        descriptor = child.start()
        self._selector.register(descriptor, selectors.EVENT_READ, child)
        if child.lasting:
            self._say(f"{child.name} started (pid {child.pid})")

    # --- the loop -------------------------------------------------------------------------------------------------

    def _loop(self, listener: socket.socket) -> None:
        welcomed = False
        while not self._stops and not self._exit_code:
            self._tick()
            self._restart_due()
            self._mind_servers()
            if not welcomed and (link := self._link()) and self._web_answers(listener):
                welcomed = True
                self._console.banner(["Holdfast is ready. Sign in, once, with this link:", link])

    def _tick(self) -> None:
        """Pass on output for a moment, then notice who ended."""
        for key, _ in self._selector.select(TICK):
            child = key.data
            if isinstance(child, Child):
                if not child.read(lambda text, child=child: self._hear(child, text)):  # type: ignore[misc]
                    self._selector.unregister(key.fd)
            else:
                os.read(key.fd, 64)  # a signal woke us; its handler has noted it
        for child in [c for c in self._children if c.running]:
            if (code := child.ended()) is not None:
                self._bury(child, code)

    def _bury(self, child: Child, code: int) -> None:
        for key in [k for k in list(self._selector.get_map().values()) if k.data is child]:
            self._selector.unregister(key.fd)
        child.bury(lambda text: self._hear(child, text))
        if child.name == "sign-in" and code and not self._stopping:
            for text in child.output:
                self._console.line(child.name, text)
        if self._stopping:
            self._say(f"{child.name} ended")
        elif not child.lasting and code:
            self._say(f"{child.name} failed ({_spoken(code)})", bad=True)
            self._exit_code = self._exit_code or (code if code > 0 else 1)
        elif child.lasting and code == ConfigError.exit_code and child.starts == 1:
            self._say(f"{child.name} cannot work with this configuration", bad=True)
            self._exit_code = code
        elif child.lasting and child.due is not None:
            pause = max(0.0, child.due - time.monotonic())
            self._say(f"{child.name} ended ({_spoken(code)}); starting again in {pause:.1f} s", bad=True)

    def _hear(self, child: Child, text: str) -> None:
        if child.name == "sign-in":
            child.output.append(text)
        else:
            self._console.line(child.name, text)

    def _link(self) -> str | None:
        lines = next((c.output for c in self._children if c.name == "sign-in" and not c.running), [])
        return next((line for line in lines if "/sign-in/" in line), None)

    def _web_answers(self, listener: socket.socket) -> bool:
        host = "127.0.0.1" if self._host in WILDCARDS else self._host
        connection = http.client.HTTPConnection(host, port_of(listener), timeout=TICK)
        try:
            connection.request("GET", "/healthz", headers={"Host": "localhost"})
            return connection.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _restart_due(self) -> None:
        for child in self._children:
            if child.due is not None and child.due <= time.monotonic():
                self._start(child)

    def _mind_servers(self) -> None:
        now = time.monotonic()
        if self._servers is None or now < self._servers_due:
            return
        self._servers_due = now + SERVER_CHECK
        if self._servers.alive():
            return
        self._say("a server ended: starting it again", bad=True)
        try:
            self._servers.ensure()
        except HoldfastError as error:
            self._say(str(error), bad=True)
            self._servers_due = now + SERVER_PAUSE

    # --- the end --------------------------------------------------------------------------------------------------

    def _stop_children(self) -> None:
        """SIGTERM, then the grace, then SIGKILL; a second Ctrl-C shortens the grace to nothing."""
        for child in self._children:
            child.due = None
            child.signal(signal.SIGTERM)
        self._stopping = True
        asked = len(self._stops)
        deadline = time.monotonic() + self._grace
        while any(child.running for child in self._children):
            if time.monotonic() > deadline or len(self._stops) > max(asked, 1):
                for child in self._children:
                    child.signal(signal.SIGKILL)
            self._tick()

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Notes each signal to stop, and wakes the loop with it."""
        reader, writer = socket.socketpair()
        reader.setblocking(False)
        writer.setblocking(False)
        self._selector.register(reader, selectors.EVENT_READ)

        def note(number: int, frame: object) -> None:
            self._stops.append(signal.Signals(number))

        # A hang-up that is ignored stays ignored: that is what nohup is for.
        heard = [n for n in STOPS if n != signal.SIGHUP or signal.getsignal(n) != signal.SIG_IGN]
        before = {number: signal.signal(number, note) for number in heard}
        before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda number, frame: None)
        wakeup = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(wakeup)
            for number, handler in before.items():
                signal.signal(number, handler)
            self._selector.close()
            reader.close()
            writer.close()

    def _say(self, text: str, *, bad: bool = False) -> None:
        self._console.line("up", text, bad=bad)


def _spoken(code: int) -> str:
    """An exit code in words."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"

"""`manage.py up`: a family of migrations, web, workers and scheduler, and the health of their servers."""

import contextlib
import http.client
import os
import signal
import socket
import time
from typing import Final

from holdfast import probe
from holdfast.embedded import EmbeddedServers
from holdfast.embedded.folder import FolderLock, claim
from holdfast.env import LOCAL_HOSTS, Env
from holdfast.errors import ConfigError, HoldfastError
from holdfast.sockets import listen_near, port_of
from holdfast.supervisor.child import Child
from holdfast.supervisor.family import TICK, Family, spoken

SERVER_CHECK: Final = 1.0  # seconds
SERVER_PAUSE: Final = 5.0  # seconds between two tries to start a server that does not come up
WILDCARDS: Final = frozenset({"0.0.0.0", "::", ""})  # noqa: S104 - recognised, not bound to


class Up(Family):
    """The whole installation on this machine.

    Args:
        env: the checked environment.
        host, port: where the web listens; a port that is taken gives way to the next free one.
        workers: how many worker processes.
        grace: seconds that a worker may go on after SIGTERM.
    """

    def __init__(self, env: Env, *, host: str, port: int, workers: int, grace: float) -> None:
        super().__init__("up", grace=grace)
        self._env = env
        self._host, self._port, self._workers = host, port, workers
        self._servers: EmbeddedServers | None = None
        self._servers_due = 0.0
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
        self._servers = EmbeddedServers(self._env.data_dir, tasks=self._env.tasks, say=self._say)
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

    def _ended(self, child: Child, code: int) -> None:
        if child.name == "sign-in" and code and not self._stopping:
            for text in child.output:
                self._console.line(child.name, text)
        if self._stopping:
            super()._ended(child, code)
        elif not child.lasting and code:
            self._say(f"{child.name} failed ({spoken(code)})", bad=True)
            self._exit_code = self._exit_code or (code if code > 0 else 1)
        elif child.lasting and code == ConfigError.exit_code and child.starts == 1:
            self._say(f"{child.name} cannot work with this configuration", bad=True)
            self._exit_code = code
        else:
            super()._ended(child, code)

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

"""Both servers of one data folder."""

import contextlib
import os
import shutil
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from holdfast.embedded import account as accounts
from holdfast.embedded import folder, programs, state
from holdfast.embedded.postgres import Postgres
from holdfast.embedded.valkey import Valkey
from holdfast.errors import HoldfastError

MAX_SOCKET_PATH: Final = 103  # bytes that fit everywhere; Linux takes 107
LONGEST_SOCKET: Final = "/.s.PGSQL.5432"


class EmbeddedServers:
    """PostgreSQL and Valkey in a data folder, for as long as this object is entered.

        with EmbeddedServers(Path("/tmp/x")) as servers:
            servers.database_url, servers.redis_url

    Servers that an earlier process left running there are taken over if they fit, and stopped otherwise.

    Args:
        data_dir: created if missing; must be empty or a data folder.
        durable: False trades safety for speed, for data that is thrown away.
        die_with_parent: the servers end when this process dies, however it dies. Otherwise they live on, and the next
            one takes them over. On Linux; elsewhere they live on.
        tasks: modules and files with tasks, for commands that find the servers in this folder.
        say: is told, in a sentence, what is happening.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        durable: bool = True,
        die_with_parent: bool = False,
        tasks: tuple[str, ...] = (),
        say: Callable[[str], None] = lambda sentence: None,
    ) -> None:
        self.data_dir = Path(os.path.abspath(data_dir))
        self._durable = durable
        self._die = die_with_parent
        self._tasks = tasks
        self._say = say
        self._lock = folder.FolderLock(self.data_dir)
        self._servers: tuple[Postgres, Valkey] | None = None

    @property
    def database_url(self) -> str:
        return self._pair[0].url

    @property
    def redis_url(self) -> str:
        return self._pair[1].url

    @property
    def _pair(self) -> tuple[Postgres, Valkey]:
        if self._servers is None:
            raise HoldfastError(f"The servers of {self.data_dir} are not started. Call start() first.")
        return self._servers

    def start(self) -> None:
        """Lock the folder and have both servers running.

        Raises:
            FolderBusy: another process runs this folder.
            ConfigError: the folder, the account or the files do not fit; the text says what to do.
            HoldfastError: a server did not come up; the text carries what it said.
        """
        folder.claim(self.data_dir)
        self._lock.acquire()
        try:
            self._servers = self._lay_out()
            self.ensure()
        except BaseException:
            self.stop()
            raise

    def ensure(self) -> list[str]:
        """Start whichever server does not run.

        Returns:
            The names of those that had to be started.
        """
        postgres, valkey = self._pair
        started, pids = [], []
        for name, server in (("PostgreSQL", postgres), ("Valkey", valkey)):
            if server.find() is None and not self._has_begun(server):
                self._say(f"Making {name}'s files in {self.data_dir}")
            pid, adopted = server.start()
            pids.append(pid)
            if adopted:
                self._say(f"{name} runs already (pid {pid}): taken over")
            else:
                started.append(name)
                self._say(f"{name} started (pid {pid})")
        identities = [state.ProcessId.of(pid) for pid in pids]
        if identities[0] is None or identities[1] is None:
            raise HoldfastError("A server ended right after its start. Look into the data folder's logs.")
        found = state.ServerState(postgres.url, valkey.url, identities[0], identities[1], self._tasks)
        state.write(self.data_dir, found)
        return started

    def alive(self) -> bool:
        """Whether both run, without asking them anything."""
        return all(server.find() is not None for server in self._pair)

    def stop(self) -> None:
        """Stop both and let go of the folder. Safe to call twice."""
        try:
            if self._servers is not None:
                state.forget(self.data_dir)
                postgres, valkey = self._servers
                with contextlib.ExitStack() as both:
                    both.callback(postgres.stop)
                    both.callback(valkey.stop)
                if postgres.sockets.parent != self.data_dir:
                    shutil.rmtree(postgres.sockets, ignore_errors=True)
        finally:
            self._servers = None
            self._lock.release()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    @staticmethod
    def _has_begun(server: Postgres | Valkey) -> bool:
        return isinstance(server, Valkey) or server.files.exists()

    def _lay_out(self) -> tuple[Postgres, Valkey]:
        account = accounts.choose(self.data_dir / "postgres")
        accounts.open_to(account, self.data_dir)
        for name in ("conf", "logs"):
            (self.data_dir / name).mkdir(mode=0o710, exist_ok=True)
        if account:
            os.chown(self.data_dir / "conf", -1, account.gid)
        found = programs.locate(self.data_dir, account)
        sockets = self._sockets(account)
        self._own(self.data_dir / "valkey", account)
        return (
            Postgres(self.data_dir, sockets, found, account, self._durable, signal.SIGINT if self._die else None),
            Valkey(self.data_dir, sockets, found, account, signal.SIGTERM if self._die else None),
        )

    def _sockets(self, account: accounts.Account | None) -> Path:
        """A folder for the sockets: ours, unless its path is too long for a socket's address, or has blanks: RQ's
        workers ask Valkey where they come from, and its answer, which holds the path, is taken apart at blanks."""
        chosen = self.data_dir / "run"
        too_long = len(os.fsencode(chosen)) + len(LONGEST_SOCKET) > MAX_SOCKET_PATH
        if too_long or any(character.isspace() for character in str(chosen)):
            # A link in the data folder remembers it, so that servers left running are found again.
            link = self.data_dir / "run.link"
            remembered = Path(os.readlink(link)) if link.is_symlink() else None
            if remembered is not None and self._is_ours(remembered, account):
                return remembered
            chosen = Path(tempfile.mkdtemp(prefix="holdfast-", dir="/tmp"))
            link.unlink(missing_ok=True)
            link.symlink_to(chosen)
        self._own(chosen, account)
        return chosen

    @staticmethod
    def _is_ours(path: Path, account: accounts.Account | None) -> bool:
        try:
            found = path.lstat()
        except OSError:
            return False
        owner = account.uid if account else os.geteuid()
        return path.is_dir() and not path.is_symlink() and found.st_uid == owner and not found.st_mode & 0o077

    @staticmethod
    def _own(path: Path, account: accounts.Account | None) -> None:
        path.mkdir(mode=0o700, exist_ok=True)
        path.chmod(0o700)
        if account:
            os.chown(path, account.uid, account.gid)

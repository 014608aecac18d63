"""Valkey in a data folder. It keeps nothing on disk: what it holds can be lost at any moment (DESIGN D1)."""

import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

import psutil
import redis

from holdfast import keys
from holdfast.embedded import process
from holdfast.embedded.account import Account
from holdfast.embedded.programs import Programs
from holdfast.errors import HoldfastError

START_TIMEOUT: Final = 20.0  # seconds
POLL: Final = 0.02  # seconds
STOP: Final = ((signal.SIGTERM, 10.0), (signal.SIGKILL, 10.0))


@dataclass(frozen=True, slots=True)
class Valkey:
    """One Valkey server; the arguments are those of `Postgres`."""

    data_dir: Path
    sockets: Path
    programs: Programs
    account: Account | None
    parent_signal: signal.Signals | None = None

    @property
    def folder(self) -> Path:
        return self.data_dir / "valkey"

    @property
    def socket(self) -> Path:
        return self.sockets / "valkey.sock"

    @property
    def url(self) -> str:
        """Carries the password."""
        return f"unix://{quote(str(self.socket))}?db=0&password={keys.keep(self.data_dir, 'valkey')}"

    def find(self) -> psutil.Process | None:
        return process.find(self.folder / "valkey.pid", "valkey-server", self.folder)

    def start(self) -> tuple[int, bool]:
        """Have it running.

        Returns:
            Its pid, and whether it was running already.

        Raises:
            HoldfastError: it did not come up; the text carries what it said.
        """
        running = self.find()
        if running is not None and self._fits(running):
            return running.pid, True
        if running is not None:
            process.stop(running, STOP)
        self._write_config()
        log = self.data_dir / "logs" / "valkey.log"
        command = [self.programs.valkey, self._config]
        child = process.start_as(self.account, command, self.folder, log, self.parent_signal)
        self._wait(child, log)
        return child.pid, False

    def stop(self) -> None:
        if (running := self.find()) is not None:
            process.stop(running, STOP)

    @property
    def _config(self) -> Path:
        return self.data_dir / "conf" / "valkey.conf"

    def _write_config(self) -> None:
        lines = (
            "# Written at each start.",
            "port 0",
            f"unixsocket {_quoted(self.socket)}",
            "unixsocketperm 700",
            f"requirepass {keys.keep(self.data_dir, 'valkey')}",
            f"dir {_quoted(self.folder)}",
            f"pidfile {_quoted(self.folder / 'valkey.pid')}",
            "databases 64",
            'save ""',
            "appendonly no",
            "daemonize no",
            "loglevel warning",
            'logfile ""',
        )
        self._config.touch(mode=0o600)
        self._config.write_text("\n".join(lines) + "\n", "utf-8")
        if self.account:
            os.chown(self._config, self.account.uid, self.account.gid)

    def _fits(self, running: psutil.Process) -> bool:
        try:
            return Path(running.exe()) == self.programs.valkey.resolve() and self._answers()
        except (psutil.Error, OSError):
            return False

    def _answers(self) -> bool:
        client = redis.Redis.from_url(self.url, socket_timeout=5)
        try:
            return bool(client.ping())
        except redis.RedisError:
            return False
        finally:
            client.close()

    def _wait(self, child: "subprocess.Popen[bytes]", log: Path) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        while not self._answers():
            if child.poll() is not None:
                raise HoldfastError(f"Valkey did not start: {process.tail(log)}")
            if time.monotonic() > deadline:
                child.kill()
                raise HoldfastError(f"Valkey does not answer after {START_TIMEOUT:.0f} s: {process.tail(log)}")
            time.sleep(POLL)


def _quoted(path: Path) -> str:
    text = str(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'

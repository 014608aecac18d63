"""PostgreSQL in a data folder: made, started, taken over, stopped."""

import os
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil
import psycopg
from psycopg import sql

from holdfast import keys
from holdfast.embedded import process
from holdfast.embedded.account import Account
from holdfast.embedded.programs import Programs
from holdfast.env import socket_database_url
from holdfast.errors import ConfigError, HoldfastError

MAJOR: Final = "18"
DATABASE: Final = "holdfast"
ROLE: Final = "holdfast"
SUPERUSER: Final = "postgres"
START_TIMEOUT: Final = 600.0  # seconds: after a crash it may have gigabytes of WAL to read
LEFTOVERS_TIMEOUT: Final = 60.0  # seconds that processes of a killed server get to notice that it is gone
POLL: Final = 0.05  # seconds
STOP: Final = ((signal.SIGINT, 30.0), (signal.SIGQUIT, 10.0), (signal.SIGKILL, 10.0))  # fast, immediate, none

# What differs from PostgreSQL's defaults, and why. `conf/postgres.local.conf` in the data folder overrides it.
SETTINGS: Final = {
    "listen_addresses": "",  # the socket in our own folder is the only way in
    "port": "5432",
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "scram_iterations": "1",  # they slow down guessing; our passwords are 384 random bits, and each connect would pay
    "shared_buffers": "256MB",
    "effective_cache_size": "1GB",
    "work_mem": "16MB",
    "maintenance_work_mem": "128MB",
    "random_page_cost": "1.1",
    "jit": "off",  # our statements are short
    "max_locks_per_transaction": "256",  # partitions
    # Many small commits: room in WAL, rare checkpoints, and their writes spread out.
    "wal_buffers": "16MB",
    "min_wal_size": "256MB",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "15min",
    # Small tables that turn over quickly are swept soon and without long pauses.
    "autovacuum_naptime": "10s",
    "autovacuum_vacuum_scale_factor": "0.02",
    "autovacuum_analyze_scale_factor": "0.05",
    "autovacuum_vacuum_cost_limit": "2000",
    "autovacuum_vacuum_cost_delay": "1ms",
    "client_connection_check_interval": "10s",
    # A week of logs, one file a day, in postgres/log.
    "logging_collector": "on",
    "log_filename": "%a.log",
    "log_truncate_on_rotation": "on",
    "log_rotation_size": "0",
    "log_checkpoints": "off",
    "log_timezone": "UTC",
    "timezone": "UTC",
}


@dataclass(frozen=True, slots=True)
class Postgres:
    """One PostgreSQL and its files.

    Args:
        data_dir: the data folder, claimed and open to the account.
        sockets: the folder of its socket.
        account: whom it runs under; None for this process's own user.
        durable: False trades safety for speed (no fsync), for tests that throw the folder away.
        parent_signal: what it gets when this process dies; None lets it live on.
    """

    data_dir: Path
    sockets: Path
    programs: Programs
    account: Account | None
    durable: bool = True
    parent_signal: signal.Signals | None = None

    @property
    def files(self) -> Path:
        return self.data_dir / "postgres"

    @property
    def url(self) -> str:
        """Where Holdfast's own database is. Carries the password."""
        return socket_database_url(self.sockets, ROLE, keys.keep(self.data_dir, "postgres"), DATABASE)

    @property
    def _superuser_url(self) -> str:
        return socket_database_url(self.sockets, SUPERUSER, keys.keep(self.data_dir, "postgres-superuser"), "postgres")

    def find(self) -> psutil.Process | None:
        """The server that runs on these files now, whoever started it."""
        return process.find(self.files / "postmaster.pid", "postgres", self.files)

    def start(self) -> tuple[int, bool]:
        """Have it running.

        Returns:
            Its pid, and whether it was running already.

        Raises:
            ConfigError: the files are of another major version, or it cannot run as the account.
            HoldfastError: it did not come up; the text carries what it said.
        """
        if not (self.files / "PG_VERSION").exists():
            self._make()
        version = (self.files / "PG_VERSION").read_text("ascii").strip()
        if version != MAJOR:
            remedy = "Move it with pg_upgrade, or name another folder in HOLDFAST_DATA_DIR"
            raise ConfigError(f"{self.files} is of PostgreSQL {version}, and this is {MAJOR}. {remedy}.")
        self._write_config()
        running = self.find()
        if running is not None and self._fits(running):
            return running.pid, True
        if running is not None:
            process.stop(running, STOP)
        pid = self._launch()
        self._prepare()
        return pid, False

    def stop(self) -> None:
        """Stop it, whoever started it: open transactions are rolled back, everything acknowledged is kept."""
        if (running := self.find()) is not None:
            process.stop(running, STOP)

    def _make(self) -> None:
        """Make the files in a folder beside their place, so that a start cut short leaves nothing half made."""
        fresh, password = self.data_dir / "postgres.new", self.data_dir / "conf" / "password"
        shutil.rmtree(fresh, ignore_errors=True)
        if self.files.exists() and any(self.files.iterdir()):
            raise ConfigError(f"{self.files} holds files that are no PostgreSQL's. Move them away.")
        fresh.mkdir(mode=0o700)
        password.write_text(keys.keep(self.data_dir, "postgres-superuser") + "\n", "ascii")
        password.chmod(0o600)
        if self.account:
            os.chown(fresh, self.account.uid, self.account.gid)
            os.chown(password, self.account.uid, self.account.gid)
        command: list[str | Path] = [self.programs.initdb, "-D", fresh, "-U", SUPERUSER, f"--pwfile={password}"]
        command += ["--auth=scram-sha-256", "--encoding=UTF8", "--locale-provider=builtin"]
        command += ["--builtin-locale=C.UTF-8", "--locale=C", *([] if self.durable else ["--no-sync"])]
        try:
            done = process.run_as(self.account, command, cwd=fresh)
        finally:
            password.unlink(missing_ok=True)
        if done.returncode:
            said = " | ".join(done.stdout.splitlines()[-3:])
            raise HoldfastError(f"PostgreSQL's files could not be made in {self.data_dir}: {said}")
        fresh.rename(self.files)

    def _write_config(self) -> None:
        settings = {**SETTINGS, "unix_socket_directories": str(self.sockets)}
        settings |= {"data_directory": str(self.files)}
        settings |= {"hba_file": f"{self.files}/pg_hba.conf", "ident_file": f"{self.files}/pg_ident.conf"}
        if not self.durable:
            settings |= {"fsync": "off", "full_page_writes": "off"}  # survives its own death, not the machine's
        lines = ["# Written at each start. Your own settings go into postgres.local.conf beside this file."]
        lines.append(f"include {_quoted(f'{self.files}/postgresql.conf')}")
        lines += [f"{name} = {_quoted(value)}" for name, value in settings.items()]
        lines.append(f"include_if_exists {_quoted(str(self._config.with_name('postgres.local.conf')))}")
        self._config.write_text("\n".join(lines) + "\n", "utf-8")
        self._config.chmod(0o640)
        if self.account:
            os.chown(self._config, -1, self.account.gid)

    @property
    def _config(self) -> Path:
        return self.data_dir / "conf" / "postgres.conf"

    def _fits(self, running: psutil.Process) -> bool:
        """Whether a server that is running already is the one we would start: these programs, this socket, our role."""
        try:
            if Path(running.exe()) != self.programs.postgres.resolve():
                return False
            with psycopg.connect(self.url, connect_timeout=5) as connection:
                connection.execute("SELECT 1")
        except (psutil.Error, psycopg.Error, OSError):
            return False
        return True

    def _launch(self) -> int:
        self._clear_the_way()
        log = self.data_dir / "logs" / "postgres.log"
        command: list[str | Path] = [self.programs.postgres, "-D", self.files, "-c", f"config_file={self._config}"]
        child = process.start_as(self.account, command, self.files, log, self.parent_signal)
        if not self._wait(child, time.monotonic() + START_TIMEOUT):
            raise HoldfastError(f"PostgreSQL did not start: {self._last_words(log)}")
        return child.pid

    def _clear_the_way(self) -> None:
        """Remove the pid files of a server that died, once nothing of that server is left: that of its files and that
        of its socket.

        PostgreSQL would refuse to start if that pid belongs to another process by now, as after a start of the machine,
        or to what the kernel has not done away with yet. What protects the files from two masters is not that pid but
        the folder's lock, and here, that no process of the old server still works.
        """
        deadline = time.monotonic() + LEFTOVERS_TIMEOUT
        while left := process.working_in(self.files, "postgres"):
            if time.monotonic() > deadline:
                pids = ", ".join(str(p.pid) for p in left)
                raise HoldfastError(f"Processes of an earlier PostgreSQL ({pids}) still use {self.files}. End them.")
            time.sleep(POLL)
        for stale in (self.files / "postmaster.pid", *self.sockets.glob(".s.PGSQL.*.lock")):
            stale.unlink(missing_ok=True)

    def _wait(self, child: "subprocess.Popen[bytes]", deadline: float) -> bool:
        """Until it answers. False if it ended."""
        while child.poll() is None:
            try:
                psycopg.connect(self._superuser_url, connect_timeout=5).close()
            except psycopg.OperationalError as error:
                if "password authentication" in str(error):
                    child.send_signal(signal.SIGINT)
                    child.wait()
                    path = self.data_dir / "secrets" / "postgres-superuser"
                    remedy = "Restore that file from a backup of the folder"
                    raise ConfigError(f"PostgreSQL refuses the password in {path}. {remedy}.") from None
                if time.monotonic() > deadline:
                    child.send_signal(signal.SIGINT)
                    raise HoldfastError(f"PostgreSQL does not answer after {START_TIMEOUT:.0f} s: {error}") from None
                time.sleep(POLL)
            else:
                return True
        return False

    def _last_words(self, log: Path) -> str:
        files = sorted((self.files / "log").glob("*.log"), key=lambda path: path.stat().st_mtime)
        newest = files[-1] if files and files[-1].stat().st_mtime > log.stat().st_mtime else log
        return process.tail(newest)

    def _prepare(self) -> None:
        """Our role, without a superuser's rights, and its database. Done at each start: it heals a start cut short."""
        password = keys.keep(self.data_dir, "postgres")
        with psycopg.connect(self._superuser_url, autocommit=True) as connection:
            role, database = sql.Identifier(ROLE), sql.Identifier(DATABASE)
            if not connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [ROLE]).fetchone():
                connection.execute(sql.SQL("CREATE ROLE {} LOGIN CREATEDB").format(role))
            connection.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(role, sql.Literal(password)))
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone():
                connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(database, role))


def _quoted(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"

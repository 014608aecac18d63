"""The embedded servers, without `up` around them."""

import os
import stat
import subprocess
import tempfile
from pathlib import Path

import psutil
import psycopg
import pytest
import redis

from holdfast.embedded import EmbeddedServers, state
from holdfast.embedded.folder import FolderBusy
from holdfast.errors import ConfigError, EnvError, HoldfastError
from tests.support.waiting import eventually

OPEN_TO_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def servers_in(data_dir: Path) -> EmbeddedServers:
    return EmbeddedServers(data_dir, durable=False, die_with_parent=True)


def ask(servers: EmbeddedServers) -> tuple[object, object]:
    with psycopg.connect(servers.database_url) as connection, redis.Redis.from_url(servers.redis_url) as broker:
        row = connection.execute("SELECT current_setting('server_version_num')::int / 10000").fetchone()
        return row and row[0], broker.ping()


def test_both_answer_and_what_they_keep_is_closed_to_others(data_dir: Path) -> None:
    with servers_in(data_dir) as servers:
        assert ask(servers) == (18, True)
        for name in ("postgres", "run", "secrets", "valkey"):
            assert not (data_dir / name).stat().st_mode & OPEN_TO_OTHERS, name
        for secret in [*(data_dir / "secrets").iterdir(), data_dir / "servers.json", data_dir / "conf" / "valkey.conf"]:
            assert stat.S_IMODE(secret.stat().st_mode) == 0o600, secret
        assert not data_dir.stat().st_mode & (stat.S_IRWXO | stat.S_IWGRP | stat.S_IRGRP)
        if os.geteuid() == 0:
            owner = (data_dir / "postgres").stat().st_uid
            assert owner != 0
            assert {p.uids().real for p in [psutil.Process(pid_of(data_dir, "postgres"))]} == {owner}
    assert state.read(data_dir) is None


def test_nobody_enters_without_the_password(data_dir: Path) -> None:
    with servers_in(data_dir) as servers:
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(servers.database_url.replace(":", ":x", 2).replace("x//", "//", 1))
        stranger = redis.Redis(unix_socket_path=str(data_dir / "run" / "valkey.sock"))
        with stranger, pytest.raises(redis.AuthenticationError):
            stranger.ping()
        with psycopg.connect(servers.database_url) as connection:
            rights = connection.execute("SELECT rolsuper, rolcreaterole FROM pg_roles WHERE rolname = current_user")
            assert rights.fetchone() == (False, False)


def test_what_was_written_is_there_after_a_restart(data_dir: Path) -> None:
    with servers_in(data_dir) as servers, psycopg.connect(servers.database_url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    with servers_in(data_dir) as servers, psycopg.connect(servers.database_url) as connection:
        assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)


def test_stale_pid_files_are_nobodys_process(data_dir: Path) -> None:
    """The pids they name belong to somebody else by now, who must live through it."""
    with servers_in(data_dir) as servers:
        posts = (data_dir / "postgres" / "postmaster.pid").read_text().splitlines()
        socket = (data_dir / "run" / ".s.PGSQL.5432.lock").read_text().splitlines()
    owner = (data_dir / "postgres").stat()
    with subprocess.Popen(["sleep", "600"], user=owner.st_uid) as somebody:
        for path, lines in (
            (data_dir / "postgres" / "postmaster.pid", [str(somebody.pid), *posts[1:]]),
            (data_dir / "run" / ".s.PGSQL.5432.lock", [str(somebody.pid), *socket[1:]]),
            (data_dir / "valkey" / "valkey.pid", [str(somebody.pid)]),
        ):
            path.write_text("\n".join(lines) + "\n")
            os.chown(path, owner.st_uid, owner.st_gid)
            path.chmod(0o600)
        try:
            with servers_in(data_dir) as servers:
                assert ask(servers) == (18, True)
            assert somebody.poll() is None
        finally:
            somebody.kill()


def test_a_state_file_that_speaks_of_others_processes_is_not_believed(data_dir: Path) -> None:
    myself = state.ProcessId.of(os.getpid())
    assert myself is not None
    earlier = state.ProcessId(myself.pid, myself.started - 60)
    state.write(data_dir, state.ServerState("postgresql:///x", "unix:///x", myself, earlier))
    assert state.read(data_dir) is not None
    assert state.find_live(data_dir) is None
    (data_dir / "servers.json").write_text("{half")
    assert state.find_live(data_dir) is None


def test_a_server_that_is_killed_is_noticed_and_started_again(data_dir: Path) -> None:
    with servers_in(data_dir) as servers:
        assert servers.alive()
        assert servers.ensure() == []
        for name, server in (("postgres", "PostgreSQL"), ("valkey", "Valkey")):
            psutil.Process(pid_of(data_dir, name)).kill()
            eventually(lambda: not servers.alive(), f"{name} is seen to be gone")
            assert servers.ensure() == [server]
            assert ask(servers) == (18, True)


def test_a_folder_has_one_master_at_a_time(data_dir: Path) -> None:
    with servers_in(data_dir) as servers:
        with pytest.raises(FolderBusy, match=f"{data_dir} is in use by the process {os.getpid()}"):
            servers_in(data_dir).start()
        assert ask(servers) == (18, True)


def test_a_path_too_long_for_a_socket_works(data_dir: Path) -> None:
    deep = data_dir / ("d" * 60) / ("e" * 60)
    deep.parent.mkdir()
    data_dir.chmod(0o755)
    with servers_in(deep) as servers:
        assert ask(servers) == (18, True)
        sockets = Path((deep / "run.link").readlink())
        assert not sockets.stat().st_mode & OPEN_TO_OTHERS
    assert not sockets.exists()


def test_in_a_folder_with_blanks_in_its_name_workers_learn_where_they_come_from(data_dir: Path) -> None:
    """RQ's workers ask so when they begin; all of them ended over the answer, again and again."""
    data_dir.chmod(0o755)
    with servers_in(data_dir / "our own data") as servers, redis.Redis.from_url(servers.redis_url) as client:
        assert ask(servers) == (18, True)
        assert client.client_info()["addr"].endswith(":0")


def test_a_folder_with_other_things_in_it_is_left_alone(data_dir: Path) -> None:
    (data_dir / "thesis.tex").write_text("precious")
    mode = data_dir.stat().st_mode
    with pytest.raises(EnvError, match="holds other things than Holdfast's"):
        servers_in(data_dir).start()
    assert [path.name for path in data_dir.iterdir()] == ["thesis.tex"]
    assert data_dir.stat().st_mode == mode


def test_files_of_another_postgresql_are_named_and_not_touched(data_dir: Path) -> None:
    with servers_in(data_dir):
        pass
    version = data_dir / "postgres" / "PG_VERSION"
    version.write_text("17\n")
    with pytest.raises(ConfigError, match=f"{data_dir}/postgres is of PostgreSQL 17, and this is 18"):
        servers_in(data_dir).start()


def test_a_start_cut_short_is_begun_again(data_dir: Path) -> None:
    with servers_in(data_dir):
        pass
    (data_dir / "postgres").rename(data_dir / "postgres.new")
    with servers_in(data_dir) as servers:
        assert ask(servers) == (18, True)
        assert not (data_dir / "postgres.new").exists()


def test_a_broken_configuration_is_reported_with_the_servers_own_words(data_dir: Path) -> None:
    with servers_in(data_dir):
        pass
    (data_dir / "conf" / "postgres.local.conf").write_text("shared_buffers = 'plenty'\n")
    (data_dir / "conf" / "postgres.local.conf").chmod(0o644)
    with pytest.raises(HoldfastError, match=r"PostgreSQL did not start: .*shared_buffers"):
        servers_in(data_dir).start()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's servers run as somebody else")
def test_a_folder_that_the_servers_account_cannot_enter_gets_one_sentence_and_stays_closed() -> None:
    with tempfile.TemporaryDirectory(prefix="holdfast-closed-") as closed:
        with pytest.raises(EnvError) as caught:
            servers_in(Path(closed) / "data").start()
        assert f"who may not enter {closed}. Name a folder elsewhere" in str(caught.value)
        assert stat.S_IMODE(Path(closed).stat().st_mode) == 0o700


def pid_of(data_dir: Path, name: str) -> int:
    found = state.read(data_dir)
    assert found is not None
    return found.postgres.pid if name == "postgres" else found.valkey.pid

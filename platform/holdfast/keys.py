"""Secrets that Holdfast makes for itself and keeps in the data folder, each in a file of mode 0600."""

import os
import secrets as random_source
from pathlib import Path

from holdfast.embedded.folder import claim
from holdfast.embedded.state import write_private
from holdfast.errors import EnvError

SECRET_BYTES = 48


def keep(data_dir: Path, name: str) -> str:
    """The secret of this name, made on first use.

    Two processes that come first at the same time agree: one file wins by `link`, which never overwrites.

    Raises:
        EnvError: the folder cannot hold it, or this user may not read it.
    """
    folder = data_dir / "secrets"
    path = folder / name
    try:
        found = _read(path)
        if found:
            return found
        claim(data_dir)
        folder.mkdir(mode=0o700, exist_ok=True)
        fresh = folder / f".{name}.{os.getpid()}.new"
        write_private(fresh, random_source.token_urlsafe(SECRET_BYTES) + "\n")
        try:
            os.link(fresh, path)
        except FileExistsError:
            pass
        finally:
            fresh.unlink()
        kept = _read(path)
    except OSError as error:
        remedy = "Run this as the folder's owner, or name a folder that you own"
        raise EnvError("HOLDFAST_DATA_DIR", f"{path}: {error.strerror}", remedy) from None
    if not kept:
        raise EnvError("HOLDFAST_DATA_DIR", f"the secret in {path} is empty", "Restore that file, or delete it")
    return kept


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8").strip()
    except FileNotFoundError:
        return ""

"""What task functions of the tests write down, and gates that they wait at."""

from __future__ import annotations

import os
import time
from pathlib import Path


def path() -> Path:
    """The ledger of the test that started this process."""
    return Path(os.environ["TESTS_LEDGER"])


def note(*words: object) -> None:
    """One line of the ledger: time, process, words. O_APPEND makes lines of many processes stay whole."""
    line = " ".join([f"{time.time():.4f}", str(os.getpid()), *map(str, words)]) + "\n"
    fd = os.open(path(), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(fd, line.encode())
    finally:
        os.close(fd)


def noted(*words: object) -> int:
    """How many lines begin with these words, whichever process wrote them."""
    start = [str(word) for word in words]
    return sum(line.split(" ")[2 : 2 + len(start)] == start for line in path().read_text().splitlines())


def gate(name: str) -> Path:
    """The file beside the ledger that stands for an open gate."""
    return path().parent / f"gate-{name}"


def hold(name: str, timeout: float = 120.0) -> None:
    """Waits until the test opens the gate `name`."""
    deadline = time.monotonic() + timeout
    while not gate(name).exists() and time.monotonic() < deadline:
        time.sleep(0.01)


def first_time(name: str) -> bool:
    """True once for each name, whichever process asks."""
    try:
        (path().parent / f"once-{name}").touch(exist_ok=False)
    except FileExistsError:
        return False
    return True

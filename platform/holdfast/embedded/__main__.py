"""`python -m holdfast.embedded FOLDER`: both servers alone, until Ctrl-C; their URLs on stdout. For development."""

import contextlib
import signal
import sys
from pathlib import Path

from holdfast.embedded import EmbeddedServers
from holdfast.errors import HoldfastError


def say(sentence: str) -> None:
    sys.stderr.write(f"{sentence}\n")


def main() -> int:
    if len(sys.argv) != 2:
        sys.stderr.write("Usage: python -m holdfast.embedded FOLDER\n")
        return 2
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with EmbeddedServers(Path(sys.argv[1]), say=say) as servers, contextlib.suppress(KeyboardInterrupt):
            sys.stdout.write(f"export DATABASE_URL='{servers.database_url}'\nexport REDIS_URL='{servers.redis_url}'\n")
            sys.stdout.flush()
            while True:
                signal.pause()
    except HoldfastError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())

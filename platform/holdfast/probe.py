"""Whether the servers answer, and why not, in one line."""

import psycopg
import redis

from holdfast.env import without_password
from holdfast.errors import EnvError

TIMEOUT = 10  # seconds
OLDEST = 18  # the first PostgreSQL with uuidv7()
REMEDY = ". Start it, or correct the URL."
# Classes of SQLSTATE that speak of the connection and not of a statement.
_CONNECTION_CLASSES = ("08", "28", "3D", "57P")


def describe(error: BaseException | None) -> str | None:
    """One sentence and its remedy if this is about reaching PostgreSQL, else None."""
    if not isinstance(error, psycopg.OperationalError):
        return None
    if error.sqlstate is not None and not error.sqlstate.startswith(_CONNECTION_CLASSES):
        return None
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # With several addresses libpq repeats itself; its last line is the server's own word, if there was one.
    reason = (lines[-1] if lines else "no reason given").removeprefix("- ").rstrip(".")
    return f"PostgreSQL cannot be reached ({reason}){REMEDY}"


def database(url: str) -> None:
    """Connect to PostgreSQL once.

    Raises:
        EnvError: it does not let us in, or is too old; says why.
    """
    shown = without_password(url)
    try:
        with psycopg.connect(url, connect_timeout=TIMEOUT) as connection:
            major = connection.info.server_version // 10_000
    except psycopg.OperationalError as error:
        said = (describe(error) or str(error)).removesuffix(REMEDY)
        raise EnvError("DATABASE_URL", said, f"Start it, or correct {shown}") from None
    if major < OLDEST:
        raise EnvError("DATABASE_URL", f"this is PostgreSQL {major}", f"Name one of version {OLDEST} or newer")


def broker(url: str) -> None:
    """Ask Redis or Valkey once.

    Raises:
        EnvError: it does not answer; says why.
    """
    client = redis.Redis.from_url(url, socket_connect_timeout=TIMEOUT, socket_timeout=TIMEOUT)
    try:
        client.ping()
    except (redis.RedisError, OSError) as error:
        first = str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
        problem = f"the server does not answer ({first})"
        raise EnvError("REDIS_URL", problem, f"Start it, or correct {without_password(url)}") from None
    finally:
        client.close()

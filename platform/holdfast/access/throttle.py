"""Slows down guessing of passwords. Counts live in PostgreSQL, so all web processes share them."""

import hashlib
from typing import Final

from django.db import connection

from holdfast.access.errors import TooManyGuesses
from holdfast.access.models import GuessWindow

WINDOW_SECONDS: Final = 300
#: Attempts per window. One person mistyping stays below; a whole office behind one address does too.
PER_ADDRESS_AND_USER: Final = 8
PER_ADDRESS: Final = 60

_COUNT = """
INSERT INTO access_guesswindow AS w (key, count, since) VALUES (%(key)s, 1, now())
ON CONFLICT (key) DO UPDATE SET
    count = CASE WHEN w.since < now() - %(window)s * interval '1 second' THEN 1 ELSE w.count + 1 END,
    since = CASE WHEN w.since < now() - %(window)s * interval '1 second' THEN now() ELSE w.since END
RETURNING count, ceil(extract(epoch FROM since - now()) + %(window)s)::int
"""
_FORGET = "DELETE FROM access_guesswindow WHERE since < now() - %(window)s * interval '1 second'"


def count_guess(address: str, username: str) -> None:
    """Count one attempt, before the password is looked at: parallel guesses cannot slip past the limit.

    Raises TooManyGuesses, with the seconds until the window ends, when the address has used up its attempts.
    """
    with connection.cursor() as cursor:
        cursor.execute(_FORGET, {"window": WINDOW_SECONDS})
        for key, limit in ((_pair(address, username), PER_ADDRESS_AND_USER), (_key(address), PER_ADDRESS)):
            cursor.execute(_COUNT, {"key": key, "window": WINDOW_SECONDS})
            count, seconds_left = cursor.fetchone()
            if count > limit:
                raise TooManyGuesses(max(1, seconds_left))


def forget_guesses(address: str, username: str) -> None:
    """A right password clears what its user mistyped before; the address keeps its count."""
    GuessWindow.objects.filter(key=_pair(address, username)).delete()


def _pair(address: str, username: str) -> str:
    return _key(f"{address}\n{username.casefold()}")


def _key(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()

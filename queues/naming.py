"""What a name of a queue, a pool, a breaker or a schedule may be, and the error of a declaration that cannot work."""

from __future__ import annotations

import re
from typing import Final

#: 1 to 100 letters, digits, dots, dashes, underscores.
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class QueueDeclarationError(ValueError):
    """A queue or a breaker is declared in a way that cannot work."""

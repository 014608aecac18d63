"""Counts that stopped counting, and sizes, in words. Times and durations: `holdfast.words`."""

from __future__ import annotations

import json

from holdfast.redaction import redacted

#: Up to here counts are exact; a selector that stops counting there says "about".
EXACT_UP_TO = 10_000
#: Characters of a JSON value that is shown on one line.
LINE = 300


def count(number: int) -> str:
    """A count as pages show it: exact up to 10,000, `10,000+` beyond, where the counting stopped."""
    return f"{EXACT_UP_TO:,}+" if number > EXACT_UP_TO else f"{number:,}"


def size(number: int) -> str:
    """Bytes as a person reads them: 812 B, 1.4 kB, 2.0 MB."""
    value = float(number)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000 or unit == "GB":
            break
        value /= 1000
    return f"{number} B" if unit == "B" else f"{value:.1f} {unit}"


def json_line(value: object) -> str:
    """A JSON value on one line, without what is shown to nobody, cut after some hundred characters."""
    text = json.dumps(redacted(value), ensure_ascii=False)
    return text if len(text) <= LINE else f"{text[: LINE - 1]}…"

"""Numbers and times in the words of the pages."""

from __future__ import annotations

#: Up to here counts are exact; a selector that stops counting there says "about".
EXACT_UP_TO = 10_000


def duration(seconds: float) -> str:
    """A duration in the two digits that a person reads: 4.1 ms, 87 ms, 2.3 s, 4 min 5 s, 2 h 10 min, 3 d 4 h."""
    if seconds < 1:
        milliseconds = seconds * 1000
        return f"{milliseconds:.1f} ms" if 0 < milliseconds < 9.95 else f"{milliseconds:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    whole = round(seconds)
    for unit, name, small, small_name in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= unit:
            rest = whole % unit // small
            return f"{whole // unit} {name}" + (f" {rest} {small_name}" if rest else "")
    return f"{whole} s"


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

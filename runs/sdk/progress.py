"""What a run may say of itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from runs.errors import InvalidProgress, NotSerializable
from runs.sdk import codec

MAX_WORDS: Final = 200
#: Bytes of a run's metadata.
MAX_METADATA: Final = 64 * 1024


def checked_progress(value: Any, words: Any) -> tuple[float, str]:
    """Raises InvalidProgress."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise InvalidProgress(f"progress: {value!r:.60} is no share of the whole; write a number from 0 to 1")
    if not isinstance(words, str):
        raise InvalidProgress(f"progress: the words are {words!r:.60}; write text of at most {MAX_WORDS} characters")
    if len(words) > MAX_WORDS:
        words = words[: MAX_WORDS - 1] + "…"
    return float(value), words.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()


def checked_metadata(value: Any) -> str:
    """JSON text. Raises InvalidProgress."""
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise InvalidProgress(f"set_metadata: {value!r:.60} is no object; write a dict whose keys are text")
    try:
        return codec.dump(None, dict(value), "metadata", MAX_METADATA)
    except NotSerializable as error:
        raise InvalidProgress(f"set_metadata: {error}") from None

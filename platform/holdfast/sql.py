"""Named SQL statements, loaded once from the `.sql` files of a folder.

A file holds statements that each begin with a line `-- name: some_name`. A statement may include another one's text,
and what that one includes, with `{some_name}`: that is how a statement of `runs` carries a statement of `queues` inside
itself, so that both happen in one round trip and one commit.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace

_HEADER = re.compile(r"^-- name: (\w+)[^\n]*\n", re.MULTILINE)
_INCLUDE = re.compile(r"\{(\w+)\}")
_COMMENT = re.compile(r"^\s*--[^\n]*\n|\s+--\s[^\n]*$", re.MULTILINE)


def load(folder: Path, fragments: Mapping[str, str] | None = None) -> SimpleNamespace:
    """Returns the folder's statements as attributes; `fragments` are texts from elsewhere that may be included.

    Raises:
        ValueError: two statements have one name, or an included statement does not exist.
    """
    texts: dict[str, str] = {}
    for path in sorted(folder.glob("*.sql")):
        parts = _HEADER.split(path.read_text("utf-8"))
        for name, text in zip(parts[1::2], parts[2::2], strict=True):
            if name in texts:
                raise ValueError(f"{path.name}: a statement named {name} exists already; give this one another name")
            texts[name] = _COMMENT.sub("", text).strip().rstrip(";")
    known = {**(fragments or {}), **texts}

    def include(match: re.Match[str]) -> str:
        name = match[1]
        if name not in known:
            raise ValueError(f"{folder}: {{{name}}} names no statement; known are {', '.join(sorted(known))}")
        return _INCLUDE.sub(include, known[name])

    return SimpleNamespace(**{name: _INCLUDE.sub(include, text) for name, text in texts.items()})

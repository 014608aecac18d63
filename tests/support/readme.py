"""What README and docs tell their readers to copy."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
_SHELL_BLOCK = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
_PYTHON_BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def python_of(page: str) -> str:
    """The Python of a page of `platform/docs`, all of its blocks as one file."""
    return "\n\n".join(_PYTHON_BLOCK.findall((ROOT / "platform/docs" / page).read_text("utf-8")))


def commands() -> list[str]:
    """Each block of shell, as it stands there."""
    return [block.strip() for block in _SHELL_BLOCK.findall(README.read_text("utf-8"))]


def command_with(words: str) -> str:
    """The one block that holds these words."""
    (found,) = [command for command in commands() if words in command]
    return found

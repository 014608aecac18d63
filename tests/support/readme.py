"""The commands that the README tells its readers to copy."""

import re
from pathlib import Path

README = Path(__file__).resolve().parents[2] / "README.md"
_SHELL_BLOCK = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)


def commands() -> list[str]:
    """Each block of shell, as it stands there."""
    return [block.strip() for block in _SHELL_BLOCK.findall(README.read_text("utf-8"))]


def command_with(words: str) -> str:
    """The one block that holds these words."""
    (found,) = [command for command in commands() if words in command]
    return found

"""Figures as Plotly's own schema judges them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

TOKENS = Path(__file__).parents[2] / "static" / "holdfast" / "tokens.css"


def validated(figure: dict[str, Any]) -> Any:
    """The figure as `plotly.graph_objects.Figure`, which raises ValueError for what Plotly does not know. Tokens become
    colours, as chart.js has it."""
    from plotly.graph_objects import Figure  # half a second: only for those who ask

    return Figure(_resolved(figure))


def _resolved(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _resolved(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_resolved(inner) for inner in value]
    return _colour(value) if isinstance(value, str) and re.fullmatch(r"--[\w-]+", value) else value


def _colour(token: str) -> str:
    found = re.search(rf"{token}: light-dark\((#[0-9a-f]{{6}}),", TOKENS.read_text("utf-8"))
    assert found, f"{token} is no token"
    return found[1]

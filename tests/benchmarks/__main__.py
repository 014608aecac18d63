"""`python -m tests.benchmarks`; see the package."""

from __future__ import annotations

import argparse
import json
import os
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from tests.benchmarks import peers, scenarios
from tests.benchmarks.stage import Stage, stage

Rounds = dict[str, dict[str, list[float]]]


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks", description="Measures Holdfast on this machine."
    )
    parser.add_argument("--rounds", type=int, default=3, help="rounds, interleaved; medians are shown (3)")
    parser.add_argument("--peers", action="store_true", help="also measure bare rq and DBOS")
    parser.add_argument("--tiny", action="store_true", help="one round of a twentieth: only to see that it works")
    parser.add_argument("--only", help="only the scenarios whose name contains this")
    parser.add_argument("--json", type=Path, help="write the figures there as well")
    options = parser.parse_args()
    rounds, scale = (1, 0.05) if options.tiny else (options.rounds, 1.0)
    jobs: list[tuple[str, Callable[[Stage, float], scenarios.Figures]]] = [("holdfast", job) for job in scenarios.ALL]
    if options.peers:
        jobs += list(peers.ALL.items())
    if options.only:
        known = ", ".join(dict.fromkeys(job.__name__ for _, job in jobs))
        jobs = [(who, job) for who, job in jobs if options.only in job.__name__ or options.only == who]
        if not jobs:
            parser.error(f"--only {options.only}: no scenario is called so; write one of {known}, or part of its name")

    console = Console()
    found: Rounds = {}
    columns = (SpinnerColumn(), *Progress.get_default_columns(), TimeElapsedColumn(), TextColumn("{task.fields[at]}"))
    bar = Progress(*columns, console=console)
    load = os.getloadavg()[0]
    with bar as progress, stage() as ground:
        line = progress.add_task("measuring", total=rounds * len(jobs), at="")
        for number in range(rounds):
            for who, job in jobs:
                progress.update(line, at=f"round {number + 1}: {who} {job.__name__}")
                for name, value in job(ground, scale).items():
                    found.setdefault(who, {}).setdefault(name, []).append(value)
                progress.advance(line)
        facts = _facts(ground, load, rounds)
    medians = {who: {name: statistics.median(values) for name, values in by.items()} for who, by in found.items()}
    console.print(_ours(found.get("holdfast", {}), medians.get("holdfast", {})))
    if options.peers:
        console.print(_beside(medians))
    console.print(" · ".join(f"{name}: {value}" for name, value in facts.items()), style="dim")
    if options.json:
        options.json.write_text(json.dumps({"machine": facts, "medians": medians, "rounds": found}, indent=2))


def _facts(ground: Stage, load: float, rounds: int) -> dict[str, Any]:
    return {
        "cores": os.cpu_count(),
        "PostgreSQL": ground.query("SHOW server_version")[0][0],
        "fsync": ground.query("SHOW fsync")[0][0],
        "load before": round(load, 2),
        "rounds": rounds,
    }


def _ours(rounds: dict[str, list[float]], medians: dict[str, float]) -> Table:
    table = Table(title="Holdfast", title_justify="left")
    for column in ("figure", "median", "lowest", "highest", "goal", ""):
        table.add_column(column, justify="left" if column in ("figure", "") else "right")
    for name, median in medians.items():
        goal, more = scenarios.GOALS.get(name, (None, True))
        verdict = "" if goal is None else ("met" if (median >= goal) == more or median == goal else "missed")
        sign = "" if goal is None else f"{'≥' if more else '≤'} {goal:,}"
        row = (_number(median), _number(min(rounds[name])), _number(max(rounds[name])), sign, verdict)
        table.add_row(name, *row, style="red" if verdict == "missed" else "")
    return table


def _beside(medians: dict[str, dict[str, float]]) -> Table:
    table = Table(title="Beside peers on the same servers (holdfast ÷ peer)", title_justify="left")
    others = [who for who in medians if who != "holdfast"]
    for column in ("figure", "holdfast", *others):
        table.add_column(column, justify="left" if column == "figure" else "right")
    for theirs, ours in peers.AGAINST.items():
        mine = medians.get("holdfast", {}).get(ours)
        cells = []
        for who in others:
            value = medians[who].get(theirs)
            ratio = f" ({mine / value:,.1f}×)" if mine and value else ""
            cells.append("–" if value is None else f"{_number(value)}{ratio}")
        table.add_row(theirs, "–" if mine is None else _number(mine), *cells)
    return table


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:,.2f}"


if __name__ == "__main__":
    main()

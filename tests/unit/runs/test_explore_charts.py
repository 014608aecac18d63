"""The figures of Explore, each judged by Plotly's schema."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from queues.samples import SampleBin
from runs import charts, histogram
from runs.charts import Cell, Window
from tests.support.plotly import validated

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
WINDOW = Window(START, START + timedelta(minutes=20), 5)


def cell(minute: int, status: str = "completed", count: int = 1, seconds: float = 1.5) -> Cell:
    return Cell(START + timedelta(minutes=minute), status, histogram.bucket(seconds), count)


CELLS = [cell(0, count=8), cell(1, "failed", 2, 20), cell(6, "cancelled", 3), cell(16, "crashed", seconds=0)]
DEPLOYS = [(START + timedelta(minutes=3), "sums"), (START + timedelta(minutes=4), "mail")]
SAMPLES = [
    SampleBin("llm", START, 12, 8, 8, 1.0, False),
    SampleBin("mail", START, 3, 1, None, None, False),
    SampleBin("llm", START + timedelta(minutes=10), 0, 2, 8, 0.25, True),
]
FIGURES = {
    "depth": lambda cells: charts.depth(SAMPLES if cells else [], WINDOW, limit=True, deploys=DEPLOYS),
    "slots": lambda cells: charts.slots(SAMPLES if cells else [], WINDOW, deploys=DEPLOYS),
    "throughput": lambda cells: charts.throughput(cells, WINDOW, deploys=DEPLOYS),
    "percentiles": lambda cells: charts.percentiles(cells, WINDOW, deploys=DEPLOYS),
    "heatmap": lambda cells: charts.heatmap(cells, WINDOW, deploys=DEPLOYS),
    "histogram": charts.duration_histogram,
    "failure rate": lambda cells: charts.failure_rate(
        cells, start=WINDOW.start, end=WINDOW.end, bin_minutes=5, deploys=DEPLOYS
    ),
}


@pytest.mark.parametrize("name", FIGURES)
def test_plotly_knows_everything_in_a_figure(name: str) -> None:
    figure: dict[str, Any] = FIGURES[name](CELLS)
    drawn = validated(figure)
    assert len(drawn.data) == len(figure["data"]) > 0
    json.dumps(figure, allow_nan=False)


def test_plotly_would_have_said_what_is_wrong() -> None:
    with pytest.raises(ValueError, match="Invalid property"):
        validated({"data": [{"type": "bar", "colour": "--bad-fill"}], "layout": {}})


@pytest.mark.parametrize("name", FIGURES)
def test_a_time_in_which_nothing_ended_has_no_traces(name: str) -> None:
    figure = FIGURES[name]([])
    assert figure["data"] == []
    validated(figure)


@pytest.mark.parametrize("name", [name for name in FIGURES if name != "histogram"])
def test_every_chart_over_time_marks_deploys(name: str) -> None:
    layout = FIGURES[name](CELLS)["layout"]
    assert [note["text"] for note in layout["annotations"]] == ["2 deploys"]
    assert layout["annotations"][0]["hovertext"].endswith("new code of sums, mail")


def test_throughput_stacks_what_ended_by_how_it_ended() -> None:
    figure = charts.throughput(CELLS, WINDOW)
    found = {trace["name"]: trace["y"] for trace in figure["data"]}
    assert found == {"completed": [8, 0, 0, 0], "failed": [2, 0, 0, 1], "cancelled": [0, 3, 0, 0]}
    assert figure["data"][0]["x"][1] == "2026-03-01T12:05:00Z"


def test_a_bin_without_durations_is_a_gap_in_all_percentiles() -> None:
    figure = charts.percentiles([cell(0, count=99), cell(0, seconds=60), cell(10)], WINDOW)
    assert [trace["name"] for trace in figure["data"]] == ["p50", "p95", "p99"]
    for trace in figure["data"]:
        assert [value is None for value in trace["y"]] == [False, True, False, True]
        assert trace["connectgaps"] is False
    assert 1.4 < figure["data"][0]["y"][0] < 1.7


def test_no_time_at_all_has_a_place_on_a_logarithmic_axis() -> None:
    figure = charts.percentiles([cell(0, seconds=0)], WINDOW)
    assert all(trace["y"][0] > 0 for trace in figure["data"])


def test_the_map_has_a_row_for_each_bucket_and_a_column_for_each_bin() -> None:
    figure = charts.heatmap(CELLS, WINDOW)
    [trace], buckets = figure["data"], figure["layout"]["meta"]["buckets"]
    assert len(trace["z"]) == len(buckets) == len(trace["y"]) - 1
    assert all(len(row) == WINDOW.bins == len(trace["x"]) - 1 for row in trace["z"])
    row = buckets.index(histogram.bucket(1.5))
    assert trace["z"][row] == [pytest.approx(0.903), None, None, None]
    assert trace["text"][row] == ["8 runs, 0 failed", "", "", ""]
    assert trace["y"][row] < trace["y"][row + 1]
    assert sum(value is not None for line in trace["z"] for value in line) == 3, "who was cancelled is not on it"


def test_deploys_far_from_each_other_have_words_of_their_own() -> None:
    window = Window(START, START + timedelta(hours=10), 5)
    far = [(START, "a"), (START + timedelta(hours=5), "b"), (START + timedelta(hours=5, minutes=30), "c")]
    layout = charts.throughput([cell(0)], window, deploys=far)["layout"]
    assert [note["text"] for note in layout["annotations"]] == ["deploy", "2 deploys"]
    assert len(layout["shapes"]) == 3


def test_depth_is_that_of_all_queues_and_a_minute_without_a_sample_is_a_gap() -> None:
    waiting, running, limit = charts.depth(SAMPLES, WINDOW, limit=True)["data"]
    assert (waiting["y"], running["y"]) == ([15, None, 0, None], [9, None, 2, None])
    assert limit["name"] == "limit"
    assert [trace["name"] for trace in charts.depth(SAMPLES, WINDOW, limit=False)["data"]] == ["waiting", "running"]


def test_slots_are_those_of_queues_with_a_limit() -> None:
    figure = charts.slots(SAMPLES, WINDOW)
    assert figure["layout"]["meta"]["queues"] == ["llm"]
    assert figure["data"][0]["z"] == [[1.0, None, 0.25, None]]
    assert figure["data"][0]["text"][0][2] == "llm: 2 of 8 slots, paused, 0 waiting"

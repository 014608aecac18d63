import json
import re
from datetime import UTC, datetime, timedelta

import pytest

from runs import charts, histogram
from runs.charts import Cell

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def cell(minute: int, status: str, count: int, seconds: float = 1.5) -> Cell:
    return Cell(START + timedelta(minutes=minute), status, histogram.bucket(seconds), count)


def test_failure_rate_is_failed_of_all_that_ended_per_bin() -> None:
    cells = [cell(0, "completed", 8), cell(1, "failed", 2), cell(2, "completed", 5), cell(3, "crashed", 5)]
    figure = charts.failure_rate(cells, start=START, end=START + timedelta(minutes=4), bin_minutes=2)
    assert figure["data"][0]["y"] == [20.0, 50.0]
    assert figure["data"][0]["customdata"] == [[2, 10], [5, 10]]
    assert figure["data"][0]["x"] == ["2026-03-01T12:00:00Z", "2026-03-01T12:02:00Z"]


def test_a_bin_in_which_nothing_ended_is_a_gap_and_not_zero() -> None:
    figure = charts.failure_rate([cell(1, "completed", 1)], start=START, end=START + timedelta(minutes=3))
    assert figure["data"][0]["y"] == [None, 0.0, None]
    assert figure["data"][0]["connectgaps"] is False


def test_cancelled_runs_count_neither_as_failed_nor_as_ended() -> None:
    figure = charts.failure_rate(
        [cell(0, "cancelled", 90), cell(0, "failed", 1), cell(0, "completed", 9)],
        start=START,
        end=START + timedelta(minutes=1),
    )
    assert figure["data"][0]["y"] == [10.0]


def test_cells_outside_of_the_window_are_left_out() -> None:
    cells = [cell(-1, "failed", 5), cell(0, "completed", 1), cell(1, "failed", 5)]
    figure = charts.failure_rate(cells, start=START, end=START + timedelta(minutes=1))
    assert figure["data"][0]["y"] == [0.0]


@pytest.mark.parametrize(("failed", "top"), [(0, 1), (1, 2), (6, 10), (60, 105)])
def test_the_axis_of_rates_moves_in_steps(failed: int, top: int) -> None:
    cells = [cell(0, "failed", failed), cell(0, "completed", 100 - failed)]
    figure = charts.failure_rate(cells, start=START, end=START + timedelta(minutes=1))
    assert figure["layout"]["yaxis"]["range"] == [0, top]


def test_histogram_stacks_failed_on_completed_with_percentiles_marked() -> None:
    cells = [cell(0, "completed", 90, 0.2), cell(1, "completed", 5, 0.2), cell(1, "failed", 5, 20)]
    figure = charts.duration_histogram(cells)
    completed, failed = figure["data"]
    assert sum(completed["y"]) == 95
    assert sum(failed["y"]) == 5
    assert completed["x"] == failed["x"]
    texts = [note["text"] for note in figure["layout"]["annotations"]]
    assert texts[0] == "p50 198 ms"
    assert len(figure["layout"]["shapes"]) == 2


def test_a_bar_stands_between_the_ticks_of_its_bounds() -> None:
    figure = charts.duration_histogram([cell(0, "completed", 1, 1.5)])
    at = figure["data"][0]["x"][figure["data"][0]["y"].index(1)]
    one_second, ten_seconds = figure["layout"]["xaxis"]["tickvals"][3:5]
    assert one_second < at < ten_seconds
    assert "1.4 s – 1.7 s" in figure["data"][0]["text"]


def test_one_bucket_does_not_fill_the_whole_width() -> None:
    figure = charts.duration_histogram([cell(0, "completed", 1, 0.0)])
    assert len(figure["data"][0]["x"]) >= charts.FEWEST_BUCKETS


def test_the_words_at_the_mark_of_p95_have_room_at_its_right() -> None:
    figure = charts.duration_histogram([cell(0, "completed", 1, 0.01), cell(0, "completed", 1, 9.0)])
    left, right = figure["layout"]["xaxis"]["range"]
    assert (right - figure["layout"]["annotations"][1]["x"]) / (right - left) >= 0.16


@pytest.mark.parametrize(("count", "ticks"), [(1, {"dtick": 1}), (4, {"dtick": 1}), (5, {"nticks": 5})])
def test_few_runs_have_a_tick_each_and_no_tick_is_there_twice(count: int, ticks: dict[str, int]) -> None:
    axis = charts.duration_histogram([cell(0, "completed", count, 1)])["layout"]["yaxis"]
    assert axis.items() >= ticks.items()


@pytest.mark.parametrize("seconds", [0, 0.0004, 0.003, 1e9, float("inf")])
def test_figures_are_json_without_nan_or_infinity_whatever_the_duration(seconds: float) -> None:
    json.dumps(charts.duration_histogram([cell(0, "completed", 3, seconds)]), allow_nan=False)


def test_a_window_in_which_nothing_ended_has_no_traces() -> None:
    figure = charts.duration_histogram([cell(0, "cancelled", 3)])
    assert figure["data"] == []
    assert figure["layout"]["annotations"] == []
    assert charts.failure_rate([], start=START, end=START + timedelta(minutes=2))["data"] == []


def test_colours_are_names_of_design_tokens() -> None:
    cells = [cell(0, "failed", 1)]
    end = START + timedelta(minutes=1)
    text = json.dumps([charts.duration_histogram(cells), charts.failure_rate(cells, start=START, end=end)])
    assert not re.search(r"#[0-9a-f]{3}|rgb", text)
    assert "--bad-fill" in text


def test_deploys_are_marked_and_those_of_one_bin_are_one_mark() -> None:
    deploys = [(START + timedelta(minutes=minute), name) for minute, name in ((5, "b"), (1, "a"), (0, "a"), (0, "c"))]
    figure = charts.failure_rate(
        [cell(0, "completed", 1)], start=START, end=START + timedelta(minutes=10), bin_minutes=2, deploys=deploys
    )
    assert [note["text"] for note in figure["layout"]["annotations"]] == ["3 deploys", "deploy"]
    assert figure["layout"]["annotations"][0]["hovertext"].endswith("new code of a, c")
    assert len(figure["layout"]["shapes"]) == 2
